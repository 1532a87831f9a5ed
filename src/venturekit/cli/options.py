"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from venturekit.cli.api import Api, find_endpoint

EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Address of the service. Without it: AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL, "
        "else port VENTUREKIT_PORT or 9001 of this machine.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="REGION",
        help="Region that requests are signed for. Without it: VENTUREKIT_REGION, AWS_REGION, AWS_DEFAULT_REGION, "
        "else us-east-1.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Qualifier = Annotated[str | None, typer.Option("--qualifier", metavar="VERSION|ALIAS", help="A version or an alias.")]
Payload = Annotated[
    str | None,
    typer.Option(
        "--payload",
        "-p",
        metavar="JSON|@FILE|-",
        help="The event: JSON text, @ and the name of a file, or - for standard input. Without it: {}.",
    ),
]
TenantId = Annotated[
    str | None,
    typer.Option("--tenant-id", metavar="TENANT", help="Whose it is, for a function with tenant isolation."),
]
Timeout = Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, max=900, help="Seconds it may run.")]
Memory = Annotated[int, typer.Option("--memory", metavar="MB", help="Memory in MB.")]
Variables = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="An environment variable. May be given several times."),
]
Handler = Annotated[
    str | None,
    typer.Option("--handler", metavar="MODULE.FUNCTION", help="Without it, what a single Python file defines."),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="RUNTIME",
        help="Without it: provided.al2023 for code with a bootstrap, else the Python that runs vk.",
    ),
]


def connect(endpoint_url: str | None, region: str | None) -> Api:
    """The client for the values of EndpointUrl and Region. Nothing is sent yet."""
    return Api(find_endpoint(endpoint_url, region))
