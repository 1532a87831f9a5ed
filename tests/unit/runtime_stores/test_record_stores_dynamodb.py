"""Records in DynamoDB (moto's server): the suite of all stores, lost answers, throttles, and tables of others."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest

from tests.unit.runtime_stores.store_servers import KEYS, dynamodb_client, dynamodb_server
from venturekit.runtime.patterns.record_checks import ForeignRecordError, RecordStoreError, RecordValueError
from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore
from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLE = "records"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with dynamodb_server() as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    made = dynamodb_client(url)
    DynamoDbRecordStore(TABLE, client=made, keys=KEYS).create_table()
    return made


@pytest.fixture
def store(client: Any) -> DynamoDbRecordStore:
    return DynamoDbRecordStore(TABLE, client=client, keys=KEYS)


class AsyncClient:
    """The methods that stores use, as coroutine functions."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        async def method(**members: Any) -> Any:
            return getattr(self._client, name)(**members)

        return method


@pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
def test_a_dynamodb_store_does_what_stores_do(case: Any, store: DynamoDbRecordStore) -> None:
    with StoreUnderTest(store) as under_test:
        case(under_test)


ASYNCHRONOUS = [case for case in RECORD_STORE_CASES if case.__name__.startswith(("a_record", "records", "no_count"))]


@pytest.mark.parametrize("case", ASYNCHRONOUS, ids=lambda case: case.__name__)
def test_a_dynamodb_store_with_an_asynchronous_client_does(case: Any, client: Any) -> None:
    with StoreUnderTest(DynamoDbRecordStore(TABLE, client=AsyncClient(client), keys=KEYS)) as under_test:
        case(under_test)


# --- what an item is ----------------------------------------------------------------------------------------------


def test_an_item_has_what_the_documentation_says(store: DynamoDbRecordStore, client: Any) -> None:
    assert store.write("item", {"n": 1}, 1_800_000_000.0, version=0, expires_at=1_800_000_060.25, keys={"user": "u"})
    item = client.get_item(TableName=TABLE, Key={"id": {"S": "item"}})["Item"]
    assert len(item.pop("token")["S"]) == 24
    assert item == {
        "id": {"S": "item"},
        "value": {"S": '{"n":1}'},
        "version": {"N": "1"},
        "expires_at": {"N": "1800000061"},
        "expires_at_exactly": {"N": "1800000060.25"},
        "key_user": {"S": "u"},
    }


def test_a_value_that_is_too_large_for_an_item_is_refused(store: DynamoDbRecordStore) -> None:
    with pytest.raises(RecordValueError, match=r"the record 'large' is 410,008 bytes of JSON: an item of DynamoDB"):
        store.write("large", {"t": "x" * 410_000}, 0.0, version=0)
    assert store.read("large", 0.0) is None
    # Letters that are two bytes each count as two.
    with pytest.raises(RecordValueError, match="409,608 bytes"):
        store.write("large", {"t": "ä" * 204_800}, 0.0, version=0)
    assert store.write("large", {"t": "ä" * 202_000}, 0.0, version=0)


