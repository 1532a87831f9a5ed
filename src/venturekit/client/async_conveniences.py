"""What the asynchronous client can do besides sending one command; ``conveniences.py`` has the blocking client's."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from venturekit.client.errors import LambdaServiceException
from venturekit.client.operations import OPERATIONS, command_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from venturekit.client.commands import Command, Output
    from venturekit.client.config_commands import FunctionConfiguration, GetFunctionCommandOutput
    from venturekit.client.model_commands import ModelCommand, ModelOutput
    from venturekit.client.paging import AsyncPages, PagedCommand
    from venturekit.client.waiters import ConfigurationWaiter, FunctionWaiter, WaitedFor, WaiterName

PageT = TypeVar("PageT", bound="Output")
ItemT = TypeVar("ItemT")


class AsyncConveniences:
    """Those of the asynchronous client."""

    async def send(self, command: Any) -> Any:
        """Send a command and give its output."""
        raise NotImplementedError

    async def _wait(self, seconds: float) -> None:
        raise NotImplementedError

    async def call(self, operation: str, /, **members: Any) -> Any:
        """Call any operation of the Lambda API by its name; all is as ``LambdaClient.call`` has it::

        made = await client.call("PublishVersion", FunctionName="my-function")
        """
        return await self.send(await _command(operation, members))

    @overload
    def paginate(self, command: PagedCommand[PageT, ItemT], /) -> AsyncPages[PageT, ItemT]: ...
    @overload
    def paginate(self, command: ModelCommand, /) -> AsyncPages[ModelOutput, Any]: ...
    @overload
    def paginate(self, command: str, /, **members: Any) -> AsyncPages[Any, Any]: ...
    def paginate(self, command: Command[Any] | str, /, **members: Any) -> AsyncPages[Any, Any]:
        """The pages of a list, of a command or of an operation by its name, as ``LambdaClient.paginate`` has them::

            async for page in client.paginate(ListFunctionEventInvokeConfigsCommand(FunctionName="my-function")): ...
            async for function in client.paginate("ListFunctions", MaxItems=50).items(): ...

        What is wrong with an operation's name or members is raised by the iteration.
        """
        from venturekit.client.paging import AsyncPages, Cursor

        if isinstance(command, str):
            name = command
            return AsyncPages(self.send, lambda: _command(name, members))
        if members:
            raise TypeError(f"{', '.join(members)}: members belong into the command")
        Cursor(command)
        return AsyncPages(self.send, lambda: _given(command))

    @overload
    async def wait_until(
        self,
        waiter: ConfigurationWaiter,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> FunctionConfiguration: ...
    @overload
    async def wait_until(
        self,
        waiter: FunctionWaiter,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> GetFunctionCommandOutput: ...
    async def wait_until(
        self,
        waiter: WaiterName,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> Output:
        """Wait until a function is in a state; all is as ``LambdaClient.wait_until`` has it::

        await client.wait_until("function_active_v2", FunctionName="my-function", max_wait_seconds=60)
        """
        from venturekit.client.waiters import Waiting

        waiting = Waiting(waiter, members, max_wait_seconds, delay_seconds)
        begun = time.monotonic()
        while True:
            outcome: Output | LambdaServiceException
            try:
                outcome = await self.send(waiting.command)
            except LambdaServiceException as error:
                outcome = error
            seconds = waiting.seconds_after(outcome, begun, time.monotonic())
            if seconds is None:
                assert not isinstance(outcome, LambdaServiceException)
                return outcome
            await self._wait(seconds)


async def _command(operation: str, members: Mapping[str, Any]) -> Command[Any]:
    if operation in OPERATIONS:
        return command_for(operation, members)
    # Reading the model takes a while, and so does encoding an archive: neither may keep the event loop.
    return await asyncio.to_thread(command_for, operation, members)


async def _given(command: Command[Any]) -> Command[Any]:
    return command
