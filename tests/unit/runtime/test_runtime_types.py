"""What type checkers make of the framework: one program, read by mypy --strict and by pyright.

A comment ``# reveals T`` is the type that both have to find, ``# error`` where both have to object; they must not
object anywhere else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """\
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from pydantic import BaseModel, TypeAdapter
from typing_extensions import reveal_type

from venturekit.runtime import (
    BaseContext, BatchRecord, Handler, InvokeResult, LambdaInvoker, Logger, Middleware, NotFoundError, RequestContext,
    Response, TaskContext, UserContext, ainvoke, batch_handler, compose, create_invoker,
    create_lambda_invoker, create_memory_idempotency_store, create_memory_saga_store, current_context,
    default_function_name_resolver, handler, idempotency_middleware, idempotent, invoke, is_venture_error, logger,
    parallel, saga, step, success, task_handler,
)
from venturekit.runtime.patterns import Record, RecordPage, RecordStore, SagaRecord
from venturekit.runtime.ws import Connection, connection_store


class User(BaseModel):
    id: int


@dataclass
class Data:
    id: int


class Typed(TypedDict):
    id: int


class Own:
    def parse(self, value: Any) -> list[int]:
        return [1]

    def json_schema(self) -> dict[str, Any]:
        return {}


adapter = TypeAdapter(list[User])


@handler(body=User, scopes=["a"], query=Data, status=201)
def whole(body: User, ctx: RequestContext, logger: Logger) -> dict[str, int]:
    reveal_type(ctx.user)  # reveals UserContext | None
    reveal_type(ctx.path_params)  # reveals dict[str, str]
    return {"id": body.id}


@handler(body=Data)
async def waits(body: Data) -> Response:
    return success(body)


@handler
def bare(body: dict[str, int], ctx: RequestContext) -> int:
    return 1


def function(body: Data, ctx: RequestContext) -> None: ...


direct = handler(function, body=Data, log_level="debug")
typed = handler(lambda body: None, body=Typed)
object_form = handler({"fn": function})


@handler(body=adapter)
def adapted(body: list[User]) -> None: ...


@handler(body=Own())
def own(body: list[int]) -> None: ...


@handler(body=User)  # error
def wrong_body(body: str) -> None: ...


@handler(body=adapter)  # error
def wrong_adapted(body: list[str]) -> None: ...


handler(function, body=User)  # error
handler(function, body=Data, unknown=1)  # error
handler(function, body=Data, log_level="loud")  # error
reveal_type(whole)  # reveals Handler
reveal_type(direct)  # reveals Handler


@task_handler(event=Data, retries=2, timeout_ms=100)
async def task(event: Data, ctx: TaskContext) -> int:
    return event.id


@task_handler(event=Data)  # error
def wrong_event(event: int) -> int:
    return 1


reveal_type(task)  # reveals TaskHandler
reveal_type(invoke("users/{id}", result_type=User).data)  # reveals User
reveal_type(invoke("users", result_type=list[User]).data)  # reveals list[User]
reveal_type(invoke("users", result_type=adapter).data)  # reveals list[User]
reveal_type(invoke("users", result_type=Own()).data)  # reveals list[int]
reveal_type(invoke("users", result_type=dict[str, Data]).data)  # reveals dict[str, Data]
reveal_type(invoke("users", result_type=User))  # reveals InvokeResult[User]
reveal_type(invoke("users").data)  # reveals Any
reveal_type(invoke({"function": "f", "project": "p"}, payload=1, fallback=[]).data)  # reveals Any
reveal_type(invoke("users", result_type=User).raise_for_status().data)  # reveals User
invoke("users", result_typ=User)  # error
invoke("users", mode="later")  # error
invoke(5)  # error


async def calls() -> None:
    reveal_type((await ainvoke("users", result_type=User)).data)  # reveals User
    reveal_type((await ainvoke(function="f", result_type=list[User])).data)  # reveals list[User]
    reveal_type(await ainvoke("users"))  # reveals InvokeResult[Any]




@handler  # error
def of_a_task(body: object, ctx: TaskContext) -> int:
    return 1


@handler(scopes=["a"])  # error
def too_many(body: object, ctx: RequestContext, logger: Logger, more: int) -> int:
    return 1


@task_handler  # error
def of_a_request(event: object, ctx: RequestContext) -> int:
    return 1


@handler(status=201)
async def with_a_default(body: Any, ctx: RequestContext, logger: Logger, more: int = 1) -> int:
    return 1


elsewhere = create_invoker(
    invoker=create_lambda_invoker(region="eu-west-1"), resolver=default_function_name_resolver("prefix")
)
reveal_type(elsewhere("users", result_type=Data).data)  # reveals Data


def timing(ctx: BaseContext, next: Any) -> Any:
    return next()


async def atiming(ctx: RequestContext, next: Any) -> Any:
    return await next()


both = compose([Middleware("timing", timing), Middleware("atiming", atiming)])
reveal_type(both)  # reveals Middleware
reveal_type(current_context())  # reveals BaseContext | None


def narrowed(error: Exception) -> str:
    if is_venture_error(error):
        return error.code
    return ""


class Order(TypedDict):
    sku: str


def reserve(order: Order) -> Order:
    return order


async def release(order: Order) -> None: ...


