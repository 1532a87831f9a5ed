"""What a handler's name stands for, and what can be known of it without calling."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.ric import handler as handlers
from venturekit.ric.faults import FaultError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


async def coroutine(event: Any, context: Any) -> None: ...


async def asynchronous_generator(event: Any, context: Any) -> AsyncIterator[bytes]:
    yield b""


def generator(event: Any, context: Any) -> Iterator[bytes]:
    yield b""


def plain(event: Any, context: Any) -> None: ...


class AsyncCallable:
    async def __call__(self, event: Any, context: Any) -> None: ...

    async def method(self, event: Any, context: Any) -> None: ...


class Inheriting(AsyncCallable):
    pass


class WithAcall:
    is_async: bool

    def __call__(self, event: Any, context: Any) -> str:
        return "call"

    async def acall(self, event: Any, context: Any) -> str:
        return "acall"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (coroutine, True),
        (asynchronous_generator, True),
        (generator, False),
        (plain, False),
        (lambda event, context: None, False),
        (AsyncCallable(), True),
        (AsyncCallable().method, True),
        (Inheriting(), True),
        (functools.partial(coroutine, 1), True),
        (functools.partial(functools.partial(plain)), False),
        (WithAcall(), False),
        (WithAcall().acall, True),
        (print, False),
        (dict, False),
        (7, False),
        (None, False),
    ],
)
def test_what_needs_an_event_loop_is_recognised(function: Any, expected: bool) -> None:
    assert handlers.is_coroutine_function(function) is expected


def test_the_awaitable_door_is_taken_where_there_is_one() -> None:
    instance = WithAcall()
    assert handlers.awaitable_entry(instance) == instance.acall
    assert handlers.awaitable_entry(plain) is plain
    blocking = WithAcall()
    blocking.is_async = False
    assert handlers.awaitable_entry(blocking) is blocking
    blocking.is_async = True
    assert handlers.awaitable_entry(blocking) == blocking.acall
    plain_with_attribute: Any = functools.partial(plain)
    plain_with_attribute.acall = None
    assert handlers.awaitable_entry(plain_with_attribute) is plain_with_attribute


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot': not enough values to unpack"),
        ("", "Runtime.MalformedHandlerName", "Bad handler ''"),
        ("sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("absent_module_of_ours.f", "Runtime.ImportModuleError", "Unable to import module 'absent_module_of_ours'"),
        ("json.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'json'"),
    ],
)
def test_names_that_stand_for_nothing(name: str, error_type: str, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        handlers.resolve_handler(name)
    assert caught.value.error_type == error_type
    assert caught.value.message.startswith(message)


def test_a_slash_separates_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ric_pkg_of_this_test").mkdir()
    (tmp_path / "ric_pkg_of_this_test" / "mod.py").write_text("def f(e, c): return 'found'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert handlers.resolve_handler("ric_pkg_of_this_test/mod.f")(None, None) == "found"
