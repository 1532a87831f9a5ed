"""All commands but ``vk serve``, put together with Typer; only the module of the wanted command is imported."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Final

import typer

from venturekit.cli.exits import FAILED, OK
from venturekit.cli.output import is_terminal

SUMMARY: Final = "AWS Lambda functions on your own machine: no Docker, no account."
MODULES: Final = {
    "serve": "venturekit.cli.serve_command",
    "run": "venturekit.cli.run",
    "invoke": "venturekit.cli.invoke",
    "functions": "venturekit.cli.functions",
    "logs": "venturekit.cli.logs",
    "top": "venturekit.cli.top",
    "events": "venturekit.cli.events",
    "sources": "venturekit.cli.sources",
    "websockets": "venturekit.cli.websockets",
    "credentials": "venturekit.cli.credentials",
    "doctor": "venturekit.cli.doctor",
}


def run_command(given: list[str]) -> int:
    """Run ``vk`` with these arguments. Returns the exit status; raises CommandError."""
    app = build_app(given[0] if given else None)
    try:
        app(args=given or ["--help"], prog_name="vk")
        # What is left in the buffer must not fail after the status was decided.
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK if end.code is None else FAILED
    except BrokenPipeError:
        # The reader has seen enough (`vk logs f | head`); what Python still holds goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return OK


def build_app(command: str | None = None) -> typer.Typer:
    """The Typer application with this command, or with all of them if there is none of that name."""
    app = typer.Typer(
        name="vk",
        help=SUMMARY,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if is_terminal() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_version_option)
    for module in [MODULES[command]] if command in MODULES else MODULES.values():
        importlib.import_module(module).register(app)
    return app


def _version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from venturekit import __version__

        print(f"vk {__version__}")
        raise typer.Exit(OK)


_version_option.__doc__ = SUMMARY
