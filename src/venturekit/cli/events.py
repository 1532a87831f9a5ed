"""``vk events``: see queued events and what has become of them; run them again; drop them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from venturekit.cli import event_words, options
from venturekit.cli.api import ApiError
from venturekit.cli.exits import USAGE, CommandError, complain
from venturekit.cli.output import is_terminal, write_json, write_payload, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.cli.api import Api

EVENTS: Final = "/_venturekit/events"
PAGE_EVENTS: Final = 500
HTTP_NOT_FOUND: Final = 404
NO_SUCH_THING: Final = "ResourceNotFoundException"
STATES: Final = "queued, running, succeeded, failed, dropped, or undelivered: something is owed to a destination"

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...", help="Request ids, the first 8 or more characters of them, or numbers, such as 7 or '#7'."
    ),
]
Function = Annotated[
    str | None, typer.Option("--function", metavar="NAME", help="Only events of this function; name or ARN.")
]
Everything = Annotated[bool, typer.Option("--all", help="Events of all functions.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        name="events",
        no_args_is_help=True,
        help="Asynchronous invocations: see the events and their history, run them again, drop them.",
    )
    group.command("list")(list_command)
    for command in (show, counts, redrive, drop):
        group.command()(command)
    app.add_typer(group)


def list_command(
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help=f"Only events in this state: {STATES}.")
    ] = None,
    function: Function = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", min=1, help="How many at most.")] = 100,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first, not the newest.")] = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """List events, the newest first."""
    query = _given(state=state, function=function, order="oldest" if oldest else None)
    found, more = list_events(options.connect(endpoint_url, region), query, limit)
    if as_json:
        write_json(found)
    else:
        narrow = is_terminal()
        write_table(event_words.LIST_TITLES, (event_words.list_row(event, narrow=narrow) for event in found))
    if more:
        complain(f"there may be more than these {limit}: --limit shows them")


def show(
    event_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The request id, the first 8 or more characters of it, or the number, such as 7 or '#7'."
        ),
    ],
    payload: Annotated[bool, typer.Option("--payload", help="Show the payload, too.")] = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Show an event with its whole history: each attempt, when it was and how it ended."""
    query = _given(payload="true" if payload else None)
    event = _request(options.connect(endpoint_url, region), "GET", f"/{quote(event_id, safe='')}", query)
    if as_json:
        write_json(event)
        return
    write_table(("", ""), event_words.fact_rows(event))
    _section("Owed", event_words.DELIVERY_TITLES, map(event_words.delivery_row, event["deliveries"]))
    omitted = f" (without its first {event['historyOmitted']} lines)" if "historyOmitted" in event else ""
    _section(f"History{omitted}", event_words.HISTORY_TITLES, map(event_words.history_row, event["history"]))
    for name in ("payload", "payloadBase64"):
        if name in event:
            print("\nPayload", flush=True)
            write_payload(event[name].encode())
            if not is_terminal():
                print(flush=True)


