"""One generator drives blocking and waiting chains alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_middleware.middleware_lab import KINDS, answer, data_of, request, run_task
from venturekit.runtime import MiddlewareError, Response, handler
from venturekit.runtime.middleware.base import async_chain, sync_chain
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from venturekit.runtime import Middleware


def call(middleware: Middleware, kind: str, end: Any) -> Any:
    """The middleware around a function of the context, called."""
    if kind == "sync":
        return sync_chain([middleware], end)("ctx")

    async def inner(ctx: Any) -> Any:
        await asyncio.sleep(0)
        return end(ctx)

    async def main() -> Any:
        return await async_chain([middleware], inner)("ctx")

    return asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
class TestBothWays:
    def test_what_is_yielded_and_returned(self, kind: str) -> None:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            result = yield NEXT
            return [ctx, result]

        assert call(from_steps("a", steps), kind, lambda ctx: "inner") == ["ctx", "inner"]

    def test_whoever_does_not_go_on_answers(self, kind: str) -> None:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            return "instead"
            yield NEXT

        def end(ctx: Any) -> Any:
            raise AssertionError("called")

        assert call(from_steps("a", steps), kind, end) == "instead"

    def test_errors_come_out_of_the_yield(self, kind: str) -> None:
        seen = []

        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield NEXT)
            except KeyError as error:
                seen.append(error)
                return "mended"
            finally:
                seen.append("cleaned")

        def end(ctx: Any) -> Any:
            raise KeyError("a")

        assert call(from_steps("a", steps), kind, end) == "mended"
        assert isinstance(seen[0], KeyError)
        assert seen[1] == "cleaned"

    def test_an_error_that_nobody_catches_is_the_same_one(self, kind: str) -> None:
        wanted = ValueError("a")
        cleaned = []

        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield NEXT)
            finally:
                cleaned.append(True)

        def end(ctx: Any) -> Any:
            raise wanted

        with pytest.raises(ValueError) as caught:
            call(from_steps("a", steps), kind, end)
        assert caught.value is wanted
        assert caught.value.__context__ is None
        assert cleaned == [True]

    def test_going_on_twice_is_refused(self, kind: str) -> None:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            yield NEXT
            return (yield NEXT)

        with pytest.raises(MiddlewareError, match="called next\\(\\) twice"):
            call(from_steps("a", steps), kind, lambda ctx: None)

    @pytest.mark.parametrize("wrong", [None, 1, "next"])
    def test_yielding_anything_else_is_refused(self, kind: str, wrong: Any) -> None:
        cleaned = []

        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield wrong)
            finally:
                cleaned.append(True)

        with pytest.raises(MiddlewareError, match="yielded"):
            call(from_steps("a", steps), kind, lambda ctx: None)
        assert cleaned == [True]

    def test_a_stop_iteration_from_inside_is_no_result(self, kind: str) -> None:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            return (yield NEXT)

        def end(ctx: Any) -> Any:
            raise StopIteration("not a result")

        with pytest.raises(RuntimeError):
            call(from_steps("a", steps), kind, end)

    def test_a_request_and_a_task(self, kind: str) -> None:
        def steps(ctx: Any) -> Generator[Any, Any, Any]:
            ctx.state["seen"] = True
            return (yield NEXT)

        middleware = from_steps("a", steps)
        assert data_of(answer(middleware, request(), lambda body, ctx: ctx.state, kind=kind)) == {"seen": True}
        assert run_task(middleware, {}, lambda event, ctx: ctx.state, kind=kind) == {"seen": True}


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def asks(ctx: Any) -> Generator[Any, Any, Any]:
    found = yield doubled(21)
    result = yield NEXT
    return [found, result]


def test_an_awaitable_is_awaited_in_an_asynchronous_chain() -> None:
    assert call(from_steps("a", asks), "async", lambda ctx: "inner") == [42, "inner"]


def test_an_error_of_an_awaitable_comes_out_of_the_yield() -> None:
    async def fails() -> None:
        raise OSError("down")

    def steps(ctx: Any) -> Generator[Any, Any, Any]:
        try:
            yield fails()
        except OSError as error:
            return str(error)

    assert call(from_steps("a", steps), "async", lambda ctx: None) == "down"


@pytest.mark.filterwarnings("error")
def test_an_awaitable_in_a_blocking_chain_says_what_to_do() -> None:
    with pytest.raises(MiddlewareError, match="write the handler with async def"):
        call(from_steps("a", asks), "sync", lambda ctx: None)


def test_what_is_known_to_wait_makes_the_handler_asynchronous() -> None:
    def steps(ctx: Any) -> Generator[Any, Any, Any]:
        found = yield doubled(4)
        yield NEXT
        return Response({"found": found})

    main = handler(lambda body: None, middleware=[from_steps("a", steps, waits=True)], access_log=False)
    assert main.is_async
    assert main(request())["body"] == '{"found":8}'


def test_cancellation_passes_through() -> None:
    cleaned = []

    def steps(ctx: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield NEXT)
        finally:
            cleaned.append(True)

    async def main() -> None:
        started = asyncio.Event()

        async def inner(ctx: Any) -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(async_chain([from_steps("a", steps)], inner)(None))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cleaned == [True]
