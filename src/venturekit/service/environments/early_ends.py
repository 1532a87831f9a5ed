"""Execution environments that end before they have answered: their init phase or an extension fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments import failures
from venturekit.service.environments.extensions.failures import INIT_ERROR, never_registered_text
from venturekit.service.environments.extensions.shutdown import FAILURE, TIMEOUT
from venturekit.service.environments.lifecycle import Event, State, allows
from venturekit.service.environments.provisioner import INIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.ports import Invocation

UNHANDLED: Final = b"Unhandled"


def init_failed(
    environment: Environment, body_for: Callable[[bytes], bytes | bytearray], error_type: str, reason: str = ""
) -> None:
    """The invocation that has waited longest gets the error, as if this environment had been started for it.

    Not so if it was started for none; ``reason`` is what is to be said then, if it is not the function's own fault.
    """
    _log_init_report(environment, "error", error_type)
    if environment.provisioned:
        _provision_failed(environment, reason)
        return
    invocation = environment.pool.first_waiting()
    if invocation is not None:
        _begin_without_runtime(environment, invocation)
        environment.settle(body_for(invocation.request_id), UNHANDLED, status="error", error_type=error_type)


def init_out_of_time(environment: Environment) -> None:
    """Ten seconds are over: on AWS the init phase is cut and run again as part of the invocation.

    Extensions that have not even registered by then would not do so the second time.
    """
    late = [] if environment.extensions is None else environment.extensions.roster.unregistered
    if late:
        seconds = environment.host.monotonic() - environment.started_at
        text = never_registered_text([extension.name for extension in late], seconds)
        extension_failed(environment, INIT_ERROR, text)
        return
    _log_init_report(environment, "timeout")
    if environment.provisioned:
        _provision_failed(environment)
        environment.leave(State.STOPPING)
        environment.end(TIMEOUT, at_once=True)
        return
    invocation = environment.pool.first_waiting()
    # The init phase that is run again does not wait until this one has ended.
    environment.keep_sandbox(at_once=True)
    if invocation is not None and not environment.suppressed_init:
        environment.pool.initialise_again(invocation)
    elif invocation is not None:
        _begin_without_runtime(environment, invocation)
        body = failures.timed_out(invocation.request_id, environment.spec.timeout_ms)
        environment.settle(body, UNHANDLED, status="timeout")
    environment.leave(State.STOPPING)
    environment.end(TIMEOUT, at_once=True)


def extension_failed(environment: Environment, error_type: str, reason: str) -> None:
    """An extension crashed, or reported an error: the environment is of no use any more."""
    if not allows(environment.state, Event.STOP):
        return
    environment.drain()

    def body_for(request_id: bytes) -> bytes:
        return failures.failed_to_start(request_id, error_type, reason)

    invocation = environment.invocation
    if environment.state in (State.STARTING, State.INIT_HELD):
        init_failed(environment, body_for, error_type)
    elif environment.state is not State.INIT_FAILED:
        environment.keep_sandbox()
    if invocation is not None:
        environment.settle(body_for(invocation.request_id), UNHANDLED, status="error", error_type=error_type)
    environment.leave(State.STOPPING)
    environment.end(FAILURE)


def _provision_failed(environment: Environment, reason: str = "") -> None:
    provision = environment.pool.provision
    assert provision is not None
    environment.host.provisioner.failed(provision, reason or INIT_FAILED)


def _log_init_report(environment: Environment, status: str, error_type: str = "") -> None:
    duration_ms = (environment.host.monotonic() - environment.started_at) * 1000
    environment.journal.init_ended(
        environment.host.wall(),
        duration_ms=duration_ms,
        phase=environment.phase,
        status=status,
        error_type=error_type,
    )


def _begin_without_runtime(environment: Environment, invocation: Invocation) -> None:
    # The log of an invocation whose init failed has its START, END and REPORT all the same.
    environment.invocation = invocation
    if not environment.suppressed_init:
        environment.started_at = environment.host.monotonic()
    environment.init_reported = True
    environment.wall_started = environment.host.wall()
    environment.journal.started(environment.wall_started, invocation.request_id, tail=invocation.tail)
