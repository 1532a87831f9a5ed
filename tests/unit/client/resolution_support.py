"""What this client and botocore make of the same environment and profile files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.loaders import Loader
from botocore.session import Session

from venturekit.client.config import ClientConfig
from venturekit.client.resolution import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env-secret"}


@dataclass(frozen=True)
class Case:
    """An environment, the two files, and the options of the program."""

    env: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    shared: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """Where a request would go, by which way, and with which keys it would be signed."""

    url: str
    region: str
    keys: tuple[str, str, str | None] | None
    ca_bundle: str | None = None
    proxy: str | None = None


def prepare(case: Case, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the environment what the case says, and nothing else of AWS."""
    for name in list(os.environ):
        if (
            name.startswith("AWS_")
            or name.lower().endswith("_proxy")
            or name in {"REQUEST_METHOD", "REQUESTS_CA_BUNDLE"}
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    # No machine that the tests run on is asked for a role.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = home / ".aws"
    folder.mkdir(exist_ok=True)
    for name, text in (("config", case.config), ("credentials", case.shared)):
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    for name, value in case.env.items():
        monkeypatch.setenv(name, value.replace("{home}", str(home)))


def ours(case: Case) -> Found:
    """What this client makes of it. Raises ClientConfigError."""
    resolved = resolve(ClientConfig(**case.options))
    found = resolved.provider()
    keys = None if found is None else (found.access_key_id, found.secret_access_key, found.session_token)
    proxy = resolved.proxy
    return Found(
        resolved.endpoint.url,
        resolved.region,
        keys,
        resolved.ca_bundle,
        None if proxy is None else f"http://{proxy.host}:{proxy.port}",
    )


@lru_cache
def _loader() -> Loader:
    return Loader()


def of_botocore(case: Case) -> Found:
    """What botocore makes of it: the request that it would send. Raises what it raises."""
    options = dict(case.options)
    # Without the handlers of all services: registering them takes longer than all the rest.
    session = Session(profile=options.pop("profile", None), include_builtin_handlers=False)
    session.register_component("data_loader", _loader())
    client = session.create_client(
        "lambda", region_name=options.pop("region", None), endpoint_url=options.pop("endpoint_url", None)
    )
    assert not options
    requests: list[Any] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, {}, _Body())

    client.meta.events.register("before-send.lambda", answer)
    client.get_function(FunctionName="f")
    signed = requests[0].headers["Authorization"].decode()
    scope = signed.partition("Credential=")[2].partition(",")[0].split("/")
    frozen = session.get_credentials().get_frozen_credentials()
    assert scope[0] == frozen.access_key
    http = client._endpoint.http_session
    return Found(
        requests[0].url.partition("/2015-03-31")[0],
        scope[2],
        (frozen.access_key, frozen.secret_key, frozen.token),
        http._verify if isinstance(http._verify, str) else None,
        http._proxy_config.proxy_url_for(requests[0].url),
    )


class _Body:
    def stream(self, *_: object, **__: object) -> list[bytes]:
        return [b"{}"]
