"""Workers: what their table holds, what is said of their ends, who follows whom, and what their parent may wait for."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.ric import worker_api
from venturekit.ric.client import Invocation
from venturekit.ric.faults import ConnectionLostError, RequestRefusedError
from venturekit.ric.worker_api import PoolApiClient
from venturekit.ric.worker_ends import MOST_STRIKES, exit_error, exit_message, strikes_after
from venturekit.ric.worker_pool import worker_count
from venturekit.ric.worker_table import API_GONE, BUSY, READY, REFUSED, STARTING, WorkerTable
from venturekit.service.environments import failures

if TYPE_CHECKING:
    from collections.abc import Callable

STATUSES = [
    *((code << 8, failures.Exit(code=code)) for code in (0, 1, 64, 255)),
    *((number, failures.Exit(signal=number)) for number in sorted(signal.valid_signals())),
    (signal.SIGSEGV | 0x80, failures.Exit(signal=signal.SIGSEGV)),
]


def invocation(request_id: str, invocation_id: bytes = b"") -> Invocation:
    headers = {b"lambda-runtime-aws-request-id": request_id.encode("utf-8", "surrogateescape")}
    return Invocation({**headers, b"lambda-runtime-invocation-id": invocation_id}, b"")


@pytest.mark.parametrize(("status", "ended"), STATUSES)
def test_an_end_is_told_as_the_service_tells_it(status: int, ended: failures.Exit) -> None:
    assert exit_error(exit_message("8286a188", status)) == failures.exited(b"8286a188", ended)


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=250), st.binary(max_size=250))))
def test_a_slot_holds_what_its_worker_took_last(taken: list[tuple[int, bytes, bytes]]) -> None:
    table = WorkerTable(3)
    last: dict[int, tuple[bytes, bytes]] = {}
    for number, request_id, invocation_id in taken:
        table.slot(number).take(invocation(request_id.decode("utf-8", "surrogateescape"), invocation_id))
        last[number] = request_id, invocation_id
        found = {place: table.slot(place).ids for place in range(3) if table.slot(place).phase == BUSY}
        assert found == last
    assert [table.slot(number).has_served for number in range(3)] == [number in last for number in range(3)]


def test_ids_without_end_are_not_noted() -> None:
    table = WorkerTable(2)
    table.slot(0).take(invocation("x" * 251))
    assert (table.slot(0).phase, table.slot(0).has_served) == (STARTING, True)
    assert table.slot(1).phase == STARTING
    table.slot(0).clear()
    assert not table.slot(0).has_served


@pytest.mark.parametrize(
    ("strikes", "phase", "has_served", "is_proven", "expected"),
    [
        (2, BUSY, True, True, 0),
        (0, BUSY, True, False, 0),
        (0, READY, False, True, 1),
        (2, READY, True, True, 0),
        (0, STARTING, False, False, 1),
        (2, STARTING, False, False, MOST_STRIKES),
        (0, REFUSED, False, False, MOST_STRIKES),
        (0, REFUSED, False, True, 1),
        (0, API_GONE, True, True, MOST_STRIKES),
    ],
)
def test_who_follows(strikes: int, phase: int, has_served: bool, is_proven: bool, expected: int) -> None:
    assert strikes_after(strikes, phase, has_served, is_proven) == expected


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("64", 64), ("1600", 1600), ("007", 7)])
def test_how_many(text: str, count: int) -> None:
    assert worker_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1601", "9" * 5000, "1.5", "²", " 1"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match=r"AWS_LAMBDA_MAX_CONCURRENCY is .*; it must be a number from 1 to 1600"):
        worker_count(text)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nunknown", RequestRefusedError),
        (b"", ConnectionLostError),
        (b"HTTP/1.1 202 Acc", ConnectionLostError),
    ],
)
def test_the_parent_waits_for_no_answer_without_end(
    answer: bytes, error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_api, "REPORT_LIMIT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        post: Callable[..., None] = PoolApiClient(f"127.0.0.1:{listener.getsockname()[1]}").post_exit_error

        def serve() -> None:
            connection, _peer = listener.accept()
            connections.append(connection)
            connection.sendall(answer)

        connections: list[socket.socket] = []
        server = threading.Thread(target=serve)
        server.start()
        if error is None:
            post(b"id", b"", b"{}")
        else:
            with pytest.raises(error):
                post(b"id", b"", b"{}")
        server.join(10)
        with connections[0] as connection:
            head = connection.recv(65536).decode()
    assert head.startswith("POST /2018-06-01/runtime/invocation/id/error HTTP/1.1\r\n")
    assert "\r\nLambda-Runtime-Function-Error-Type: Runtime.ExitError\r\n" in head
