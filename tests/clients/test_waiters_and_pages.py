"""Every waiter and every paginator that botocore has for what is served."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import WaiterError

from tests.clients.client_support import create, refused
from tests.service.harness import PYTHON, ROLE, RunningService, until, zip_of
from venturekit.service.api.registry import Level
from venturekit.service.served import compatibility_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SOURCE = "def handler(event, context):\n    return event\n"
ARCHIVE = zip_of({"app.py": SOURCE})
CHANGED = zip_of({"app.py": f"{SOURCE}\n# changed\n"})


# --- waiters ---------------------------------------------------------------------------------------------------------


class Activation:
    """Stands before every activation of a service's versions: they wait until told how it ends."""

    def __init__(self, running: RunningService) -> None:
        self._running = running
        self._plane: Any = running.do(lambda: running.service._accounts.own.plane)
        self._plain = self._plane._activate_version
        self._decided: asyncio.Event = running.do(asyncio.Event)
        self._failure: Exception | None = None
        self._plane._activate_version = self._activate

    async def _activate(self, _version: object) -> None:
        await self._decided.wait()
        if self._failure is not None:
            raise self._failure

    def decide(self, failure: Exception | None = None) -> None:
        """Let activations that wait, and later ones, succeed or fail."""

        def work() -> None:
            self._failure = failure
            self._decided.set()

        self._running.do(work)

    def hold(self) -> None:
        """Hold up the next ones."""
        self._running.do(self._decided.clear)

    def end(self) -> None:
        self.decide()
        self._plane._activate_version = self._plain


@pytest.fixture(scope="module")
def held_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose activations fail in some tests, which it logs."""
    running = RunningService(tmp_path_factory.mktemp("waiters") / "data")
    yield running
    running.trouble.found.clear()
    running.close()


@pytest.fixture
def activation(held_service: RunningService) -> Iterator[Activation]:
    made = Activation(held_service)
    yield made
    made.end()
    client = held_service.client
    for item in client.list_functions()["Functions"]:
        client.delete_function(FunctionName=item["FunctionName"])


def create_only(client: Any, name: str = "f", **members: Any) -> Any:
    """CreateFunction without waiting."""
    given = {"Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": ARCHIVE}, **members}
    return client.create_function(FunctionName=name, **given)


def created(client: Any, _activation: Activation) -> dict[str, str]:
    """A function that is Pending."""
    assert create_only(client)["State"] == "Pending"
    return {"FunctionName": "f"}


def updated(client: Any, activation: Activation) -> dict[str, str]:
    """A function whose update is in progress."""
    active(client, activation)
    assert client.update_function_code(FunctionName="f", ZipFile=CHANGED)["LastUpdateStatus"] == "InProgress"
    return {"FunctionName": "f"}


def published(client: Any, _activation: Activation) -> dict[str, str]:
    """A published version that is Pending."""
    made = create_only(client, Publish=True)
    assert made["State"] == "Pending"
    return {"FunctionName": "f", "Qualifier": made["Version"]}


def active(client: Any, activation: Activation) -> None:
    create_only(client)
    activation.decide()
    until(lambda: client.get_function_configuration(FunctionName="f")["State"] == "Active", "the function is active")
    activation.hold()


WAITERS: dict[str, Callable[[Any, Activation], dict[str, str]]] = {
    "function_active": created,
    "function_active_v2": created,
    "function_updated": updated,
    "function_updated_v2": updated,
    "published_version_active": published,
}


def wait(client: Any, waiter: str, attempts: int, members: Mapping[str, str]) -> None:
    client.get_waiter(waiter).wait(**members, WaiterConfig={"Delay": 0, "MaxAttempts": attempts})


class OnCall:
    """Does something when a client's calls have come to a number."""

    def __init__(self, client: Any, number: int, work: Callable[[], Any]) -> None:
        self.count = 0
        self._events = client.meta.events
        self._number = number
        self._work = work
        self._events.register("before-call.lambda", self._called)

    def _called(self, **_: Any) -> None:
        self.count += 1
        if self.count == self._number:
            self.end()
            self._work()
            self._events.register("before-call.lambda", self._called)

    def end(self) -> None:
        self._events.unregister("before-call.lambda", self._called)


def test_these_are_all_waiters(held_service: RunningService) -> None:
    assert sorted(held_service.client.waiter_names) == sorted([*WAITERS, "function_exists"])


@pytest.mark.parametrize("waiter", WAITERS)
def test_a_waiter_waits_until_it_has_happened(
    held_service: RunningService, activation: Activation, waiter: str
) -> None:
    client = held_service.client
    members = WAITERS[waiter](client, activation)
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        wait(client, waiter, 3, members)
    calls = OnCall(client, 4, activation.decide)
    wait(client, waiter, 2000, members)
    calls.end()
    assert calls.count >= 4
    # It has happened, so once is enough.
    wait(client, waiter, 1, members)


