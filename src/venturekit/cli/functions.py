"""``vk functions``: list, create, update, get and delete functions."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from venturekit.cli import options
from venturekit.cli.api import FUNCTIONS, ApiError, function_path
from venturekit.cli.code import load_code
from venturekit.cli.exits import CommandError
from venturekit.cli.function_url import url
from venturekit.cli.output import write_json, write_table
from venturekit.cli.payload import read_variables

if TYPE_CHECKING:
    from venturekit.cli.api import Api

DUMMY_ROLE: Final = "arn:aws:iam::000000000000:role/vk"
"""Functions have a role by AWS's rules. Only the roles of a credentials file make a difference between them."""
WAIT_SECONDS: Final = 60.0
FIRST_LOOK_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.25
SHOWN: Final = (
    ("FunctionName", "name"),
    ("FunctionArn", "ARN"),
    ("Version", "version"),
    ("Runtime", "runtime"),
    ("Handler", "handler"),
    ("State", "state"),
    ("Timeout", "timeout (s)"),
    ("MemorySize", "memory (MB)"),
    ("CodeSize", "code (bytes)"),
    ("LastModified", "last modified"),
    ("Description", "description"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or ARN of the function.")]
Source = Annotated[
    str, typer.Argument(metavar="CODE", help="A zip archive, or a file or directory that is zipped in memory.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name="functions", invoke_without_command=True)
    group.callback()(functions)
    group.command("list")(list_command)
    for command in (create, update, get, delete, url):
        group.command()(command)
    app.add_typer(group)


def functions(
    context: typer.Context,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """List functions; create, update, get and delete one."""
    if context.invoked_subcommand is not None:
        if as_json or endpoint_url is not None or region is not None:
            raise typer.BadParameter(f"give options after `{context.invoked_subcommand}`", ctx=context)
        return
    list_command(as_json, endpoint_url, region)


def list_command(
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """List functions, as `vk functions` alone does."""
    found = list_functions(options.connect(endpoint_url, region))
    if as_json:
        write_json(found)
        return
    write_table(
        ("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "LAST MODIFIED"),
        (
            [str(item.get(key, "")) for key in ("FunctionName", "Runtime", "Handler", "MemorySize", "Timeout")]
            + [item.get("LastModified", "")]
            for item in found
        ),
    )


def create(
    name: Name,
    code: Source,
    handler: options.Handler = None,
    runtime: options.Runtime = None,
    timeout: options.Timeout = 3,
    memory: options.Memory = 128,
    env: options.Variables = None,
    role: Annotated[
        str, typer.Option("--role", metavar="ARN", help="Role; any will do, unless a credentials file names roles.")
    ] = DUMMY_ROLE,
    tenant_isolation: Annotated[
        bool, typer.Option("--tenant-isolation", help="Each tenant has environments of its own. Stays as it is.")
    ] = False,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="A description.")] = "",
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Create a function and wait until it is active."""
    loaded = load_code(code)
    chosen_handler, chosen_runtime = loaded.settings(handler, runtime)
    document = new_function(name, loaded.archive, chosen_handler, chosen_runtime, timeout, read_variables(env))
    document |= {"MemorySize": memory, "Role": role, "Description": description}
    if tenant_isolation:
        document["TenancyConfig"] = {"TenantIsolationMode": "PER_TENANT"}
    api = options.connect(endpoint_url, region)
    try:
        api.json("POST", FUNCTIONS, document)
    except ApiError as error:
        if error.code == "ResourceConflictException":
            raise CommandError(f"{error} (vk functions update gives it other code)") from error
        raise
    _show(wait_ready(api, name), as_json)


def update(
    name: Name,
    code: Source,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Give a function other code and wait until it is used."""
    archive = load_code(code).archive
    api = options.connect(endpoint_url, region)
    api.json("PUT", function_path(name, "/code"), {"ZipFile": base64.b64encode(archive).decode()})
    _show(wait_ready(api, name), as_json)


def get(
    name: Name,
    qualifier: options.Qualifier = None,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Show a function. The JSON is what GetFunction answers, with a link to the code."""
    found = options.connect(endpoint_url, region).json("GET", function_path(name, qualifier=qualifier))
    if as_json:
        write_json(found)
    else:
        _show(found["Configuration"], as_json)


def delete(
    name: Name,
    qualifier: options.Qualifier = None,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Delete a function, or one of its versions."""
    options.connect(endpoint_url, region).request("DELETE", function_path(name, qualifier=qualifier))


def new_function(
    name: str, archive: bytes, handler: str, runtime: str, timeout: int, variables: dict[str, str]
) -> dict[str, Any]:
    """The document of CreateFunction. ``timeout`` is in seconds."""
    document: dict[str, Any] = {
        "FunctionName": name,
        "Role": DUMMY_ROLE,
        "Runtime": runtime,
        "Handler": handler,
        "Timeout": timeout,
        "Code": {"ZipFile": base64.b64encode(archive).decode()},
    }
    if variables:
        document["Environment"] = {"Variables": variables}
    return document


def list_functions(api: Api) -> list[dict[str, Any]]:
    """All functions, page by page."""
    found: list[dict[str, Any]] = []
    marker = ""
    while True:
        query = urlencode({"MaxItems": 50, **({"Marker": marker} if marker else {})})
        page = api.json("GET", f"{FUNCTIONS}?{query}")
        found += page["Functions"]
        marker = page.get("NextMarker") or ""
        if not marker:
            return found


def wait_ready(api: Api, name: str) -> dict[str, Any]:
    """The configuration once the function is active and its last update done. Raises CommandError after a minute."""
    give_up = time.monotonic() + WAIT_SECONDS
    pause = FIRST_LOOK_SECONDS
    while True:
        found: dict[str, Any] = api.json("GET", function_path(name, "/configuration"))
        # $LATEST of a function with a capacity provider never becomes Active.
        if found["State"] in ("Active", "ActiveNonInvocable") and found.get("LastUpdateStatus") != "InProgress":
            if found.get("LastUpdateStatus") == "Failed":
                raise CommandError(f"the update of {name} failed: {found.get('LastUpdateStatusReason', '')}")
            return found
        if found["State"] == "Failed":
            raise CommandError(f"{name} cannot be used: {found.get('StateReason', '')}")
        if time.monotonic() > give_up:
            raise CommandError(f"{name} is still {found['State']} after {WAIT_SECONDS:.0f} s")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _show(configuration: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_json(configuration)
        return
    rows = [(title, str(configuration[key])) for key, title in SHOWN if configuration.get(key) not in (None, "")]
    variables = configuration.get("Environment", {}).get("Variables", {})
    if tenancy := configuration.get("TenancyConfig"):
        rows.append(("tenant isolation", tenancy["TenantIsolationMode"]))
    rows += [("variable", f"{name}={value}") for name, value in variables.items()]
    rows += [("layer", layer["Arn"]) for layer in configuration.get("Layers", [])]
    write_table(("", ""), rows)
