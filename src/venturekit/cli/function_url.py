"""``vk functions url``: give a function an address that answers HTTP, in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from venturekit.cli import options
from venturekit.cli.api import ApiError, function_path
from venturekit.cli.exits import USAGE, CommandError
from venturekit.cli.output import write_json

if TYPE_CHECKING:
    from venturekit.cli.api import Api

CONFIGS: Final = "/2021-10-31/functions"
METHODS: Final = ["*"]
PERMISSIONS: Final = (
    {
        "StatementId": "vk-function-url",
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    },
    {
        "StatementId": "vk-function-url-invoke",
        "Action": "lambda:InvokeFunction",
        "Principal": "*",
        "InvokedViaFunctionUrl": True,
    },
)
"""What lets everybody call a URL (AWS Lambda Developer Guide, "Control access to Lambda function URLs")."""


def url(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or ARN of the function.")],
    qualifier: Annotated[str | None, typer.Option("--qualifier", metavar="ALIAS", help="An alias.")] = None,
    iam: Annotated[bool, typer.Option("--iam", help="Only for signed requests (AuthType AWS_IAM).")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Send responses as they are written.")] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="An origin whose pages may call it, or *. Repeatable."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the URL away again.")] = False,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Give a function a URL, open to everybody unless it is --iam, and print it.

    What the options say is how it is afterwards: a URL that there is already is changed.
    """
    api = options.connect(endpoint_url, region)
    if delete:
        if iam or stream or cors:
            raise CommandError("--delete stands alone", USAGE)
        api.request("DELETE", _config_path(name, qualifier))
        for permission in PERMISSIONS:
            _forget(api, name, qualifier, str(permission["StatementId"]))
        return
    document: dict[str, Any] = {
        "AuthType": "AWS_IAM" if iam else "NONE",
        "InvokeMode": "RESPONSE_STREAM" if stream else "BUFFERED",
        # An empty object takes away what was there.
        "Cors": {"AllowOrigins": cors, "AllowMethods": METHODS, "AllowHeaders": ["*"]} if cors else {},
    }
    found = _put(api, _config_path(name, qualifier), document)
    for permission in PERMISSIONS:
        if iam:
            _forget(api, name, qualifier, str(permission["StatementId"]))
        else:
            _allow(api, name, qualifier, permission)
    if as_json:
        write_json(found)
    else:
        typer.echo(found["FunctionUrl"])


def _put(api: Api, path: str, document: dict[str, Any]) -> Any:
    try:
        return api.json("POST", path, document)
    except ApiError as error:
        if error.code != "ResourceConflictException":
            raise
    return api.json("PUT", path, document)


def _allow(api: Api, name: str, qualifier: str | None, permission: dict[str, Any]) -> None:
    try:
        api.json("POST", function_path(name, "/policy", qualifier=qualifier), permission)
    except ApiError as error:
        # It is there from the last time.
        if error.code != "ResourceConflictException":
            raise


def _forget(api: Api, name: str, qualifier: str | None, statement_id: str) -> None:
    try:
        api.request("DELETE", function_path(name, f"/policy/{statement_id}", qualifier=qualifier))
    except ApiError as error:
        if error.code != "ResourceNotFoundException":
            raise


def _config_path(name: str, qualifier: str | None) -> str:
    query = f"?Qualifier={quote(qualifier, safe='')}" if qualifier is not None else ""
    return f"{CONFIGS}/{quote(name, safe='')}/url{query}"
