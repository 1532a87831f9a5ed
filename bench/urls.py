"""Function URLs: what a call costs over a direct invoke, and what large ones cost the invokes of others."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rig import BIN, Measured, Service, Unavailable, c_archive, load, service

if TYPE_CHECKING:
    from collections.abc import Iterator

ECHO_BYTES = 6_000_000
PERMISSIONS = (
    {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
)


class Urls:
    """A service with two C functions: ``url``, which has a function URL, and ``other``, which has none."""

    def __init__(self, stack: contextlib.ExitStack, *, seconds: float, rounds: int) -> None:
        self.seconds = seconds
        self.rounds = rounds
        self.running: Service = stack.enter_context(service())
        for name in ("url", "other"):
            self.running.create(name, "provided.al2023", "bootstrap", c_archive())
            self.running.wait_active(name)
        made = self.running.call("POST", "/2021-10-31/functions/url/url", {"AuthType": "NONE"})
        for permission in PERMISSIONS:
            self.running.call("POST", "/2015-03-31/functions/url/policy", {"Principal": "*", **permission})
        parts = urlsplit(str(made["FunctionUrl"]))
        self.port = parts.port or 0
        # The load generator names 127.0.0.1 as the host, so the path says which function is meant.
        self.path = f"/_url/{parts.netloc.partition('.')[0]}/"
        load(self.port, path=self.path, requests=1)

    @contextlib.contextmanager
    def echoing(self) -> Iterator[None]:
        """One client that has 6 MB echoed by the URL, one after the other, until the block is left."""
        command = [str(BIN / "lg"), "-p", str(self.port), "-u", self.path, "-d", "60", "-B", str(ECHO_BYTES)]
        client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
            if client.poll() is not None:
                raise Unavailable("the client that has 6 MB echoed was refused")
        finally:
            client.kill()
            client.wait()


def over_invoke(urls: Urls) -> Measured:
    """How much longer a call of the URL takes than an invoke of the same function, one keep-alive client each."""
    pairs = []
    for _ in range(urls.rounds + 1):
        direct = urls.running.load("url", seconds=urls.seconds).p50_us
        pairs.append((load(urls.port, path=urls.path, seconds=urls.seconds).p50_us, direct))
    ours, theirs = (statistics.median(pair[side] for pair in pairs[1:]) for side in (0, 1))
    over = statistics.median(a - b for a, b in pairs[1:])
    return Measured(over, f"p50 {ours:,.0f} us against {theirs:,.0f} us")


def others_while_echoing(urls: Urls) -> Measured:
    """The p99 of another function's invokes while the URL echoes 6 MB bodies, against the undisturbed one."""
    pairs = []
    for _ in range(urls.rounds + 1):
        undisturbed = urls.running.load("other", seconds=urls.seconds)
        with urls.echoing():
            disturbed = urls.running.load("other", seconds=urls.seconds)
        pairs.append((disturbed, undisturbed))
    ours, theirs = (statistics.median(pair[side].p99_us for pair in pairs[1:]) for side in (0, 1))
    p50 = statistics.median(pair[0].p50_us / pair[1].p50_us for pair in pairs[1:])
    ratio = statistics.median(a.p99_us / b.p99_us for a, b in pairs[1:])
    return Measured(ratio, f"p99 {ours:,.0f} us against {theirs:,.0f} us; p50 {p50:.2f} x")
