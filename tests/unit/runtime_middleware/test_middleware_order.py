"""The documented order: error boundary, log, preflight, middleware, scopes, validation, transaction, function."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_middleware.middleware_lab import KINDS, Records, request, run_task, twin
from venturekit.runtime import (
    UserContext,
    compose,
    cors_middleware,
    handler,
    set_transaction_provider,
)
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from venturekit.runtime import Middleware

PAGE = "https://app.example.com"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST"}


@dataclass
class Order:
    """A schema: the name of an item."""

    item: str


class Trace(Records):
    """Everything that a request goes through, in order."""

    def middleware(self, name: str, user: UserContext | None = None) -> Middleware:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            self.all.append({"level": ">", "message": name})
            if user is not None:
                ctx.user = user
            try:
                return (yield NEXT)
            finally:
                self.all.append({"level": "<", "message": name})

        return from_steps(name, steps)

    @contextmanager
    def begin(self) -> Iterator[str]:
        self.all.append({"level": ">", "message": "transaction"})
        try:
            yield "tx"
        finally:
            self.all.append({"level": "<", "message": "transaction"})


@pytest.fixture
def trace() -> Iterator[Trace]:
    trace = Trace()
    set_transaction_provider(trace)
    yield trace
    set_transaction_provider(None)


def handler_of(trace: Trace, kind: str, scopes: list[str], fails: bool = False) -> Any:
    """A handler with one of everything."""

    def fn(body: Order, ctx: Any) -> Any:
        trace.all.append({"level": "-", "message": f"function {body.item}"})
        if fails:
            raise KeyError("x")

    user = UserContext("u", scopes=["orders:write"])
    chain = [trace.middleware("a", user), compose([trace.middleware("b"), cors_middleware(allow_origins=[PAGE])])]
    options: Any = {"scopes": scopes, "body": Order, "transactional": True, "middleware": chain}
    return handler(twin(fn, kind), logger=trace.logger, **options)


AROUND = ["> a", "> b", "< b", "< a"]
STARTED, COMPLETED = "DEBUG request started", "INFO request completed"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "body", "scopes", "expected"),
    [
        pytest.param("OPTIONS", "bad", ["none"], [STARTED, COMPLETED], id="preflight"),
        pytest.param(
            *("POST", "bad", ["none"]),
            [STARTED, *AROUND, "WARN Insufficient permissions", COMPLETED],
            id="scopes",
        ),
        pytest.param(
            *("POST", '{"item":7}', ["orders:write"]),
            [STARTED, *AROUND, "WARN Invalid request body", COMPLETED],
            id="validation",
        ),
        pytest.param(
            *("POST", '{"item":"x"}', ["orders:write"]),
            [STARTED, "> a", "> b", "> transaction", "- function x", "< transaction", "< b", "< a", COMPLETED],
            id="function",
        ),
    ],
)
def test_what_a_request_goes_through(
    trace: Trace, kind: str, method: str, body: str, scopes: list[str], expected: list[str]
) -> None:
    headers = PREFLIGHT if method == "OPTIONS" else {"origin": PAGE}
    result = handler_of(trace, kind, scopes)(request(method, headers, body=body))
    assert trace.messages == expected
    assert result["headers"]["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_boundary_is_around_all_of_it(trace: Trace, kind: str) -> None:
    result = handler_of(trace, kind, [], fails=True)(request("POST", {"origin": PAGE}, body='{"item":"x"}'))
    assert trace.messages[-5:] == ["< transaction", "< b", "< a", "ERROR unhandled error", COMPLETED]
    assert (result["statusCode"], result["headers"]["Access-Control-Allow-Origin"]) == (500, PAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_goes_through_them_as_listed(trace: Trace, kind: str) -> None:
    chain = [trace.middleware("a"), compose([trace.middleware("b"), trace.middleware("c")])]
    assert run_task(chain, {}, kind=kind, transactional=True) == "done"
    assert trace.messages == ["> a", "> b", "> c", "> transaction", "< transaction", "< c", "< b", "< a"]
