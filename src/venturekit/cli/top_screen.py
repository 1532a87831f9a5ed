"""What ``vk top`` looks like on a terminal: wide ones get more columns. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from venturekit.cli.top_figures import MEBIBYTE, cpu_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from venturekit.cli.top_figures import Row


class Column(NamedTuple):
    """A column: shown on terminals that are at least so wide."""

    title: str
    text: Callable[[Row], str]
    least_width: int = 0


COLUMNS: Final = (
    Column("INV/S", lambda row: f"{row.invokes_per_second:.1f}"),
    Column("P50", lambda row: duration(row.p50_ms), 60),
    Column("P99", lambda row: duration(row.p99_ms), 30),
    Column("ERR/S", lambda row: f"{row.errors_per_second:.1f}", 80),
    Column("THR/S", lambda row: f"{row.throttles_per_second:.1f}", 80),
    Column("BUSY", lambda row: str(row.busy), 40),
    Column("IDLE", lambda row: str(row.idle), 70),
    Column("STARTING", lambda row: str(row.starting), 100),
    Column("COLD", lambda row: str(row.cold_starts), 100),
    Column("MEMORY", lambda row: size(row.memory_bytes), 50),
    Column("WAITING", lambda row: str(row.waiting), 110),
    Column("QUEUED", lambda row: str(row.queued_events), 60),
    Column("OLDEST", lambda row: age(row.oldest_event_seconds) if row.queued_events else "", 110),
)
HEAD_LINES: Final = 5
"""The lines of a screen that are neither a function nor an environment."""


def screen(
    rows: Sequence[Row],
    before: dict[str, Any] | None,
    now: dict[str, Any],
    *,
    width: int,
    height: int | None,
    sort: str,
    keys: bool,
) -> RenderableType:
    """One picture, at most ``height`` lines high."""
    shown, environments = _parted(rows, now["executionEnvironments"], height)
    head = _head(before, now, len(rows), sort=sort, keys=keys)
    head.truncate(width, overflow="ellipsis")
    parts: list[RenderableType] = [head, _functions(shown, width)]
    if not rows:
        parts[1] = Text("there are no functions", style="dim")
    if environments:
        parts += [Text(""), _environments(environments, width)]
    return Group(*parts)


def _parted(
    rows: Sequence[Row], environments: Sequence[dict[str, Any]], height: int | None
) -> tuple[Sequence[Row], Sequence[dict[str, Any]]]:
    """What of both fits: functions first, but not so that there is nothing else."""
    environments = sorted(environments, key=lambda each: (-each["memoryBytes"], each["number"]))
    if height is None:
        return rows, environments
    room = max(height - HEAD_LINES, 2)
    functions = rows[: max(room - min(len(environments), room // 3), 1)]
    return functions, environments[: max(room - max(len(functions), 1), 0)]


def _head(before: dict[str, Any] | None, now: dict[str, Any], functions: int, *, sort: str, keys: bool) -> Text:
    service = now["service"]
    cpu = cpu_percent(before, now)
    parts = [
        f"VentureKit {service['version']}",
        f"by {sort}",
        f"cpu {'-' if cpu is None else f'{cpu:.0f} %'}",
        f"memory {size(service['memoryBytes'])}",
        f"{service['connections']} connections",
        f"{functions} functions",
        f"{now['executionEnvironmentsTotal']} environments",
    ]
    text = Text("  ".join(parts), style="bold")
    return text.append("  q quits, s sorts", style="dim") if keys else text


def _functions(rows: Sequence[Row], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="reverse", expand=True)
    table.add_column("FUNCTION", overflow="ellipsis", no_wrap=True, ratio=1, min_width=10)
    columns = [column for column in COLUMNS if column.least_width <= width]
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in rows:
        style = "red" if row.errors_per_second or row.throttles_per_second else ""
        # Text, not markup.
        table.add_row(Text(row.name), *(Text(column.text(row)) for column in columns), style=style)
    return table


def _environments(environments: Sequence[dict[str, Any]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="reverse", expand=True)
    table.add_column("ENVIRONMENT OF", overflow="ellipsis", no_wrap=True, ratio=1, min_width=10)
    table.add_column("STATE", no_wrap=True)
    table.add_column("MEMORY", justify="right", no_wrap=True)
    if width >= 60:
        table.add_column("OF", justify="right", no_wrap=True)
        table.add_column("PID", justify="right", no_wrap=True)
    for each in environments:
        cells = [f"{each['functionName']}:{each['version']}", each["state"], size(each["memoryBytes"])]
        if width >= 60:
            cells += [size(each["memoryLimitBytes"]), str(each["pid"] or "")]
        table.add_row(*map(Text, cells))
    return table


def duration(milliseconds: float | None) -> str:
    """A duration in three digits and a unit."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.3g} s"


def size(size_bytes: int) -> str:
    """A size in MB, as the limits of functions are given."""
    return f"{size_bytes / MEBIBYTE:.0f} MB"


def age(seconds: float) -> str:
    """How long ago something was."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