def any_order(order: dict[str, Any]) -> dict[str, Any]:
    return order


order_saga = saga(
    "order",
    [
        step("reserve", reserve, release, retries=1, timeout_ms=100),
        parallel("both", [step("any", any_order), {"name": "dict", "execute": any_order}]),
        {"name": "ship", "execute": lambda order: None, "retryDelayMs": 5},
    ],
    store=create_memory_saga_store(),
)
reveal_type(order_saga.run({"sku": "tea"}, id="1").record)  # reveals SagaRecord
reveal_type(order_saga.run().record.error)  # reveals dict[str, str] | None
reveal_type(order_saga.resume("1", retry_failed=True).success)  # reveals bool
reveal_type(order_saga.find("running", limit=2).records)  # reveals list[SagaRecord]
reveal_type(order_saga.stuck(older_than_seconds=5))  # reveals list[SagaRecord]
step("reserve", 5)  # error
step("reserve", reserve, timeout=5)  # error
parallel("both", [parallel("inner", [])])  # error
saga("order", reserve)  # error
order_saga.run({}, "1", "2")  # error


class OwnStore:
    def read(self, id: str, now: float, /) -> Record | None:
        return None

    def write(
        self, id: str, value: dict[str, Any], now: float, /, *, version: int, expires_at: float | None = None,
        keys: Any = None,
    ) -> bool:
        return True

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool:
        return True

    def find(self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None) -> RecordPage:
        return RecordPage([], None)


class AwaitedStore:
    async def read(self, id: str, now: float, /) -> Record | None:
        return None

    async def write(
        self, id: str, value: dict[str, Any], now: float, /, *, version: int, expires_at: float | None = None,
        keys: Any = None,
    ) -> bool:
        return True

    async def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool:
        return True

    async def find(
        self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None
    ) -> RecordPage:
        return RecordPage([], None)


stores: list[RecordStore] = [OwnStore(), AwaitedStore()]
no_store: RecordStore = object()  # error


@idempotent(key="order_id")  # error
def no_key(order_id: str) -> None: ...


@idempotent(key=lambda order_id, cents: order_id, store=create_memory_idempotency_store())
def charge(order_id: str, cents: int) -> int:
    return cents


@idempotent(store=create_memory_idempotency_store())
async def acharge(order_id: str) -> int:
    return 1


reveal_type(charge("1", 5))  # reveals int
charge(5, 5)  # error
idempotency_middleware(ttl_seconds="day")  # error


@batch_handler(body=Data, timeout_ms=100)
def batch(body: Data, record: BatchRecord) -> None:
    reveal_type(record.attempt)  # reveals int | None


@batch_handler(body=Data)  # error
def wrong_batch(body: int) -> None: ...


@batch_handler
async def abatch(body: Any) -> None: ...


async def waits_for_sagas() -> None:
    reveal_type((await order_saga.arun({})).context)  # reveals dict[str, Any]
    reveal_type(await acharge("1"))  # reveals int
    async for each in connection_store.aget_by_tenant("t"):
        reveal_type(each.tenant_id)  # reveals str | None


known: Connection | None = connection_store.get("c")
reveal_type(connection_store.broadcast("d", "s", {"a": 1}).sent)  # reveals int
reveal_type(connection_store.authenticate("c", {"user_id": "u"}).user_id)  # reveals str | None
connection_store.send_to_user("d", "s", 5, {})  # error
logger.info("m", {"a": 1}, b=lambda: 2)
logger.error(lambda: "m", error=NotFoundError("a", 1))
"""


def expected() -> tuple[dict[int, str], set[int]]:
    reveals, errors = {}, set()
    for number, line in enumerate(PROGRAM.split("\n"), 1):
        if "  # reveals " in line:
            reveals[number] = line.partition("  # reveals ")[2]
        elif line.endswith("  # error"):
            errors.add(number)
    return reveals, errors


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("types") / "program.py"
    file.write_text(PROGRAM)
    return file


def test_mypy(program: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-pretty", "--show-absolute-path"]
    cache = ["--cache-dir", str(program.parent / "cache")]
    done = subprocess.run([*command, *cache, str(program)], capture_output=True, text=True, timeout=110)
    found = re.findall(r"^[^\n]*program\.py:(\d+): (error|note): (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    reveals, errors = expected()
    types = {int(n): re.search(r'"(.*)"', text)[1] for n, _, text in found if text.startswith("Revealed")}  # type: ignore[index]
    assert {number: re.sub(r"\b(?:\w+\.)+(?=\w)", "", found_type) for number, found_type in types.items()} == reveals
    assert {int(number) for number, kind, _ in found if kind == "error"} == errors, done.stdout


def test_pyright(program: Path) -> None:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    # Its JavaScript is in the package: with the machine's own node nothing is fetched.
    settings = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PYRIGHT_PYTHON_GLOBAL_NODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, env=os.environ | settings, cwd=program.parent
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    reveals, errors = expected()
    types, wrong = {}, set()
    for diagnostic in found:
        number = diagnostic["range"]["start"]["line"] + 1
        if diagnostic["severity"] == "information":
            types[number] = re.search(r' is "([^"]*)"$', diagnostic["message"])[1]  # type: ignore[index]
        else:
            wrong.add(number)
    assert types == reveals
    assert wrong == errors, done.stdout
