"""Commands by the names of their operations: those of this package, and all others by botocore's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.client import config_commands, invoke_commands
from venturekit.client.errors import ParameterValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.client.commands import Command

OPERATIONS: Final[Mapping[str, type[Command[Any]]]] = {
    kind.operation: kind
    for kind in (
        invoke_commands.InvokeCommand,
        invoke_commands.InvokeWithResponseStreamCommand,
        invoke_commands.InvokeAsyncCommand,
        config_commands.PutFunctionEventInvokeConfigCommand,
        config_commands.UpdateFunctionEventInvokeConfigCommand,
        config_commands.GetFunctionEventInvokeConfigCommand,
        config_commands.DeleteFunctionEventInvokeConfigCommand,
        config_commands.ListFunctionEventInvokeConfigsCommand,
        config_commands.PutFunctionRecursionConfigCommand,
        config_commands.GetFunctionRecursionConfigCommand,
        config_commands.GetFunctionConfigurationCommand,
        config_commands.GetFunctionCommand,
    )
}
"""The operations that have a command, by their names."""


def command_for(operation: str, members: Mapping[str, Any]) -> Command[Any]:
    """The command of an operation. Raises OperationError, ParameterValidationError."""
    kind = OPERATIONS.get(operation)
    if kind is None:
        from venturekit.client.model_commands import ModelCommand

        return ModelCommand(operation, members)
    try:
        return kind(**members)
    except TypeError as problem:
        raise ParameterValidationError(operation, [str(problem)]) from None