@pytest.mark.parametrize("waiter", WAITERS)
def test_a_waiter_fails_when_it_cannot_happen_any_more(
    held_service: RunningService, activation: Activation, waiter: str
) -> None:
    client = held_service.client
    members = WAITERS[waiter](client, activation)
    activation.decide(RuntimeError("as told"))
    with pytest.raises(WaiterError, match="terminal failure state") as caught:
        wait(client, waiter, 2000, members)
    last = caught.value.last_response
    found = last.get("Configuration", last)
    prefix = "LastUpdateStatus" if "updated" in waiter else "State"
    assert found[prefix] == "Failed"
    assert found[f"{prefix}ReasonCode"] == "InternalError"
    assert "as told" in found[f"{prefix}Reason"]


@pytest.mark.parametrize("waiter", WAITERS)
def test_a_waiter_for_what_does_not_exist(held_service: RunningService, waiter: str) -> None:
    members = {"FunctionName": "missing"} | ({"Qualifier": "1"} if waiter == "published_version_active" else {})
    with pytest.raises(WaiterError, match=r"ResourceNotFoundException.*Function not found: arn:aws:lambda:") as caught:
        wait(held_service.client, waiter, 2000, members)
    assert caught.value.last_response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_the_waiter_for_existence(held_service: RunningService, activation: Activation) -> None:
    client = held_service.client
    calls = OnCall(client, 1000, lambda: None)
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        wait(client, "function_exists", 3, {"FunctionName": "f"})
    assert calls.count == 3
    calls.end()
    calls = OnCall(client, 3, lambda: create_only(client))
    wait(client, "function_exists", 20, {"FunctionName": "f"})
    calls.end()
    # It exists as soon as it was created, Pending or not.
    assert client.get_function(FunctionName="f")["Configuration"]["State"] == "Pending"
    assert calls.count == 3


