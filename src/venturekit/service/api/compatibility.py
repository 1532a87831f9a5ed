"""The page that says which operations are served, generated from the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.api.registry import Level

if TYPE_CHECKING:
    from venturekit.service.api.operations import OperationTable
    from venturekit.service.api.registry import Registry, Status

HEAD = """\
# Compatibility with the Lambda API

This page is generated from the service's own registry by `scripts/compatibility.py`; do not edit it.

Every operation of the Lambda API is listed. An operation that is not served answers `501` with the code
`NotImplementedException`; nothing is silently ignored. Where one is served partly, the reason says what is missing.
"""
TITLES = {Level.SERVED: "Served", Level.PARTLY: "Partly served", Level.NOT: "Not served"}


def render_compatibility(table: OperationTable, registry: Registry) -> str:
    """The Markdown text of ``docs/compatibility.md``, ending with a line break."""
    statuses = {name: registry.status(name) for name in sorted(table.operations)}
    parts = [HEAD, _render_counts(statuses)]
    for level, title in TITLES.items():
        rows = [_render_row(table, name, status) for name, status in statuses.items() if status.level is level]
        if rows:
            parts.append("\n".join([f"## {title}\n", *_render_columns(level), *rows, ""]))
    return "\n".join(parts)


def _render_counts(statuses: dict[str, Status]) -> str:
    levels = [status.level for status in statuses.values()]
    rows = [f"| {title} | {levels.count(level)} |" for level, title in TITLES.items()]
    return "\n".join(["| | Operations |", "|---|---|", *rows, f"| All | {len(levels)} |", ""])


def _render_columns(level: Level) -> tuple[str, str]:
    reason = {Level.SERVED: "", Level.PARTLY: " What is missing |", Level.NOT: " Why |"}[level]
    return f"| Operation | Call |{reason}", "|---|---|" + ("---|" if reason else "")


def _render_row(table: OperationTable, name: str, status: Status) -> str:
    operation = table.operations[name]
    reason = f" {status.reason.replace('|', chr(92) + '|')} |" if status.level is not Level.SERVED else ""
    return f"| {name} | {operation.method} `{operation.path}` |{reason}"
