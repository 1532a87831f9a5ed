"""``vk serve`` as a command of the Typer application: it is listed there, and read by :mod:`venturekit.cli.serve`."""

from __future__ import annotations

import typer

from venturekit.cli.serve import SUMMARY, serve


def register(app: typer.Typer) -> None:
    """Add the command. Its arguments, ``--help`` included, are passed on as they are."""
    app.command(
        "serve",
        help=SUMMARY,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(_serve)


def _serve(context: typer.Context) -> None:
    raise typer.Exit(serve(context.args))
