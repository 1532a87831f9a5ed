"""Lists that come in pages: which command asks for the next one, and when there is none. No I/O.

Sources: seed 002, ``ListFunctionEventInvokeConfigs``; ``paginators-1`` of the botocore model ``lambda/2015-03-31``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from venturekit.client.commands import Command
from venturekit.client.errors import OperationError, PaginationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from venturekit.client.commands import Output

OutputT = TypeVar("OutputT", bound="Output")
ItemT = TypeVar("ItemT")


class Paging(NamedTuple):
    """Which member of an input says where a page begins, which of an output where the next one does, and the list."""

    input_token: str
    output_token: str
    result_key: str


class PagedCommand(Command[OutputT], Generic[OutputT, ItemT]):
    """A command that gives one page of a list."""

    paging: ClassVar[Paging]


class Cursor:
    """The way through the pages of one list. Raises OperationError for a command that gives no pages."""

    def __init__(self, command: Command[Any]) -> None:
        paging = getattr(command, "paging", None)
        if paging is None:
            raise OperationError(f"{command.operation} gives no pages: send() has all of its answer")
        self._operation = command.operation
        self._paging: Paging = paging
        self._first = command
        self._seen: set[object] = {command.get(paging.input_token)}

    def following(self, output: Output) -> Command[Any] | None:
        """The command of the next page; None behind the last one. Raises PaginationError for a marker that repeats."""
        marker = output.get(self._paging.output_token)
        if not marker:
            return None
        if marker in self._seen:
            raise PaginationError(
                f"{self._operation}: {self._paging.output_token} is {str(marker)[:80]!r} a second time: "
                "the list of the service has no end"
            )
        self._seen.add(marker)
        return self._first.replaced(**{self._paging.input_token: marker})

    def items(self, output: Output) -> list[Any]:
        """What is on a page."""
        return output.get(self._paging.result_key) or []


class Pages(Generic[OutputT, ItemT]):
    """The pages of a list, asked for while one iterates; each iteration begins anew::

        for page in client.paginate("ListFunctions", MaxItems=10): ...
        for function in client.paginate("ListFunctions").items(): ...

    ``MaxItems`` of the command is how many items a page has. Iterating raises what ``send`` raises, and PaginationError
    for a list that has no end.
    """

    def __init__(self, send: Callable[[Any], Any], command: Command[Any]) -> None:
        Cursor(command)
        self._send = send
        self._command = command

    def __iter__(self) -> Iterator[OutputT]:
        for output, _ in self._read():
            yield output

    def items(self) -> Iterator[ItemT]:
        """What is on the pages, one after the other."""
        for _, items in self._read():
            yield from items

    def _read(self) -> Iterator[tuple[OutputT, list[ItemT]]]:
        cursor = Cursor(self._command)
        command: Command[Any] | None = self._command
        while command is not None:
            output = self._send(command)
            yield output, cursor.items(output)
            command = cursor.following(output)


class AsyncPages(Generic[OutputT, ItemT]):
    """The same of the asynchronous client::

    async for page in client.paginate("ListFunctions", MaxItems=10): ...
    async for function in client.paginate("ListFunctions").items(): ...
    """

    def __init__(self, send: Callable[[Any], Awaitable[Any]], begin: Callable[[], Awaitable[Command[Any]]]) -> None:
        self._send = send
        self._begin = begin

    async def __aiter__(self) -> AsyncIterator[OutputT]:
        async for output, _ in self._read():
            yield output

    async def items(self) -> AsyncIterator[ItemT]:
        """What is on the pages, one after the other."""
        async for _, items in self._read():
            for item in items:
                yield item

    async def _read(self) -> AsyncIterator[tuple[OutputT, list[ItemT]]]:
        begin = await self._begin()
        cursor = Cursor(begin)
        command: Command[Any] | None = begin
        while command is not None:
            output = await self._send(command)
            yield output, cursor.items(output)
            command = cursor.following(output)
