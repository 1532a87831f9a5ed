"""``vk sources``: event source mappings, by which queues invoke functions."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from venturekit.cli import options, source_words
from venturekit.cli.api import ApiError, function_path
from venturekit.cli.exits import NOT_FOUND, USAGE, CommandError
from venturekit.cli.output import is_terminal, write_json, write_table
from venturekit.cli.payload import read_filters

if TYPE_CHECKING:
    from venturekit.cli.api import Api

MAPPINGS: Final = "/2015-03-31/event-source-mappings"
PAGE_MAPPINGS: Final = 100
PARTIAL: Final = "ReportBatchItemFailures"
SETTLED: Final = ("Enabled", "Disabled")
WAIT_SECONDS: Final = 60.0
"""A mapping that is disabled or deleted waits for its last request to the queue, up to 20 s, and for its batches."""
FIRST_LOOK_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.25
_BEGINNING: Final = re.compile(r"[0-9a-fA-F-]{8,36}")
_FULL_LENGTH: Final = 36

Id = Annotated[str, typer.Argument(metavar="ID", help="The UUID, or the first 8 or more characters of it.")]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", metavar="COUNT", min=1, max=10_000, help="The most messages of one invocation."),
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window", metavar="SECONDS", min=0, max=300, help="How long messages are gathered for one invocation."
    ),
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="JSON|@FILE",
        help='Only messages that match this, such as {"body": {"kind": ["order"]}}, or another one. Repeatable.',
    ),
]
Partial = Annotated[
    bool | None,
    typer.Option(
        "--report-batch-item-failures/--no-report-batch-item-failures",
        help="Whether the function's answer names the messages that failed.",
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is so.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        name="sources",
        no_args_is_help=True,
        help="Event source mappings: SQS queues whose messages invoke functions.",
    )
    group.command("list")(list_command)
    for command in (create, show, update, delete):
        group.command()(command)
    app.add_typer(group)


def list_command(
    function: Annotated[
        str | None, typer.Option("--function", metavar="NAME", help="Only mappings to this function; name or ARN.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", metavar="ARN", help="Only mappings of this queue.")] = None,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """List mappings, the oldest first."""
    found = list_mappings(options.connect(endpoint_url, region), function=function, queue=queue)
    if as_json:
        write_json(found)
    else:
        narrow = is_terminal()
        write_table(source_words.LIST_TITLES, (source_words.list_row(mapping, narrow=narrow) for mapping in found))


def create(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Name or ARN, with or without :QUALIFIER.")],
    queue: Annotated[
        str,
        typer.Argument(metavar="QUEUE", help="ARN of the queue, or its name: of the function's account and region."),
    ],
    batch_size: BatchSize = None,
    window: Window = None,
    filters: Filters = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option("--max-concurrency", metavar="COUNT", min=2, max=1000, help="The most invocations at once."),
    ] = None,
    partial: Partial = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not ask the queue yet.")] = False,
    no_wait: NoWait = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Have a queue invoke a function, and wait until it does."""
    document = _members(batch_size, window, filters, partial)
    if max_concurrency is not None:
        document["ScalingConfig"] = {"MaximumConcurrency": max_concurrency}
    api = options.connect(endpoint_url, region)
    document |= {"FunctionName": function, "EventSourceArn": _queue_arn(api, function, queue)}
    document["Enabled"] = not disabled
    try:
        made = api.json("POST", MAPPINGS, document)
    except ApiError as error:
        if error.code == "ResourceConflictException":
            raise CommandError(f"{error} (vk sources update changes it)") from error
        raise
    _show(made if no_wait else wait_settled(api, made["UUID"]), as_json)


