"""What clients can do besides sending one command: operations by name, pages, waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from venturekit.client.errors import LambdaServiceException

if TYPE_CHECKING:
    from typing import Unpack

    from venturekit.client.commands import Command, Output
    from venturekit.client.config_commands import FunctionConfiguration, GetFunctionCommandOutput
    from venturekit.client.model_commands import ModelCommand, ModelOutput
    from venturekit.client.paging import PagedCommand, Pages
    from venturekit.client.waiters import ConfigurationWaiter, FunctionWaiter, WaitedFor, WaiterName

OutputT = TypeVar("OutputT")
PageT = TypeVar("PageT", bound="Output")
ItemT = TypeVar("ItemT")


class Conveniences:
    """Those of the blocking client."""

    def send(self, command: Command[OutputT]) -> OutputT:
        """Send a command and give its output."""
        raise NotImplementedError

    def _wait(self, seconds: float) -> None:
        raise NotImplementedError

    def call(self, operation: str, /, **members: Any) -> Any:
        """Call any operation of the Lambda API by its name, with the members that boto3 takes::

            made = client.call("PublishVersion", FunctionName="my-function")
            assert made.Version == made["Version"]

        Operations without a command in ``venturekit.client`` need botocore, whose model knows their members. Outputs
        are structures: attributes and items, bytes and datetimes as boto3 gives them.

        Raises OperationError for an operation that there is not and without botocore, ParameterValidationError for
        members that it does not take, and what ``send`` raises.
        """
        from venturekit.client.operations import command_for

        return self.send(command_for(operation, members))

    @overload
    def paginate(self, command: PagedCommand[PageT, ItemT], /) -> Pages[PageT, ItemT]: ...
    @overload
    def paginate(self, command: ModelCommand, /) -> Pages[ModelOutput, Any]: ...
    @overload
    def paginate(self, command: str, /, **members: Any) -> Pages[Any, Any]: ...
    def paginate(self, command: Command[Any] | str, /, **members: Any) -> Pages[Any, Any]:
        """The pages of a list, of a command or of an operation by its name; seed 002's SDK has a function for each::

            for page in client.paginate(ListFunctionEventInvokeConfigsCommand(FunctionName="my-function")): ...
            for function in client.paginate("ListFunctions", MaxItems=50).items(): ...

        ``MaxItems`` is how many items a page has, not all pages together.

        Raises OperationError for an operation that gives no pages; iterating raises what ``send`` raises, and
        PaginationError for a list that has no end.
        """
        from venturekit.client.paging import Pages

        if isinstance(command, str):
            from venturekit.client.operations import command_for

            command = command_for(command, members)
        elif members:
            raise TypeError(f"{', '.join(members)}: members belong into the command")
        return Pages(self.send, command)

    @overload
    def wait_until(
        self,
        waiter: ConfigurationWaiter,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> FunctionConfiguration: ...
    @overload
    def wait_until(
        self,
        waiter: FunctionWaiter,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> GetFunctionCommandOutput: ...
    def wait_until(
        self,
        waiter: WaiterName,
        /,
        *,
        max_wait_seconds: float | None = None,
        delay_seconds: float | None = None,
        **members: Unpack[WaitedFor],
    ) -> Output:
        """Wait until a function is in a state, and give what was seen then::

            client.wait_until("function_active_v2", FunctionName="my-function", max_wait_seconds=60)

        ``function_exists``, ``function_active``, ``function_updated``, ``published_version_active`` and the ones with
        ``_v2``, which ask GetFunction, are boto3's waiters. ``delay_seconds`` lie between two questions; without them
        and ``max_wait_seconds`` boto3's counts are kept to.

        Raises WaiterError when the function has failed or it lasts too long, ParameterValidationError, and what
        ``send`` raises; ``close`` ends it with ClientClosedError.
        """
        from venturekit.client.waiters import Waiting

        waiting = Waiting(waiter, members, max_wait_seconds, delay_seconds)
        begun = time.monotonic()
        while True:
            outcome: Output | LambdaServiceException
            try:
                outcome = self.send(waiting.command)
            except LambdaServiceException as error:
                outcome = error
            seconds = waiting.seconds_after(outcome, begun, time.monotonic())
            if seconds is None:
                assert not isinstance(outcome, LambdaServiceException)
                return outcome
            self._wait(seconds)
