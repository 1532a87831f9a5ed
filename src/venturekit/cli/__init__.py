"""The ``vk`` command, one module per group of commands; a command imports only what it needs.

``vk serve`` is ready within a time budget in which Typer alone would take a good part: it and ``--version`` are
answered before Typer is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from venturekit.cli.exits import INTERRUPTED, OK, CommandError, complain

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``vk`` with these arguments, by default the process's own. Returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except CommandError as error:
        complain(str(error))
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED


def _dispatch(given: list[str]) -> int:
    if given[:1] == ["--version"]:
        from venturekit import __version__

        print(f"vk {__version__}")
        return OK
    if given[:1] == ["serve"]:
        from venturekit.cli.serve import serve

        return serve(given[1:])
    from venturekit.cli.commands import run_command

    return run_command(given)
