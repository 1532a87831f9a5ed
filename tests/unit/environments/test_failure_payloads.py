"""The exact bytes of the errors that the service writes itself."""

from __future__ import annotations

from signal import Signals

import pytest

from venturekit.service.environments import failures
from venturekit.service.environments.failures import Exit
from venturekit.service.environments.runtime_api import normalise_error_type

ID = b"8286a188-ba32-4475-8077-530cd35c09a9"


FOR_ID = f"RequestId: {ID.decode()} Error: "
EXIT = FOR_ID + "Runtime exited "
TOO_LARGE = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."


@pytest.mark.parametrize(
    ("payload", "error_type", "message"),
    [
        (failures.exited(ID, Exit()), "Runtime.ExitError", f"{EXIT}without providing a reason"),
        (failures.exited(ID, Exit(code=1)), "Runtime.ExitError", f"{EXIT}with error: exit status 1"),
        (failures.exited(ID, Exit(code=127)), "Runtime.ExitError", f"{EXIT}with error: exit status 127"),
        (failures.exited(ID, Exit(signal=9)), "Runtime.ExitError", f"{EXIT}with error: signal: killed"),
        (failures.timed_out(ID, 1000), "Sandbox.Timedout", f"{FOR_ID}Task timed out after 1.00 seconds"),
        (failures.timed_out(ID, 900_000), "Sandbox.Timedout", f"{FOR_ID}Task timed out after 900.00 seconds"),
        (failures.response_too_large(), "Function.ResponseSizeTooLarge", TOO_LARGE),
        (
            failures.truncated_response(ID),
            "Runtime.TruncatedResponse",
            f"{FOR_ID}the runtime closed its connection mid-response",
        ),
        (
            failures.invalid_response_mode(ID, b'a"\xe9'),
            "Runtime.InvalidResponseModeHeader",
            f'{FOR_ID}invalid function response mode: a\\"\\u00e9',
        ),
        (failures.failed_to_start(ID, "Runtime.X", "y"), "Runtime.X", f"{FOR_ID}y"),
    ],
)
def test_the_bytes(payload: bytes, error_type: str, message: str) -> None:
    assert payload.decode() == f'{{"errorType":"{error_type}","errorMessage":"{message}"}}'


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "hangup"), (2, "interrupt"), (3, "quit"), (4, "illegal instruction"), (5, "trace/breakpoint trap"),
        (6, "aborted"), (7, "bus error"), (8, "floating point exception"), (9, "killed"),
        (10, "user defined signal 1"), (11, "segmentation fault"), (12, "user defined signal 2"), (13, "broken pipe"),
        (14, "alarm clock"), (15, "terminated"), (16, "stack fault"), (24, "CPU time limit exceeded"),
        (25, "file size limit exceeded"), (29, "I/O possible"), (31, "bad system call"), (32, "signal 32"),
        (34, "signal 34"), (64, "signal 64"),
    ],
)  # fmt: skip
def test_signals_have_the_names_that_go_programs_give_them(number: int, text: str) -> None:
    assert failures.exit_text(Exit(signal=number)) == f"Runtime exited with error: signal: {text}"


def test_every_ordinary_signal_has_a_text() -> None:
    assert {signal.name for signal in Signals if signal < 32} == set(failures.SIGNAL_TEXTS)


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        (b"Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        (b"Function.SomeReason ", "Function.SomeReason"),
        (b"Function.some", "Function.Unknown"),
        (b"Function.X", "Function.Unknown"),
        (b"Function.Xy1", "Function.Unknown"),
        (b"Runtime.X\ny", "Runtime.Unknown"),
        (b"unhandled", "Runtime.Unknown"),
        (b"\xff", "Runtime.Unknown"),
        (b"", "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ],
)
def test_error_types_are_normalised(given: bytes | None, reported: str) -> None:
    assert normalise_error_type(given) == reported
