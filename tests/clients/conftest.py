"""One service for the tests with clients of all kinds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import client_with, clients_of, create, wait, write_keys
from tests.clients.guarded_keys import FULL, KEYS
from tests.service.harness import RunningService, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ACCOUNTS = itertools.count(500_000_000_000)
SOURCE = """
def handler(event, context):
    print("seen", event)
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as told")
    return {"event": event, "version": context.function_version}
"""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The service that these tests share."""
    running = RunningService(tmp_path_factory.mktemp("clients") / "data")
    yield running
    running.close()


@pytest.fixture
def client(service: RunningService) -> Iterator[Any]:
    """boto3 in an account of its own: nothing is in it, and versions are numbered from 1."""
    made = client_with(service.url, str(next(_ACCOUNTS)), "any-secret")
    yield made
    for page in made.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            made.delete_function(FunctionName=function["FunctionName"])
    for layer in made.list_layers()["Layers"]:
        for version in made.list_layer_versions(LayerName=layer["LayerName"])["LayerVersions"]:
            made.delete_layer_version(LayerName=layer["LayerName"], VersionNumber=version["Version"])
    made.close()


@pytest.fixture(scope="session")
def archive() -> bytes:
    """The code of a function that echoes its event."""
    return zip_of({"app.py": SOURCE})


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with all these keys, and the functions ``target`` (version 1, alias ``live``) and ``guarded-f``."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", KEYS)
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    client = FULL.client(running.url)
    create(client, "target")
    create(client, "guarded-f")
    client.publish_version(FunctionName="target")
    client.create_alias(FunctionName="target", Name="live", FunctionVersion="1")
    wait(client, "published_version_active", FunctionName="target", Qualifier="1")
    yield running
    client.close()
    running.close()


@pytest.fixture
def client_for(guarded: RunningService) -> Iterator[Callable[..., Any]]:
    """``client_for(key)``: boto3 with that key."""
    with clients_of(guarded.url) as make:
        yield make
