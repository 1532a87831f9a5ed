"""``vk invoke``: call a function and print what it answers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated

import typer

from venturekit.cli import options
from venturekit.cli.api import INVOKE_TIMEOUT_SECONDS, function_path
from venturekit.cli.exits import FAILED, USAGE, CommandError, complain
from venturekit.cli.output import write_log, write_payload
from venturekit.cli.payload import read_client_context, read_payload, read_tenant_id

if TYPE_CHECKING:
    from venturekit.cli.api import Answer, Api


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("invoke")(invoke)


def invoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or ARN, with or without :QUALIFIER.")],
    payload: options.Payload = None,
    log_type: Annotated[
        str, typer.Option("--log-type", metavar="None|Tail", help="Tail: the end of the log, to standard error.")
    ] = "None",
    qualifier: options.Qualifier = None,
    client_context: Annotated[
        str | None, typer.Option("--client-context", metavar="JSON|BASE64", help="What context.client_context holds.")
    ] = None,
    tenant_id: options.TenantId = None,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Invoke a function and print its answer. Exits with 1 when the function answers with an error."""
    if log_type not in ("None", "Tail"):
        raise CommandError(f"--log-type {log_type!r}: must be None or Tail", USAGE)
    event = read_payload(payload)
    headers = {"X-Amz-Log-Type": log_type, **tenant_headers(tenant_id)}
    context = read_client_context(client_context)
    if context is not None:
        headers["X-Amz-Client-Context"] = context
    answer = call(options.connect(endpoint_url, region), name, event, headers, qualifier=qualifier)
    tail = answer.headers.get("x-amz-log-result")
    if tail is not None:
        write_log(base64.b64decode(tail))
    write_payload(answer.body)
    raise typer.Exit(outcome(answer))


def tenant_headers(tenant_id: str | None) -> dict[str, str]:
    """What names the tenant to Invoke. Raises CommandError for what cannot be sent."""
    checked = read_tenant_id(tenant_id)
    return {} if checked is None else {"X-Amz-Tenant-Id": checked}


def call(api: Api, name: str, event: bytes, headers: dict[str, str], *, qualifier: str | None = None) -> Answer:
    """Invoke synchronously. Raises what requests of the client raise; an error of the function is an answer."""
    return api.request(
        "POST",
        function_path(name, "/invocations", qualifier=qualifier),
        body=event,
        headers={"Content-Type": "application/json", "X-Amz-Invocation-Type": "RequestResponse", **headers},
        timeout=INVOKE_TIMEOUT_SECONDS,
    )


def outcome(answer: Answer) -> int:
    """The exit status; of an error of the function, standard error says which."""
    kind = answer.headers.get("x-amz-function-error")
    if kind is None:
        return 0
    try:
        found = json.loads(answer.body)
        detail = ": ".join(found[key] for key in ("errorType", "errorMessage") if isinstance(found.get(key), str))
    except (ValueError, AttributeError):
        detail = ""
    complain(f"the function failed ({kind})" + (f": {detail}" if detail else ""))
    return FAILED