# --- paginators ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """A listing, and how its items come and go. ``key`` tells items apart, ``keys`` are those of the first items, in
    the order in which they are listed."""

    members: dict[str, Any]
    key: Callable[[Any], Any]
    keys: list[Any]
    add: Callable[[Any, Any], None]
    remove: Callable[[Any, Any], None]
    before: Any
    """Keys to add that come before and behind all others."""
    behind: Any


def add_function(client: Any, name: str) -> None:
    create_only(client, name)


def add_version(client: Any, _number: str) -> None:
    """A new version, whatever its number will be."""
    change = f"{SOURCE}\n# {next(_CHANGES)}\n"
    client.update_function_code(FunctionName="paged", ZipFile=zip_of({"app.py": change}))
    until(
        lambda: client.get_function_configuration(FunctionName="paged")["LastUpdateStatus"] == "Successful",
        "the code is changed",
    )
    client.publish_version(FunctionName="paged")


_CHANGES = itertools.count()


def add_alias(client: Any, name: str) -> None:
    client.create_alias(FunctionName="paged", Name=name, FunctionVersion="$LATEST")


def add_layer(client: Any, name: str) -> None:
    client.publish_layer_version(LayerName=name, Content={"ZipFile": ARCHIVE})


def remove_layer(client: Any, name: str) -> None:
    for version in client.list_layer_versions(LayerName=name)["LayerVersions"]:
        client.delete_layer_version(LayerName=name, VersionNumber=version["Version"])


def add_event_invoke_config(client: Any, qualifier: str) -> None:
    with_alias(client, qualifier)
    client.put_function_event_invoke_config(FunctionName="paged", Qualifier=qualifier, MaximumRetryAttempts=1)


def add_provider(client: Any, name: str) -> None:
    role = f"arn:aws:iam::{'0' * 12}:role/operator"
    client.create_capacity_provider(
        CapacityProviderName=name,
        VpcConfig={"SubnetIds": ["subnet-1a"], "SecurityGroupIds": ["sg-1"]},
        PermissionsConfig={"CapacityProviderOperatorRoleArn": role},
    )
    until(
        lambda: client.get_capacity_provider(CapacityProviderName=name)["CapacityProvider"]["State"] == "Active",
        "the provider is active",
    )


def remove_provider(client: Any, name: str) -> None:
    client.delete_capacity_provider(CapacityProviderName=name)
    until(
        lambda: name not in {provider_of(item) for item in client.list_capacity_providers()["CapacityProviders"]},
        "the provider is gone",
    )


def provider_of(item: Mapping[str, Any]) -> str:
    return str(item["CapacityProviderArn"]).rpartition(":")[2]


def add_url(client: Any, qualifier: str) -> None:
    with_alias(client, qualifier)
    client.create_function_url_config(FunctionName="paged", Qualifier=qualifier, AuthType="NONE")


def with_alias(client: Any, name: str) -> None:
    if name not in {alias["Name"] for alias in client.list_aliases(FunctionName="paged")["Aliases"]}:
        add_alias(client, name)


def qualifier_of(item: Mapping[str, Any]) -> str:
    return str(item["FunctionArn"]).rpartition(":")[2]


NAMES = [f"item-{letter}" for letter in "abcdefg"]
PAGED = {"FunctionName": "paged"}
LISTINGS: dict[str, Callable[[], Listing]] = {
    "list_functions": lambda: Listing(
        {},
        lambda item: item["FunctionName"],
        [*NAMES, "paged"],
        add_function,
        lambda client, name: client.delete_function(FunctionName=name),
        "a-first",
        "z-last",
    ),
    "list_versions_by_function": lambda: Listing(
        PAGED,
        lambda item: item["Version"],
        ["$LATEST", *map(str, range(1, 8))],
        add_version,
        lambda client, number: client.delete_function(FunctionName="paged", Qualifier=number),
        None,
        "8",
    ),
    "list_aliases": lambda: Listing(
        PAGED,
        lambda item: item["Name"],
        NAMES,
        add_alias,
        lambda client, name: client.delete_alias(FunctionName="paged", Name=name),
        "a-first",
        "z-last",
    ),
    "list_layers": lambda: Listing(
        {}, lambda item: item["LayerName"], NAMES, add_layer, remove_layer, "a-first", "z-last"
    ),
    "list_layer_versions": lambda: Listing(
        {"LayerName": "paged"},
        lambda item: item["Version"],
        list(range(7, 0, -1)),
        lambda client, _number: add_layer(client, "paged"),
        lambda client, number: client.delete_layer_version(LayerName="paged", VersionNumber=number),
        8,
        None,
    ),
    "list_function_event_invoke_configs": lambda: Listing(
        PAGED,
        qualifier_of,
        NAMES,
        add_event_invoke_config,
        lambda client, name: client.delete_function_event_invoke_config(FunctionName="paged", Qualifier=name),
        "a-first",
        "z-last",
    ),
    "list_capacity_providers": lambda: Listing(
        {}, provider_of, NAMES, add_provider, remove_provider, "a-first", "z-last"
    ),
    "list_function_url_configs": lambda: Listing(
        PAGED,
        qualifier_of,
        NAMES,
        add_url,
        lambda client, name: client.delete_function_url_config(FunctionName="paged", Qualifier=name),
        "a-first",
        "z-last",
    ),
}
# There are no code signing configurations here.
EMPTY: dict[str, dict[str, str]] = {
    "list_code_signing_configs": {},
    "list_event_source_mappings": {},
    "list_provisioned_concurrency_configs": PAGED,
}
_SIGNING = f"arn:aws:lambda:us-east-1:{'0' * 12}:code-signing-config:csc-0123456789abcdef0"
NEVER_FOUND = {
    "list_function_versions_by_capacity_provider": {"CapacityProviderName": "none"},
    "list_functions_by_code_signing_config": {"CodeSigningConfigArn": _SIGNING},
}


@pytest.fixture
def empty(client: Any) -> Any:
    """A client of an account with the function ``paged`` and nothing else."""
    create(client, "paged", SOURCE)
    return client


def pages_of(client: Any, method: str, members: Mapping[str, Any], size: int) -> Iterator[list[Any]]:
    """The pages, as botocore's paginator gets them."""
    paginator = client.get_paginator(method)
    for page in paginator.paginate(**members, PaginationConfig={"PageSize": size}):
        yield paginator.result_keys[0].search(page) or []


def all_of(client: Any, method: str, members: Mapping[str, Any], size: int) -> list[Any]:
    return list(itertools.chain.from_iterable(pages_of(client, method, members, size)))


def fill(client: Any, method: str) -> Listing:
    """Add the first items, in no particular order."""
    listing = LISTINGS[method]()
    keys = [key for key in listing.keys if key not in ("paged", "$LATEST")]
    for key in random.Random(1).sample(keys, len(keys)):
        listing.add(client, key)
    return listing


def keys_of(listing: Listing, items: Iterable[Any]) -> list[Any]:
    return [listing.key(item) for item in items]


