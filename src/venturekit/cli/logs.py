"""``vk logs``: what a function has logged, and what it logs from now on."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from venturekit.cli import options
from venturekit.cli.api import ApiError
from venturekit.cli.exits import NOT_FOUND, USAGE, CommandError, complain
from venturekit.cli.output import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.cli.api import Api

HTTP_NOT_FOUND: Final = 404
LOGS: Final = "/_venturekit/logs/"
WAIT_SECONDS: Final = 2
"""A service that is asked to end waits for a request that waits."""
ANSWER_TIMEOUT_SECONDS: Final = 20.0
UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(logs)


def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or ARN of the function.")],
    tail: Annotated[bool, typer.Option("--tail", "-f", "--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only what was logged since then: so long ago (90s, 10m, 2h, 3d), or a time (2025-01-31T12:00Z).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each record as a JSON object on a line of its own.")
    ] = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Print a function's log, as far as the service still has it."""
    earliest_ms = 0.0 if since is None else parse_since(since, time.time()) * 1000
    api = options.connect(endpoint_url, region)
    expected = 0
    for event in read_log(api, name, follow=tail):
        if event["timestamp"] < earliest_ms:
            continue
        if as_json:
            write_bytes(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            continue
        if expected and event["sequence"] > expected:
            complain(f"{event['sequence'] - expected} records came faster than they could be read")
        expected = event["sequence"] + 1
        write_bytes(line_of(event))


def parse_since(text: str, now: float) -> float:
    """The time in epoch seconds that ``--since`` names; a time without an offset is a local one.

    Raises CommandError.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found:
        return now - int(found[1]) * UNIT_SECONDS[found[2]]
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise CommandError(
            f"--since {text}: give a number with s, m, h or d behind it, such as 10m, or a time such as "
            "2025-01-31T12:00Z",
            USAGE,
        ) from None


def read_log(api: Api, name: str, *, follow: bool, after: int = -1) -> Iterator[dict[str, Any]]:
    """The records after this sequence; with ``follow`` without end. Raises what requests of the client raise."""
    while True:
        target = f"{LOGS}{quote(name, safe='')}?after={after}&wait={WAIT_SECONDS if follow else 0}"
        try:
            page = api.json("GET", target, timeout=ANSWER_TIMEOUT_SECONDS)
        except ApiError as error:
            if error.http_status == HTTP_NOT_FOUND:
                raise CommandError(str(error), NOT_FOUND) from error
            raise
        yield from page["events"]
        if page["events"]:
            after = page["events"][-1]["sequence"]
        elif not follow:
            return


def line_of(event: dict[str, Any]) -> bytes:
    """The text of a record with a line break at its end."""
    text: str = event["message"]
    return (text if text.endswith("\n") else text + "\n").encode("utf-8", "replace")
