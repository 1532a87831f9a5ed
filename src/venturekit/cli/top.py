"""``vk top``: functions and execution environments as they are now, again and again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from venturekit.cli import options
from venturekit.cli.exits import USAGE, CommandError
from venturekit.cli.output import is_terminal, write_bytes, write_json
from venturekit.cli.top_figures import SORTS, document_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from venturekit.cli.api import Api

METRICS: Final = "/_venturekit/metrics"
METRICS_JSON: Final = "/_venturekit/metrics.json"
ANSWER_TIMEOUT_SECONDS: Final = 10.0
PLAIN_WIDTH: Final = 160

Document = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(top)


def top(
    interval: Annotated[
        float, typer.Option("--interval", "-n", metavar="SECONDS", min=0.5, max=3600, help="Between two looks.")
    ] = 2.0,
    sort: Annotated[str, typer.Option("--sort", metavar="COLUMN", help=f"One of {', '.join(SORTS)}.")] = SORTS[0],
    once: Annotated[bool, typer.Option("--once", help="Look twice, show that, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a line for each look, or laid out with --once.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print all figures once in the text format of Prometheus.")
    ] = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Watch functions and execution environments: invocations, durations, memory, throttles, queued events.

    On a terminal q ends it and s sorts by the next column.
    """
    if sort not in SORTS:
        raise CommandError(f"--sort {sort}: give one of {', '.join(SORTS)}", USAGE)
    api = options.connect(endpoint_url, region)
    if prometheus:
        write_bytes(api.request("GET", METRICS, timeout=ANSWER_TIMEOUT_SECONDS).body)
        return
    before = _look(api)
    if once or (not as_json and not is_terminal()):
        time.sleep(interval)
        _show_once(before, _look(api), sort, as_json=as_json)
    elif as_json:
        _print_lines(api, before, interval, sort)
    else:
        _watch(api, before, interval, sort)


def _look(api: Api) -> Document:
    found: Document = api.json("GET", METRICS_JSON, timeout=ANSWER_TIMEOUT_SECONDS)
    return found


def _show_once(before: Document, now: Document, sort: str, *, as_json: bool) -> None:
    rows = rows_of(before, now, sort)
    if as_json:
        write_json(document_of(rows, before, now))
        return
    from rich.console import Console

    from venturekit.cli.top_screen import screen

    console = Console() if is_terminal() else Console(width=PLAIN_WIDTH, color_system=None)
    console.print(screen(rows, before, now, width=console.width, height=None, sort=sort, keys=False))


def _print_lines(api: Api, before: Document, interval: float, sort: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(interval)
            now = _look(api)
            shown = document_of(rows_of(before, now, sort), before, now)
            write_bytes(json.dumps(shown, separators=(",", ":")).encode() + b"\n")
            before = now


def _watch(api: Api, before: Document, interval: float, sort: str) -> None:
    """Show the figures until a key or Ctrl-C ends it; raises what requests raise when the service ends."""
    from rich.console import Console
    from rich.live import Live

    from venturekit.cli.top_screen import screen

    console = Console()
    former: Document | None = None
    now = before
    with contextlib.suppress(KeyboardInterrupt), _single_keys() as pressed:

        def picture() -> Any:
            rows = rows_of(former, now, sort)
            width, height = console.size
            return screen(rows, former, now, width=width, height=height, sort=sort, keys=pressed is not None)

        live = Live(picture(), console=console, screen=True, auto_refresh=False)
        with contextlib.ExitStack() as stack:
            # Before it begins: Ctrl-C may come in the middle of that.
            stack.callback(live.stop)
            live.start(refresh=True)
            due = time.monotonic() + interval
            while True:
                key = _wait(pressed, due - time.monotonic())
                if key in ("q", "Q"):
                    return
                if key in ("s", "S"):
                    sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
                elif key is None and time.monotonic() >= due:
                    former, now = now, _look(api)
                    due = time.monotonic() + interval
                live.update(picture(), refresh=True)


def _wait(pressed: Callable[[float], str | None] | None, seconds: float) -> str | None:
    """Wait, and return the key that was pressed meanwhile, if any."""
    if pressed is not None:
        return pressed(max(seconds, 0.0))
    time.sleep(max(seconds, 0.0))
    return None


@contextlib.contextmanager
def _single_keys() -> Iterator[Callable[[float], str | None] | None]:
    """Gives what waits for a key for so many seconds; None where no keyboard is."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    former = termios.tcgetattr(descriptor)
    closed = False

    def pressed(seconds: float) -> str | None:
        nonlocal closed
        if closed:
            time.sleep(seconds)
            return None
        ready, _, _ = select.select([descriptor], [], [], seconds)
        key = os.read(descriptor, 1) if ready else b""
        # A terminal that is gone is always ready, and has nothing.
        closed = bool(ready) and not key
        return key.decode("latin-1") or None

    try:
        # Ctrl-C still interrupts.
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
