"""Lists in pages: each page is asked for when it is wanted, all of them are read, and no list goes on for ever."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.command_support import Scripted, data, json_answer, model
from venturekit.client import (
    AsyncPages,
    FunctionEventInvokeConfig,
    GetFunctionCommand,
    ListFunctionEventInvokeConfigsCommand,
    ModelCommand,
    OperationError,
    Pages,
    PaginationError,
    ResourceNotFoundException,
)
from venturekit.client.async_conveniences import AsyncConveniences
from venturekit.client.conveniences import Conveniences
from venturekit.client.operations import OPERATIONS, command_for
from venturekit.client.paging import PagedCommand, Paging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = ListFunctionEventInvokeConfigsCommand(FunctionName="f", MaxItems=2)


def page(names: list[str], marker: str | None, key: str = "FunctionEventInvokeConfigs") -> Any:
    document = {key: [{"FunctionArn": name} for name in names]} | ({} if marker is None else {"NextMarker": marker})
    return json.dumps(document)


PAGES = [page(["a", "b"], "1"), page([], "2"), page(["c"], None)]


class Client(Conveniences):
    def __init__(self, *outcomes: Any) -> None:
        self.scripted = Scripted(*outcomes)
        self.send = self.scripted  # type: ignore[method-assign, assignment]


class AsyncClient(AsyncConveniences):
    def __init__(self, *outcomes: Any) -> None:
        self.scripted = Scripted(*outcomes)
        self.send = self.scripted.later  # type: ignore[method-assign]


async def collected(iterator: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in iterator]


def test_pages() -> None:
    client = Client(*PAGES)
    pages = client.paginate(COMMAND)
    assert isinstance(pages, Pages)
    assert client.scripted.commands == []
    found = [[config.FunctionArn for config in output.FunctionEventInvokeConfigs or []] for output in pages]
    assert found == [["a", "b"], [], ["c"]]
    assert client.scripted.inputs == [
        {"FunctionName": "f", "MaxItems": 2},
        {"FunctionName": "f", "MaxItems": 2, "Marker": "1"},
        {"FunctionName": "f", "MaxItems": 2, "Marker": "2"},
    ]


def test_items() -> None:
    client = Client(*PAGES)
    items = client.paginate(COMMAND).items()
    first = next(items)
    assert isinstance(first, FunctionEventInvokeConfig)
    assert len(client.scripted.commands) == 1
    assert [first.FunctionArn, *(item.FunctionArn for item in items)] == ["a", "b", "c"]


def test_each_iteration_begins_anew() -> None:
    pages = Client(*PAGES, *PAGES).paginate(COMMAND)
    assert len(list(pages)) == 3
    assert len(list(pages.items())) == 3


def test_a_list_may_begin_in_the_middle() -> None:
    client = Client(page(["c"], None))
    assert len(list(client.paginate(COMMAND.replaced(Marker="2")))) == 1
    assert client.scripted.inputs == [{"FunctionName": "f", "MaxItems": 2, "Marker": "2"}]


def test_the_asynchronous_client_has_the_same_pages() -> None:
    client = AsyncClient(*PAGES, *PAGES)
    pages = client.paginate(COMMAND)
    assert isinstance(pages, AsyncPages)
    assert len(asyncio.run(collected(aiter(pages)))) == 3
    assert [item.FunctionArn for item in asyncio.run(collected(pages.items()))] == ["a", "b", "c"]
    assert [given.get("Marker") for given in client.scripted.inputs] == [None, "1", "2"] * 2


@pytest.mark.parametrize("markers", [["1", "1"], ["1", "2", "1"], ["1", "2", "3", "2"]])
def test_a_list_without_an_end(markers: list[str]) -> None:
    outcomes = [page([marker], marker) for marker in markers]
    message = f"ListFunctionEventInvokeConfigs: NextMarker is '{markers[-1]}' a second time"
    with pytest.raises(PaginationError, match=message):
        list(Client(*outcomes).paginate(COMMAND))
    with pytest.raises(PaginationError, match=message):
        asyncio.run(collected(AsyncClient(*outcomes).paginate(COMMAND).items()))


def test_a_list_that_goes_back_to_its_beginning() -> None:
    with pytest.raises(PaginationError, match="'2' a second time"):
        list(Client(page([], "2")).paginate(COMMAND.replaced(Marker="2")))


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8), end=st.sampled_from([None, ""]))
def test_every_item_comes_once_and_in_order(sizes: list[int], end: str | None) -> None:
    names = iter(map(str, range(100)))
    chunks = [[next(names) for _ in range(size)] for size in sizes]
    markers = [*map(str, range(1, len(chunks))), end]
    outcomes = [page(chunk, marker) for chunk, marker in zip(chunks, markers, strict=True)]
    found = [item.FunctionArn for item in Client(*outcomes).paginate(COMMAND).items()]
    assert found == [name for chunk in chunks for name in chunk]


def test_an_error_comes_where_its_page_would() -> None:
    items = Client(PAGES[0], ResourceNotFoundException("m")).paginate(COMMAND).items()
    assert [next(items).FunctionArn, next(items).FunctionArn] == ["a", "b"]
    with pytest.raises(ResourceNotFoundException):
        next(items)


# --- operations of the model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(data("paginators-1")["pagination"]))
def test_every_operation_that_botocore_pages(operation: str) -> None:
    described = data("paginators-1")["pagination"][operation]
    expected = Paging(described["input_token"], described["output_token"], described["result_key"])
    shape = model().operation_model(operation).input_shape
    command: Any = command_for(operation, dict.fromkeys(shape.required_members, "f"))
    assert command.paging == expected
    first = json.dumps({expected.result_key: [], expected.output_token: "next"})
    client = Client(first, json.dumps({expected.result_key: []}))
    assert len(list(client.paginate(command))) == 2
    assert client.scripted.inputs[1][expected.input_token] == "next"


def test_operations_are_paged_by_name() -> None:
    outcomes = [
        '{"Functions":[{"FunctionName":"a"},{"FunctionName":"b"}],"NextMarker":"1"}',
        '{"Functions":[{"FunctionName":"c"}]}',
    ]
    client = Client(*outcomes)
    assert [item.FunctionName for item in client.paginate("ListFunctions", MaxItems=2).items()] == ["a", "b", "c"]
    assert client.scripted.inputs == [{"MaxItems": 2}, {"MaxItems": 2, "Marker": "1"}]
    later = AsyncClient(*outcomes)
    found = asyncio.run(collected(later.paginate("ListFunctions").items()))
    assert [item.FunctionName for item in found] == ["a", "b", "c"]
    own = Client(*PAGES).paginate("ListFunctionEventInvokeConfigs", FunctionName="f")
    assert len(list(own.items())) == 3


@pytest.mark.parametrize(
    "command", [GetFunctionCommand(FunctionName="f"), ModelCommand("GetFunction", FunctionName="f")]
)
def test_what_gives_no_pages(command: Any) -> None:
    with pytest.raises(OperationError, match="GetFunction gives no pages"):
        Client().paginate(command)
    with pytest.raises(OperationError, match="GetFunction gives no pages"):
        AsyncClient().paginate(command)


def test_names_and_members_that_are_wrong() -> None:
    with pytest.raises(OperationError, match=r"did you mean ListFunctions\?"):
        Client().paginate("list_functions")
    with pytest.raises(OperationError, match=r"did you mean ListFunctions\?"):
        asyncio.run(collected(aiter(AsyncClient().paginate("list_functions"))))
    with pytest.raises(TypeError, match="MaxItems: members belong into the command"):
        Client().paginate(COMMAND, MaxItems=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="MaxItems: members belong into the command"):
        AsyncClient().paginate(COMMAND, MaxItems=3)  # type: ignore[call-overload]


def test_an_empty_answer_is_an_empty_page() -> None:
    assert list(Client("{}").paginate("ListFunctions").items()) == []
    assert COMMAND.read(json_answer("")).FunctionEventInvokeConfigs == []
    assert [kind.operation for kind in OPERATIONS.values() if issubclass(kind, PagedCommand)] == [COMMAND.operation]