def test_a_key_that_was_not_declared_is_refused(client: Any) -> None:
    store = DynamoDbRecordStore(TABLE, client=client, keys=("user",))
    with pytest.raises(ValueError, match=r"has no key 'color': .* keys=\('user', 'color'\)"):
        store.write("a", {}, 0.0, version=0, keys={"color": "red"})
    with pytest.raises(ValueError, match="has no key 'color'"):
        store.find("color", "red", 0.0)
    with pytest.raises(ValueError, match="cannot be the name of a key"):
        DynamoDbRecordStore(TABLE, keys=("a-b",))


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_has_its_indexes_and_its_time_to_live(client: Any) -> None:
    store = DynamoDbRecordStore("records-made-twice", client=client, keys=("user", "t"))
    store.create_table()
    store.create_table()
    table = client.describe_table(TableName="records-made-twice")["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    assert set(indexes) == {"key_user", "key_t"}
    assert [key["AttributeName"] for key in indexes["key_t"]["KeySchema"]] == ["key_t", "id"]
    assert indexes["key_t"]["Projection"] == {"ProjectionType": "ALL"}
    live = client.describe_time_to_live(TableName="records-made-twice")["TimeToLiveDescription"]
    assert live == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_a_table_without_an_index_is_named(client: Any) -> None:
    DynamoDbRecordStore("without", client=client).create_table()
    with pytest.raises(
        RecordStoreError, match="the table without is there, and lacks the indexes key_tenant, key_user"
    ):
        DynamoDbRecordStore("without", client=client, keys=KEYS).create_table()


# --- answers that were lost ---------------------------------------------------------------------------------------


class Losing:
    """A client the first answers of which are lost, and which tries again, as SDKs do."""

    def __init__(self, client: Any, between: Callable[[], Any] = lambda: None, *, says_item: bool = True) -> None:
        self._client = client
        self._between = between
        self._says_item = says_item

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in ("put_item", "delete_item"):
            return method

        def twice(**members: Any) -> Any:
            method(**members)
            self._between()
            if not self._says_item:
                del members["ReturnValuesOnConditionCheckFailure"]
            try:
                return method(**members)
            except botocore.exceptions.ClientError as error:
                error.response["ResponseMetadata"]["RetryAttempts"] = 1
                raise

        return twice


@pytest.mark.parametrize("says_item", [True, False])
def test_a_write_whose_answer_was_lost_has_won(says_item: bool, client: Any) -> None:
    store = DynamoDbRecordStore(TABLE, client=Losing(client, says_item=says_item))
    name = f"lost-{says_item}"
    assert store.write(name, {"n": 1}, 0.0, version=0)
    assert store.write(name, {"n": 2}, 0.0, version=1)
    record = store.read(name, 0.0)
    assert record.value == {"n": 2}  # type: ignore[union-attr]
    assert record.version == 2  # type: ignore[union-attr]


def test_a_write_that_another_one_wrote_over_meanwhile_has_not(client: Any, store: DynamoDbRecordStore) -> None:
    losing = DynamoDbRecordStore(
        TABLE, client=Losing(client, lambda: store.write("over", {"by": "other"}, 0.0, version=1))
    )
    assert losing.write("over", {"by": "me"}, 0.0, version=0) is False
    assert store.read("over", 0.0).value == {"by": "other"}  # type: ignore[union-attr]


@pytest.mark.parametrize("says_item", [True, False])
def test_a_delete_whose_answer_was_lost_is_done(says_item: bool, client: Any, store: DynamoDbRecordStore) -> None:
    losing = DynamoDbRecordStore(TABLE, client=Losing(client, says_item=says_item))
    assert store.write("deleted", {}, 0.0, version=0)
    assert losing.delete("deleted", 0.0, version=1) is True
    assert store.read("deleted", 0.0) is None
    assert store.delete("deleted", 0.0) is False


# --- down, slow, throttled ----------------------------------------------------------------------------------------


def test_its_own_client_is_found_by_the_usual_variables(url: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = DynamoDbRecordStore(TABLE)
    assert store.write("own", {}, 0.0, version=0)
    limits = store._client.meta.config
    assert (limits.connect_timeout, limits.read_timeout, limits.retries["total_max_attempts"]) == (1, 2, 2)


def test_a_table_that_is_not_there_is_the_clients_affair(client: Any) -> None:
    store = DynamoDbRecordStore("nowhere", client=client)
    for ask in (lambda: store.read("a", 0.0), lambda: store.write("a", {}, 0.0, version=0)):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            ask()


def test_a_throttle_is_raised(store: DynamoDbRecordStore) -> None:
    class Throttled:
        def __getattr__(self, name: str) -> Any:
            def method(**_: Any) -> Any:
                answer: Any = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}
                raise botocore.exceptions.ClientError(answer, name)

            return method

    throttled = DynamoDbRecordStore(TABLE, client=Throttled(), keys=KEYS)
    asks: list[Callable[[], Any]] = [
        lambda: throttled.read("a", 0.0),
        lambda: throttled.write("a", {}, 0.0, version=0),
        lambda: throttled.delete("a", 0.0),
        lambda: throttled.find("user", "u", 0.0),
    ]
    for ask in asks:
        with pytest.raises(botocore.exceptions.ClientError, match="ProvisionedThroughputExceeded"):
            ask()


def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = dynamodb_client(
            f"http://127.0.0.1:{silent.getsockname()[1]}", read_timeout=0.05, retries={"total_max_attempts": 1}
        )
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            DynamoDbRecordStore(TABLE, client=client).write("a", {}, 0.0, version=0)


# --- items of others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "its value is no JSON object"),
        ({"value": {"N": "1"}}, "its value is no JSON object"),
        ({"value": {"S": "[1]"}}, "its value is no JSON object"),
        ({"value": {"S": "{}"}}, "its version or its end is no number"),
        ({"value": {"S": "{}"}, "version": {"S": "1"}}, "its version or its end is no number"),
        ({"value": {"S": "{}"}, "version": {"N": "1.5"}}, "its version or its end is no number"),
        (
            {"value": {"S": "{}"}, "version": {"N": "1"}, "expires_at_exactly": {"BOOL": True}},
            "its version or its end is no number",
        ),
    ],
)
def test_an_item_of_somebody_else_is_named_and_left(
    members: dict[str, Any], why: str, store: DynamoDbRecordStore, client: Any, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    item = {"id": {"S": name}, "artist": {"S": "a"}, "key_user": {"S": name}, **members}
    client.put_item(TableName=TABLE, Item=item)
    asks: list[Callable[[], Any]] = [
        lambda: store.read(name, 0.0),
        lambda: store.write(name, {}, 0.0, version=0),
        lambda: store.write(name, {}, 0.0, version=7),
    ]
    for ask in asks:
        with pytest.raises(ForeignRecordError, match=f"in the table records was not written by this store .{why}"):
            ask()
    assert client.get_item(TableName=TABLE, Key={"id": {"S": name}})["Item"] == item