def counts(
    function: Function = None,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Count events by function and state."""
    found = _request(options.connect(endpoint_url, region), "GET", "/counts", _given(function=function))["functions"]
    if as_json:
        write_json(found)
    else:
        write_table(*event_words.count_rows(found))


def redrive(
    ids: Ids = None,
    function: Function = None,
    everything: Everything = False,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="With --function or --all: failed, dropped, queued, or undelivered, which is only what is owed. "
            "Without it: failed.",
        ),
    ] = None,
    deliveries: Annotated[
        bool,
        typer.Option("--deliveries", help="With ids: only deliver what is owed, do not run the event."),
    ] = False,
    yes: Yes = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Run events again that have failed or were dropped, as if they were new.

    An event that waits for a retry is run at once; what is owed to destinations is delivered at once.
    """
    api = options.connect(endpoint_url, region)
    if _is_about_ids(ids, function, everything, state, for_ids=deliveries):
        query = _given(deliveries="true" if deliveries else None)
        _change_each(ids or [], as_json, lambda where: _request(api, "POST", f"{where}/redrive", query))
        return
    query = _given(function=function, all="true" if everything else None, state=state)
    _ask(api, "redrive", state or "failed", function, yes)
    _change_all(lambda marker: _request(api, "POST", "/redrive", query | marker), "redriven", as_json)


def drop(
    ids: Ids = None,
    function: Function = None,
    everything: Everything = False,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="With --function or --all: queued, or failed or undelivered, of which only what is owed is dropped. "
            "Without it: queued.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Drop events that wait, so that they are not run (any more).

    Of an event that has ended what is owed to destinations is dropped. One that is being run cannot be dropped. A
    dropped event keeps its payload, and can be redriven, until it is forgotten with the rest of the history.
    """
    api = options.connect(endpoint_url, region)
    if _is_about_ids(ids, function, everything, state):
        _change_each(ids or [], as_json, lambda where: _request(api, "DELETE", where, {}))
        return
    query = _given(function=function, all="true" if everything else None, state=state)
    _ask(api, "drop", state or "queued", function, yes)
    _change_all(lambda marker: _request(api, "DELETE", "", query | marker), "dropped", as_json)


def list_events(api: Api, query: dict[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Up to ``limit`` events, page by page, and whether there may be more. Raises what requests of the client raise."""
    found: list[dict[str, Any]] = []
    marker: dict[str, str] = {}
    while True:
        page = _request(api, "GET", "", query | marker | {"limit": str(min(limit - len(found), PAGE_EVENTS))})
        found += page["events"]
        if "nextMarker" not in page or len(found) >= limit:
            return found, "nextMarker" in page
        marker = {"marker": page["nextMarker"]}


def _request(api: Api, method: str, where: str, query: dict[str, str]) -> Any:
    try:
        return api.json(method, f"{EVENTS}{where}{'?' if query else ''}{urlencode(query)}")
    except ApiError as error:
        if error.http_status == HTTP_NOT_FOUND:
            raise ApiError(NO_SUCH_THING, str(error), error.http_status) from error
        raise


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _is_about_ids(
    ids: Sequence[str] | None, function: str | None, everything: bool, state: str | None, *, for_ids: bool = False
) -> bool:
    """Whether single events are meant. Raises CommandError unless that is clear."""
    if sum((bool(ids), function is not None, everything)) != 1:
        raise CommandError("say which events: their ids, or --function NAME, or --all", USAGE)
    if ids and state is not None:
        raise CommandError("--state goes with --function or --all; an id alone says which event is meant", USAGE)
    if not ids and for_ids:
        raise CommandError("--deliveries goes with ids; with --function or --all say --state undelivered", USAGE)
    return bool(ids)


def _ask(api: Api, verb: str, state: str, function: str | None, yes: bool) -> None:
    """Have a person confirm what is done to many events. Raises CommandError when nobody does."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"--yes is needed to {verb} several events where nobody can be asked", USAGE)
    counted = _request(api, "GET", "/counts", _given(function=function))["functions"]
    count = sum(item.get(state, 0) for item in counted)
    whose = f"of {function}" if function is not None else "of all functions"
    if not typer.confirm(f"{verb} {count} {state} events {whose}?", err=True):
        raise CommandError("nothing was done")


def _change_each(ids: Sequence[str], as_json: bool, change: Callable[[str], Any]) -> None:
    """Change events one by one; what is wrong with one does not keep the others from it."""
    done: list[dict[str, Any]] = []
    failure: ApiError | None = None
    for event_id in ids:
        try:
            done.append(change(f"/{quote(event_id, safe='')}"))
        except ApiError as error:
            complain(str(error))
            failure = failure or error
    if as_json:
        write_json(done)
    else:
        write_table(
            ("EVENT", "REQUEST ID", "FUNCTION", "STATE", "DELIVERIES"),
            (
                [f"#{item['number']}", item["requestId"], item["functionName"], item["state"], str(item["deliveries"])]
                for item in done
            ),
        )
    if failure is not None:
        raise typer.Exit(failure.status)


def _change_all(change: Callable[[dict[str, str]], Any], done: str, as_json: bool) -> None:
    events = deliveries = 0
    marker: dict[str, str] = {}
    while True:
        answer = change(marker)
        events += answer["events"]
        deliveries += answer["deliveries"]
        if "nextMarker" not in answer:
            break
        marker = {"marker": answer["nextMarker"]}
        if is_terminal():
            complain(f"{events} events so far")
    if as_json:
        write_json({"events": events, "deliveries": deliveries})
    else:
        write_table(("", ""), [(f"events {done}", str(events)), (f"deliveries {done}", str(deliveries))])


def _section(title: str, titles: Sequence[str], rows: Any) -> None:
    rows = list(rows)
    if rows:
        print(f"\n{title}", flush=True)
        write_table(titles, rows)
