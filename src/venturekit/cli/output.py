"""What ``vk`` writes: data to standard output, everything else to standard error; plain unless it is a terminal."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What ends a row, has a terminal do something, or shows what follows in another order than it has. Functions choose
# their error messages.
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_UNSEEN_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def write_json(value: object) -> None:
    """A value as JSON in UTF-8, over several lines; in colour on a terminal unless NO_COLOR is set."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if is_terminal():
        _write_highlighted(text)
    else:
        write_bytes(text.encode("utf-8", "replace") + b"\n")


def write_payload(payload: bytes) -> None:
    """What a function has answered, byte by byte; on a terminal laid out for reading if it is JSON."""
    if not is_terminal():
        write_bytes(payload)
        return
    try:
        text = json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        write_bytes(payload + b"\n")
        return
    _write_highlighted(text)


def write_bytes(data: bytes) -> None:
    """Bytes to standard output, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def write_log(data: bytes) -> None:
    """Lines of a log to standard error, at once."""
    sys.stderr.flush()
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


def write_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows for people on a terminal; elsewhere one line each, cells parted by tabs, without titles.

    Empty titles are not shown on a terminal either. Control characters in a cell are shown as Python writes them.
    """
    if not is_terminal():
        for row in rows:
            write_bytes("\t".join(map(_seen, row)).encode("utf-8", "replace") + b"\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(titles))
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        # Text, not markup: a description may hold brackets.
        table.add_row(*(Text(_seen(cell)) for cell in row))
    Console().print(table)


def _seen(cell: str) -> str:
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], cell)


def _write_highlighted(text: str) -> None:
    text = _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    from rich.console import Console
    from rich.syntax import Syntax

    console = Console()
    if console.no_color or not console.is_terminal:
        write_bytes(text.encode("utf-8", "replace") + b"\n")
    else:
        highlighted = Syntax("", "json", theme="ansi_dark", background_color="default").highlight(text)
        # The terminal wraps long lines: a line break put into a string would be no JSON when copied.
        console.print(highlighted, soft_wrap=True, end="")
