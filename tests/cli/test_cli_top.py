"""``vk top``: what it works out, what it prints for scripts, and how it ends on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.cli.conftest import BOUND_SECONDS, clean_environment, command
from venturekit.cli.top_figures import SORTS, percentile, rows_of
from venturekit.cli.top_screen import age, duration, screen

BOUNDS = [1.0, 2.0, 5.0, 10.0]


def function(name: str, **members: Any) -> dict[str, Any]:
    return {
        "accountId": "000000000000",
        "functionName": name,
        "invocations": 0,
        "errors": 0,
        "throttles": 0,
        "coldStarts": 0,
        "durationClasses": [],
        "executionEnvironments": {"starting": 0, "idle": 0, "busy": 0, "stopping": 0},
        "memoryBytes": 0,
        "waitingInvocations": 0,
        "queuedEvents": 0,
        "oldestEventSeconds": 0.0,
        **members,
    }


def document(at: float, *functions: dict[str, Any], environments: int = 0, started: float = 1.0) -> dict[str, Any]:
    shown = [
        {
            "number": number,
            "accountId": "000000000000",
            "functionName": f"f{number}",
            "version": "$LATEST",
            "state": "idle",
            "memoryBytes": number * 1024 * 1024,
            "memoryLimitBytes": 128 * 1024 * 1024,
            "pid": 100 + number,
        }
        for number in range(environments)
    ]
    service = {"version": "1", "startedAt": started, "cpuSeconds": at / 10, "memoryBytes": 2**25, "connections": 2}
    return {
        "atSeconds": at,
        "service": service,
        "durationBoundsMs": BOUNDS,
        "functions": list(functions),
        "executionEnvironments": shown,
        "executionEnvironmentsTotal": environments,
    }


def test_rates_are_those_between_two_looks() -> None:
    before = document(10.0, function("f", invocations=100, errors=1, durationClasses=[100, 0, 0, 0, 0]))
    now = document(12.0, function("f", invocations=140, errors=5, throttles=2, durationClasses=[100, 0, 40, 0, 0]))
    (row,) = rows_of(before, now, "invokes")
    assert (row.invokes_per_second, row.errors_per_second, row.throttles_per_second) == (20.0, 2.0, 1.0)
    assert row.p50_ms == pytest.approx(3.5)
    assert row.p99_ms == pytest.approx(4.97)


@pytest.mark.parametrize(
    "before",
    [
        None,
        document(90.0, function("f", invocations=7), started=2.0),
        document(10.0, function("f", invocations=7)),
    ],
)
def test_without_another_look_there_are_no_rates(before: dict[str, Any] | None) -> None:
    now = document(10.0, function("f", invocations=50, durationClasses=[50, 0, 0, 0, 0]))
    (row,) = rows_of(before, now, "invokes")
    assert (row.invokes_per_second, row.p50_ms) == (0.0, 0.5)


def test_a_function_that_was_created_again_begins_at_zero() -> None:
    before = document(1.0, function("f", invocations=100, durationClasses=[100, 0, 0, 0, 0]))
    now = document(2.0, function("f", invocations=4, durationClasses=[4, 0, 0, 0, 0]))
    assert rows_of(before, now, "invokes")[0].invokes_per_second == 4.0


@pytest.mark.parametrize("sort", SORTS)
def test_functions_are_sorted(sort: str) -> None:
    before = document(0.5, function("a"), function("b"), function("c"))
    busy = {"invocations": 9, "errors": 9, "throttles": 9, "memoryBytes": 9, "queuedEvents": 9}
    now = document(1.5, function("c"), function("b", **busy, durationClasses=[0, 0, 0, 9, 0]), function("a"))
    names = [row.name for row in rows_of(before, now, sort)]
    assert names == (["a", "b", "c"] if sort == "name" else ["b", "a", "c"])


@given(classes=st.lists(st.integers(0, 50), min_size=5, max_size=5), fraction=st.floats(0.01, 1.0))
@settings(deadline=None, max_examples=100)
def test_a_percentile_lies_in_the_class_of_its_invocation(classes: list[int], fraction: float) -> None:
    found = percentile(BOUNDS, classes, fraction)
    assert (found is None) is (sum(classes) == 0)
    if found is not None:
        below = sum(count for count, bound in zip(classes, BOUNDS, strict=False) if bound < found)
        assert below <= fraction * sum(classes) + 1e-6
        assert 0.0 <= found <= BOUNDS[-1]


def test_durations_and_ages_have_units() -> None:
    assert [duration(each) for each in (None, 0.5, 12.34, 1500.0)] == ["-", "0.5 ms", "12.3 ms", "1.5 s"]
    assert [age(each) for each in (0.4, 59.0, 60.0, 7200.0, 172_800.0)] == ["0 s", "59 s", "1 m", "2 h", "2 d"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
@pytest.mark.parametrize(("functions", "environments"), [(0, 0), (1, 1), (50, 50), (3, 200)])
def test_a_screen_fits(width: int, functions: int, environments: int) -> None:
    now = document(
        2.0, *(function(f"[red]name-{number}" * 3) for number in range(functions)), environments=environments
    )
    console = Console(width=width, height=24, file=StringIO(), color_system=None)
    console.print(screen(rows_of(None, now, "name"), None, now, width=width, height=24, sort="name", keys=True))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert ("[red]nam" in "".join(lines)) is (functions > 0)


def test_figures_for_scripts(service: Any) -> None:
    service.vk("invoke", "app")
    done = service.vk("top", "--once", "--json", "--interval", "0.5")
    assert (done.status, done.err) == (0, "")
    (found,) = (each for each in done.json["functions"] if each["functionName"] == "app")
    assert found["executionEnvironments"]["idle"] == 1
    assert found["memoryBytes"] > 0
    assert done.json["executionEnvironments"][0]["functionName"] == "app"
    assert done.json["service"]["memoryBytes"] > 0
    plain = service.vk("top", "--interval", "0.5").out.decode()
    assert plain.startswith("VentureKit ")
    assert "\x1b" not in plain
    assert any(line.startswith("app ") for line in plain.splitlines())
    assert b"\nventurekit_invocations_total{" in service.vk("top", "--prometheus").out


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("--sort", "nothing"), 2, "vk: --sort nothing: give one of invokes, p99"),
        (("--interval", "0.1"), 2, ""),
        (("--endpoint-url", "http://127.0.0.1:9"), 4, "vk: no service at http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_done_is_said(vk: Any, arguments: tuple[str, ...], status: int, text: str) -> None:
    done = vk("top", *arguments)
    assert (done.status, done.out) == (status, b"")
    assert done.err.startswith(text)


class Screen:
    """``vk top`` on a terminal of its own."""

    def __init__(self, url: str, folder: Any) -> None:
        self._terminal, inner = pty.openpty()
        environ = clean_environment({"AWS_ENDPOINT_URL_LAMBDA": url, "TERM": "xterm", "COLUMNS": "90", "LINES": "30"})
        self.process = subprocess.Popen(
            command("top", "--interval", "0.5"),
            cwd=folder,
            env=environ,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self.seen = b""

    def wait_for(self, *wanted: bytes) -> None:
        """Read until all of these were shown since the last call."""
        give_up = time.monotonic() + BOUND_SECONDS
        while not all(each in self.seen for each in wanted):
            assert self._read(give_up - time.monotonic()), (wanted, self.seen)
        self.seen = b""

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(seconds, 0.0))
        with contextlib.suppress(OSError):
            piece = os.read(self._terminal, 65_536) if ready else b""
            self.seen += piece
            return bool(piece)
        return False

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def end(self) -> int:
        """The exit status; what was shown until then is in ``seen``."""
        give_up = time.monotonic() + BOUND_SECONDS
        while self._read(give_up - time.monotonic()):
            pass
        return self.process.wait(BOUND_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(BOUND_SECONDS)
        os.close(self._terminal)


def test_keys_sort_and_end(service: Any, tmp_path: Any) -> None:
    with contextlib.closing(Screen(service.url, tmp_path)) as shown:
        shown.wait_for(b"INV/S", b"by invokes", b"app")
        shown.press(b"s")
        shown.wait_for(b"by p99")
        shown.press(b"q")
        assert shown.end() == 0
        assert b"\x1b[?1049l" in shown.seen


def test_ctrl_c_ends_it(service: Any, tmp_path: Any) -> None:
    with contextlib.closing(Screen(service.url, tmp_path)) as shown:
        shown.wait_for(b"by invokes")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0
        assert b"\x1b[?1049l" in shown.seen
        assert b"Traceback" not in shown.seen


def test_it_ends_with_the_service(serve: Any, tmp_path: Any) -> None:
    with serve() as served, contextlib.closing(Screen(served.url, tmp_path)) as shown:
        shown.wait_for(b"there are no functions")
        assert served.running.end()[0] == 0
        assert shown.end() == 4
        assert b"\x1b[?1049l" in shown.seen
        assert b"vk: " in shown.seen.rpartition(b"\x1b[?1049l")[2]


def test_lines_of_json_go_on(service: Any, start_vk: Any) -> None:
    with start_vk("top", "--json", "--interval", "0.5", "--endpoint-url", service.url) as running:
        # The second line has begun.
        seen = running.read_until(b"\n{")
        assert json.loads(seen.splitlines()[0])["service"]["connections"] >= 1
        assert running.end(signal.SIGINT)[0] == 0
