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

UNHANDLED: Final = b"Unhandled"


def init_failed(
    environment: Environment, body_for: Callable[[bytes], bytes | bytearray], error_type: str, reason: str = ""
) -> None:
    """The invocations that have waited longest, as many as this environment would have had, get the error.

    Not so if it was started for none; ``reason`` is what is to be said then, if it is not the function's own fault.
    """
    _log_init_report(environment, "error", error_type)
    if environment.provisioned:
        _provision_failed(environment, reason)
        return
    for invocation in environment.pool.first_waiting():
        seat = environment.begin_without_runtime(invocation)
        environment.settle_seat(seat, body_for(invocation.request_id), UNHANDLED, "error", error_type)


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
    waiting = environment.pool.first_waiting()
    # The init phase that is run again does not wait until this one has ended.
    environment.keep_sandbox(at_once=True)
    for invocation in waiting:
        if environment.initialises_again:
            environment.pool.initialise_again(invocation)
            continue
        seat = environment.begin_without_runtime(invocation)
        body = failures.timed_out(invocation.request_id, environment.spec.timeout_ms)
        environment.settle_seat(seat, body, UNHANDLED, "timeout", "")
    environment.leave(State.STOPPING)
    environment.end(TIMEOUT, at_once=True)


def extension_failed(environment: Environment, error_type: str, reason: str) -> None:
    """An extension crashed, or reported an error: the environment is of no use any more."""
    if not allows(environment.state, Event.STOP):
        return
    environment.drain()

    def body_for(request_id: bytes) -> bytes:
        return failures.failed_to_start(request_id, error_type, reason)

    if environment.state in (State.STARTING, State.INIT_HELD):
        init_failed(environment, body_for, error_type)
    elif environment.state is not State.INIT_FAILED:
        environment.keep_sandbox()
    environment.fail_running(body_for, error_type)
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
