"""Waiting until a function is in a state: what is asked, what its answer means, how long it may last. No I/O.

Source: ``waiters-2`` of the botocore model ``lambda/2015-03-31``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.client.config_commands import GetFunctionCommand, GetFunctionConfigurationCommand
from venturekit.client.errors import LambdaServiceException, OperationError, ParameterValidationError, WaiterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, NotRequired, TypeAlias, TypedDict

    from venturekit.client.commands import Command, Output

    ConfigurationWaiter: TypeAlias = Literal["function_active", "function_updated", "published_version_active"]
    FunctionWaiter: TypeAlias = Literal["function_active_v2", "function_updated_v2", "function_exists"]
    WaiterName: TypeAlias = Literal[ConfigurationWaiter, FunctionWaiter]

    class WaitedFor(TypedDict):
        """The function that is waited for."""

        FunctionName: str
        Qualifier: NotRequired[str | None]


SUCCESS: Final = "success"
FAILURE: Final = "failure"
RETRY: Final = "retry"


class Acceptor(NamedTuple):
    """What an answer means: of a ``path`` when its value is ``expected``, of an ``error`` when its code is.

    ``expected`` is False for an answer that is no error.
    """

    state: str
    matcher: str
    path: str | None
    expected: str | bool


class Waiter(NamedTuple):
    """What is asked, how many seconds lie between two questions, how many are asked, and what the answers mean."""

    command: type[GetFunctionCommand | GetFunctionConfigurationCommand]
    delay_seconds: float
    max_attempts: int
    acceptors: tuple[Acceptor, ...]


def _by_state(path: str, success: str, retry: str) -> tuple[Acceptor, ...]:
    return (
        Acceptor(SUCCESS, "path", path, success),
        Acceptor(FAILURE, "path", path, "Failed"),
        Acceptor(RETRY, "path", path, retry),
    )


_BECOMES_ACTIVE: Final = _by_state("State", "Active", "Pending")
WAITERS: Final[Mapping[str, Waiter]] = {
    "function_active": Waiter(GetFunctionConfigurationCommand, 5, 60, _BECOMES_ACTIVE),
    "function_active_v2": Waiter(GetFunctionCommand, 1, 300, _by_state("Configuration.State", "Active", "Pending")),
    "function_exists": Waiter(
        GetFunctionCommand,
        1,
        20,
        (Acceptor(SUCCESS, "error", None, False), Acceptor(RETRY, "error", None, "ResourceNotFoundException")),
    ),
    "function_updated": Waiter(
        GetFunctionConfigurationCommand, 5, 60, _by_state("LastUpdateStatus", "Successful", "InProgress")
    ),
    "function_updated_v2": Waiter(
        GetFunctionCommand, 1, 300, _by_state("Configuration.LastUpdateStatus", "Successful", "InProgress")
    ),
    "published_version_active": Waiter(GetFunctionConfigurationCommand, 5, 312, _BECOMES_ACTIVE),
}
"""The waiters by their names."""


class Waiting:
    """One waiting. Send ``command``, and tell what came of it to ``seconds_after``; time is an argument.

    Raises OperationError for a name that no waiter has, ParameterValidationError for what cannot be waited for.
    """

    def __init__(
        self, name: str, members: Mapping[str, Any], max_wait_seconds: float | None, delay_seconds: float | None
    ) -> None:
        waiter = WAITERS.get(name)
        if waiter is None:
            raise OperationError(f"there is no waiter {name!r}: there are {', '.join(WAITERS)}")
        usual = waiter.delay_seconds * waiter.max_attempts
        self.command: Command[Any] = waiter.command(**members)
        self._name = name
        self._acceptors = waiter.acceptors
        self._delay_seconds = _seconds(name, "delay_seconds", delay_seconds, waiter.delay_seconds)
        self._limit_seconds = _seconds(name, "max_wait_seconds", max_wait_seconds, usual)
        if self._delay_seconds == 0:
            raise ParameterValidationError(name, ["delay_seconds is 0: the service would be asked without a pause"])

    def seconds_after(self, outcome: Output | LambdaServiceException, begun: float, now: float) -> float | None:
        """The seconds to wait before asking again; None: it has come. ``begun`` and ``now`` are of one clock.

        Raises WaiterError when it cannot come any more, or has not come in time; an error that says nothing about it
        is raised as it is.
        """
        state = next((acceptor.state for acceptor in self._acceptors if _matches(acceptor, outcome)), None)
        if state == SUCCESS:
            return None
        function = self.command["FunctionName"]
        if state == FAILURE:
            raise WaiterError(f"{self._name}: {function} {self._seen(outcome)}", outcome)
        if state is None and isinstance(outcome, LambdaServiceException):
            raise outcome
        left = begun + self._limit_seconds - now
        if left <= 0:
            limit = f"{self._limit_seconds:g} s"
            raise WaiterError(f"{self._name}: not within {limit}: {function} {self._seen(outcome)}", outcome)
        return min(self._delay_seconds, left)

    def _seen(self, outcome: Output | LambdaServiceException) -> str:
        if isinstance(outcome, LambdaServiceException):
            return f"gives {outcome.code}"
        path = self._acceptors[0].path or ""
        where, _, name = path.rpartition(".")
        found: Any = outcome.get(where, {}) if where else outcome
        reason = found.get(f"{name}Reason")
        return f"has {name} {found.get(name)}{f': {reason}' if reason else ''}"


def _seconds(name: str, option: str, given: float | None, usual: float) -> float:
    if given is None:
        return usual
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
        raise ParameterValidationError(name, [f"{option} is {given!r}: it is a number of seconds"])
    return given


def _matches(acceptor: Acceptor, outcome: Output | LambdaServiceException) -> bool:
    is_error = isinstance(outcome, LambdaServiceException)
    if acceptor.matcher == "error":
        return (
            outcome.code == acceptor.expected if isinstance(outcome, LambdaServiceException) else not acceptor.expected
        )
    found: Any = outcome
    for name in (acceptor.path or "").split("."):
        if is_error or found is None:
            return False
        found = found.get(name)
    return bool(found == acceptor.expected)