def show(
    mapping_id: Id,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Show a mapping: how it works, and how it went last."""
    api = options.connect(endpoint_url, region)
    _show(api.json("GET", _path(find(api, mapping_id))), as_json)


def update(
    mapping_id: Id,
    function: Annotated[
        str | None, typer.Option("--function", metavar="NAME", help="Invoke this one from now on; name or ARN.")
    ] = None,
    batch_size: BatchSize = None,
    window: Window = None,
    filters: Filters = None,
    no_filter: Annotated[bool, typer.Option("--no-filter", help="All messages: take the filters away.")] = False,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            "--max-concurrency", metavar="COUNT", min=0, max=1000, help="The most invocations at once; 0: no limit."
        ),
    ] = None,
    partial: Partial = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether the queue is asked for messages.")
    ] = None,
    no_wait: NoWait = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Change a mapping, enable or disable it, and wait until it is so. What is not named stays as it is."""
    if filters and no_filter:
        raise CommandError("--filter and --no-filter exclude each other", USAGE)
    if max_concurrency == 1:
        raise CommandError("--max-concurrency 1: must be 2 to 1000, or 0 for no limit", USAGE)
    document = _members(batch_size, window, filters, partial)
    if no_filter:
        document["FilterCriteria"] = {}
    if max_concurrency is not None:
        document["ScalingConfig"] = {"MaximumConcurrency": max_concurrency} if max_concurrency else {}
    document |= {name: value for name, value in (("FunctionName", function), ("Enabled", enable)) if value is not None}
    if not document:
        raise CommandError("say what changes, such as --batch-size 100 or --disable", USAGE)
    api = options.connect(endpoint_url, region)
    uuid = find(api, mapping_id)
    changed = _change(api, "PUT", uuid, document)
    _show(changed if no_wait else wait_settled(api, uuid), as_json)


def delete(
    mapping_id: Id,
    no_wait: NoWait = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Delete a mapping, and wait until its last batch has ended. The queue keeps what it has."""
    api = options.connect(endpoint_url, region)
    uuid = find(api, mapping_id)
    _change(api, "DELETE", uuid)
    if no_wait:
        return
    try:
        wait_settled(api, uuid)
    except ApiError as error:
        if error.code != "ResourceNotFoundException":
            raise


def list_mappings(api: Api, *, function: str | None = None, queue: str | None = None) -> list[dict[str, Any]]:
    """All mappings, or those of a function or a queue, page by page."""
    given = {"FunctionName": function, "EventSourceArn": queue}
    wanted = {name: value for name, value in given.items() if value is not None}
    found: list[dict[str, Any]] = []
    marker = ""
    while True:
        query = {"MaxItems": str(PAGE_MAPPINGS), **wanted, **({"Marker": marker} if marker else {})}
        page = api.json("GET", f"{MAPPINGS}?{urlencode(query)}")
        found += page["EventSourceMappings"]
        marker = page.get("NextMarker") or ""
        if not marker:
            return found


def find(api: Api, beginning: str) -> str:
    """The UUID that begins so. Raises CommandError when there is none, or more than one."""
    if _BEGINNING.fullmatch(beginning) is None:
        raise CommandError(
            f"{beginning!r} is no UUID of a mapping, nor 8 or more characters of one: vk sources list shows them", USAGE
        )
    if len(beginning) == _FULL_LENGTH:
        return beginning
    found = [mapping["UUID"] for mapping in list_mappings(api) if mapping["UUID"].startswith(beginning.lower())]
    if not found:
        raise CommandError(f"there is no mapping {beginning}: vk sources list shows those there are", NOT_FOUND)
    if len(found) > 1:
        raise CommandError(f"{beginning} is the beginning of {len(found)} mappings: give more of it", USAGE)
    return str(found[0])


def wait_settled(api: Api, uuid: str) -> dict[str, Any]:
    """The mapping once it is enabled or disabled. Raises ApiError when it is gone, CommandError after a minute."""
    give_up = time.monotonic() + WAIT_SECONDS
    pause = FIRST_LOOK_SECONDS
    while True:
        found: dict[str, Any] = api.json("GET", _path(uuid))
        if found["State"] in SETTLED:
            return found
        if time.monotonic() > give_up:
            raise CommandError(
                f"the mapping {uuid} is still {found['State']} after {WAIT_SECONDS:.0f} s; it goes on with that"
            )
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _change(api: Api, method: str, uuid: str, document: Any = None) -> Any:
    try:
        return api.json(method, _path(uuid), document)
    except ApiError as error:
        if error.code == "ResourceInUseException":
            raise CommandError(
                f"{error} (vk sources show {uuid} says when it is Enabled or Disabled; then try again)"
            ) from error
        raise


def _members(
    batch_size: int | None, window: int | None, filters: list[str] | None, partial: bool | None
) -> dict[str, Any]:
    """What an option was given for, as the API has it."""
    document: dict[str, Any] = {}
    if batch_size is not None:
        document["BatchSize"] = batch_size
    if window is not None:
        document["MaximumBatchingWindowInSeconds"] = window
    if filters:
        document["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in read_filters(filters)]}
    if partial is not None:
        document["FunctionResponseTypes"] = [PARTIAL] if partial else []
    return document


def _queue_arn(api: Api, function: str, queue: str) -> str:
    """The ARN of a queue that may be a name. The function's ARN has its account and region."""
    if queue.startswith("arn:"):
        return queue
    if "/" in queue:
        raise CommandError(f"{queue!r}: give the ARN of the queue, or its name alone", USAGE)
    parts = api.json("GET", function_path(function, "/configuration"))["FunctionArn"].split(":")
    return f"{parts[0]}:{parts[1]}:sqs:{parts[3]}:{parts[4]}:{queue}"


def _path(uuid: str) -> str:
    return f"{MAPPINGS}/{quote(uuid, safe='')}"


def _show(mapping: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_json(mapping)
    else:
        write_table(("", ""), source_words.fact_rows(mapping))