def test_these_are_all_paginators_of_what_is_served(service: RunningService) -> None:
    mapping, registry = service.client.meta.method_to_api_mapping, compatibility_registry()
    served = {
        method
        for method, operation in mapping.items()
        if service.client.can_paginate(method) and registry.status(operation).level is not Level.NOT
    }
    assert served == {*LISTINGS, *EMPTY, *NEVER_FOUND}


@pytest.mark.parametrize("method", LISTINGS)
def test_every_item_once_and_in_order(empty: Any, method: str) -> None:
    listing = fill(empty, method)
    for size in (1, 2, 3, 7, 50):
        pages = [keys_of(listing, page) for page in pages_of(empty, method, listing.members, size)]
        assert list(itertools.chain.from_iterable(pages)) == listing.keys, size
        # No page is half empty, and none comes after the last item.
        assert [len(page) for page in pages if page] == [
            min(size, len(listing.keys) - start) for start in range(0, len(listing.keys), size)
        ]
        assert len(pages) == -(-len(listing.keys) // size), size


@pytest.mark.parametrize("method", LISTINGS)
def test_a_listing_may_be_interrupted_and_resumed(empty: Any, method: str) -> None:
    listing = fill(empty, method)
    paginator = empty.get_paginator(method)
    result_key = paginator.result_keys[0].expression
    found: list[Any] = []
    token = None
    for _ in range(len(listing.keys)):
        config = {"MaxItems": 3, "PageSize": 2, "StartingToken": token}
        result = paginator.paginate(**listing.members, PaginationConfig=config).build_full_result()
        found += keys_of(listing, result[result_key])
        token = result.get("NextToken")
        if token is None:
            break
    assert found == listing.keys


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("method", LISTINGS)
def test_items_that_come_and_go_between_the_pages(empty: Any, method: str, size: int) -> None:
    """What was there all the time is listed once; what was deleted before its turn is not."""
    listing = fill(empty, method)
    removable = [key for key in listing.keys if key not in ("paged", "$LATEST")]
    already, later = removable[0], removable[-1]
    found: list[Any] = []
    for number, page in enumerate(pages_of(empty, method, listing.members, size)):
        found += keys_of(listing, page)
        if number == len(listing.keys) // size // 2:
            assert already in found
            assert later not in found
            # The marker of the next page may well name one of these.
            listing.remove(empty, already)
            listing.remove(empty, found[-1])
            listing.remove(empty, later)
            for added in (listing.before, listing.behind):
                if added is not None:
                    listing.add(empty, added)
    expected = [key for key in listing.keys if key != later]
    assert found == ([*expected, listing.behind] if listing.behind is not None else expected)


@pytest.mark.parametrize("method", LISTINGS)
def test_a_marker_that_no_page_gave(empty: Any, method: str) -> None:
    listing = fill(empty, method)
    for marker in ("nonsense", "!!", "AAAA", "x" * 3000):
        status, code, _ = refused(getattr(empty, method), **listing.members, Marker=marker)
        assert (status, code) == (400, "InvalidParameterValueException"), marker


@pytest.mark.parametrize("method", sorted(EMPTY))
def test_a_listing_of_nothing(empty: Any, method: str) -> None:
    for size in (1, 50):
        assert list(pages_of(empty, method, EMPTY[method], size)) == [[]]


@pytest.mark.parametrize("method", sorted(NEVER_FOUND))
def test_a_listing_of_something_that_does_not_exist(empty: Any, method: str) -> None:
    ((_, named),) = NEVER_FOUND[method].items()
    status, code, message = refused(getattr(empty, method), **NEVER_FOUND[method])
    assert (status, code) == (404, "ResourceNotFoundException")
    assert named in (message or "")


def test_a_page_holds_fifty_at_most(empty: Any) -> None:
    for number in range(54):
        create_only(empty, f"many-{number:03}")
    for size in (None, 51, 1000, 10_000):
        members = {} if size is None else {"MaxItems": size}
        first = empty.list_functions(**members)
        assert len(first["Functions"]) == 50
        rest = empty.list_functions(Marker=first["NextMarker"], **members)
        assert "NextMarker" not in rest
        names = [item["FunctionName"] for item in first["Functions"] + rest["Functions"]]
        assert names == sorted([*(f"many-{number:03}" for number in range(54)), "paged"])


def test_all_versions_of_all_functions(empty: Any) -> None:
    for name in ("a", "b"):
        create_only(empty, name, Publish=True)
    expected = ["a:$LATEST", "a:1", "b:$LATEST", "b:1", "paged:$LATEST"]
    for size in (1, 2, 3, 50):
        found = all_of(empty, "list_functions", {"FunctionVersion": "ALL"}, size)
        assert [item["FunctionArn"].partition(":function:")[2] for item in found] == expected
