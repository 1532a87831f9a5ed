"""``vk websockets``: make, see and take away WebSocket APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from venturekit.cli import options
from venturekit.cli.api import ApiError
from venturekit.cli.exits import USAGE, CommandError
from venturekit.cli.output import write_json, write_table

if TYPE_CHECKING:
    from venturekit.cli.api import Api

APIS: Final = "/_venturekit/websocket-apis"
HTTP_NOT_FOUND: Final = 404
NO_SUCH_THING: Final = "ResourceNotFoundException"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the WebSocket API.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        name="websockets",
        no_args_is_help=True,
        help="WebSocket APIs: clients connect, functions get their messages and write to them.",
    )
    group.command("list")(list_command)
    for command in (create, show, delete):
        group.command()(command)
    app.add_typer(group)


def create(
    name: Name,
    connect: Annotated[
        str | None, typer.Option("--connect", metavar="FUNCTION", help="Who is asked whether a client may connect.")
    ] = None,
    disconnect: Annotated[
        str | None, typer.Option("--disconnect", metavar="FUNCTION", help="Who is told that a client has left.")
    ] = None,
    default: Annotated[
        str | None, typer.Option("--default", metavar="FUNCTION", help="Who gets messages that take no other route.")
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option("--route", metavar="ACTION=FUNCTION", help="Who gets messages with this action. Repeatable."),
    ] = None,
    respond: Annotated[
        list[str] | None,
        typer.Option(
            "--respond", metavar="ROUTE", help="A route whose function's answer is sent to the client. Repeatable."
        ),
    ] = None,
    stage: Annotated[str, typer.Option("--stage", metavar="NAME", help="The path of the address.")] = "dev",
    select: Annotated[
        str, typer.Option("--select", metavar="EXPRESSION", help="Where a message says its action.")
    ] = "$request.body.action",
    idle_timeout: Annotated[
        int, typer.Option("--idle-timeout", metavar="SECONDS", help="How long a connection may be without a message.")
    ] = 600,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Make a WebSocket API, and print its address.

    What the options say is how it is afterwards: an API of that name is changed, and keeps its address.
    """
    predefined = {"$connect": connect, "$disconnect": disconnect, "$default": default}
    routes = {key: function for key, function in predefined.items() if function is not None}
    routes |= dict(_route(given) for given in route or ())
    document = {
        "stage": stage,
        "routeSelectionExpression": select,
        "routes": routes,
        "routeResponses": respond or [],
        "idleTimeoutSeconds": idle_timeout,
    }
    found = _request(options.connect(endpoint_url, region), "PUT", name, document)
    if as_json:
        write_json(found)
    else:
        typer.echo(found["url"])


def list_command(
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """List WebSocket APIs."""
    found = options.connect(endpoint_url, region).json("GET", APIS)["webSocketApis"]
    if as_json:
        write_json(found)
    else:
        write_table(
            ("NAME", "STAGE", "ROUTES", "ADDRESS"),
            ([api["name"], api["stage"], " ".join(sorted(api["routes"])), api["url"]] for api in found),
        )


def show(
    name: Name,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Show a WebSocket API: its addresses and routes."""
    api = _request(options.connect(endpoint_url, region), "GET", name)
    if as_json:
        write_json(api)
        return
    responding = api["routeResponses"]
    rows = [
        ["name", api["name"]],
        ["id", api["apiId"]],
        ["address", api["url"]],
        ["without host names", api["pathUrl"]],
        ["@connections", api["connectionsUrl"]],
        ["route selection", api["routeSelectionExpression"]],
        ["idle timeout", f"{api['idleTimeoutSeconds']} s"],
    ]
    for key, function in sorted(api["routes"].items()):
        rows.append([f"route {key}", f"{function} (its answer is sent)" if key in responding else function])
    write_table(("", ""), rows)


def delete(
    name: Name,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Take a WebSocket API away; its clients are sent away, too."""
    _request(options.connect(endpoint_url, region), "DELETE", name)


def _route(given: str) -> tuple[str, str]:
    key, found, function = given.rpartition("=")
    if not found or not key or not function:
        raise CommandError(f"--route {given}: write ACTION=FUNCTION, such as send=chat-send", USAGE)
    return key, function


def _request(api: Api, method: str, name: str, document: Any = None) -> Any:
    try:
        return api.json(method, f"{APIS}/{quote(name, safe='')}", document)
    except ApiError as error:
        if error.http_status == HTTP_NOT_FOUND:
            raise ApiError(NO_SUCH_THING, str(error), error.http_status) from error
        raise
