"""Random requests made from the model against every operation: no failure, no hang, no change by what is refused.

A failure names its seed; the same seed makes the same requests of a service that gives the same answers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.service.harness import RunningService
from tests.service.model_values import model
from tests.service.raw_http import BadAnswerError, RawConnection
from tests.service.request_campaign import Campaign
from venturekit.service.api.errors import api_error
from venturekit.service.api.registry import Level

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from venturekit.service.api.registry import Call
    from venturekit.service.functions.plane import ControlPlane

REQUESTS: Final = 2_000
FULL_SEEDS: Final = range(2, 12)
PLANTED_REQUESTS: Final = 300


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in FULL_SEEDS)])
def test_random_requests(start_service: Callable[..., RunningService], seed: int) -> None:
    running = start_service()
    campaign = Campaign(running, seed)
    try:
        campaign.run(REQUESTS)
        held = campaign.memory()
    finally:
        campaign.close()
    assert campaign.tallies.keys() == set(model().operation_names)
    check_depth(campaign, running)
    running.close()
    again = Campaign(start_service(running.data_dir), seed, populate=False)
    assert again.memory() == held, f"seed {seed}: after a restart the service has something else"
    again.close()


def check_depth(campaign: Campaign, running: RunningService) -> None:
    """Requests that all fail at the first check would prove little."""
    operations = running.service._accounts.own.operations
    served = [name for name in campaign.tallies if operations.status(name).level is not Level.NOT]
    granted = [name for name in served if any(status < 300 for status in campaign.tallies[name])]
    refused = [name for name in served if any(400 <= status < 500 for status in campaign.tallies[name])]
    statuses: Counter[int] = sum((campaign.tallies[name] for name in served), Counter())
    assert sum(count for status, count in statuses.items() if status < 300) >= statuses.total() / 4, statuses
    assert len(granted) >= 0.8 * len(served), f"never granted: {sorted(set(served) - set(granted))}"
    assert len(refused) >= 0.9 * len(served), f"never refused: {sorted(set(served) - set(refused))}"
    assert {200, 201, 204, 400, 403, 404, 409, 412} <= statuses.keys(), statuses


# --- the judge finds what is planted -------------------------------------------------------------------------------


class Plant:
    """Handlers with a fault each."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def raises(self, call: Call) -> dict[str, Any]:
        raise RuntimeError("planted")

    async def hangs(self, call: Call) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def logs_an_error(self, call: Call) -> dict[str, Any]:
        logging.getLogger("venturekit.planted").error("planted")
        return {}

    async def leaves_a_failing_task(self, call: Call) -> dict[str, Any]:
        self._plane.tasks.spawn(self._fail())
        return {}

    async def _fail(self) -> None:
        raise RuntimeError("planted")

    async def answers_unknown_members(self, call: Call) -> dict[str, Any]:
        return {"Planted": 1}

    async def answers_another_type(self, call: Call) -> dict[str, Any]:
        return {"AccountUsage": {"FunctionCount": "many"}}

    async def changes_memory_and_refuses(self, call: Call) -> dict[str, Any]:
        function = self._plane.registry.function("alpha")
        self._plane.registry.put(function.with_setting("planted", self._plane.new_id()))
        raise api_error("InvalidParameterValueException", "planted")

    async def changes_a_document_in_place_and_refuses(self, call: Call) -> dict[str, Any]:
        function = self._plane.registry.function("alpha")
        function.settings["planted"] = self._plane.new_id()  # type: ignore[index]
        raise api_error("InvalidParameterValueException", "planted")

    async def changes_the_store_and_refuses(self, call: Call) -> dict[str, Any]:
        function = self._plane.registry.function("alpha")
        changed = function.with_setting("planted", self._plane.new_id())
        await self._plane.commit(function, changed)
        self._plane.registry.put(function)
        raise api_error("ResourceConflictException", "planted")

    async def changes_on_a_read(self, call: Call) -> dict[str, Any]:
        function = self._plane.registry.function("alpha")
        await self._plane.commit(function, function.with_versions(self._plane.revised(function.latest)))
        return {}

    async def forgets_and_refuses(self, call: Call) -> dict[str, Any]:
        self._plane.registry.remove("beta")
        raise api_error("ResourceNotFoundException", "planted")

    async def mistakes_the_message_key(self, call: Call) -> dict[str, Any]:
        error = api_error("ResourceConflictException", "planted")
        error.message_key = "Message"
        raise error

    async def mistakes_the_status(self, call: Call) -> dict[str, Any]:
        error = api_error("ResourceNotFoundException", "planted")
        error.status = 400
        raise error

    async def mistakes_the_type(self, call: Call) -> dict[str, Any]:
        raise api_error("InvalidParameterValueException", "planted", type="Service")

    async def says_it_is_not_served(self, call: Call) -> dict[str, Any]:
        raise api_error("NotImplementedException", "planted")

    async def gives_a_fault_as_answer(self, call: Call) -> dict[str, Any]:
        raise api_error("ServiceException", "planted")

    async def shows_a_traceback(self, call: Call) -> dict[str, Any]:
        raise api_error("InvalidParameterValueException", "Traceback (most recent call last): planted")


PLANTS: Final = {
    "raises": "status=500",
    "hangs": "no answer within 0.5 s",
    "logs_an_error": "the service logged",
    "leaves_a_failing_task": "the service logged",
    "answers_unknown_members": "status=500",
    "answers_another_type": "status=500",
    "changes_memory_and_refuses": "changed the state",
    "changes_a_document_in_place_and_refuses": "changed the state",
    "changes_the_store_and_refuses": "changed the state",
    "changes_on_a_read": "changed the state",
    "forgets_and_refuses": "changed the state",
    "mistakes_the_message_key": "has no message",
    "mistakes_the_status": "has the status 400",
    "mistakes_the_type": '"Type":"Service"',
    "says_it_is_not_served": "it is served",
    "gives_a_fault_as_answer": "status=500",
    "shows_a_traceback": "Traceback",
}
PLACE: Final = "GetAccountSettings"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service for faults, which do not count when it ends."""
    running = RunningService(tmp_path_factory.mktemp("faulty") / "data")
    yield running
    running.trouble.found.clear()
    running.close()


@pytest.mark.parametrize("fault", PLANTS)
def test_a_planted_fault_is_found(faulty: RunningService, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    account = faulty.service._accounts.own
    handler: Callable[[Call], Awaitable[dict[str, Any]]] = getattr(Plant(account.plane), fault)
    faulty.trouble.found.clear()
    campaign = Campaign(faulty, 1, operations=[PLACE], timeout_seconds=0.5 if fault == "hangs" else 5.0)
    held = list(account.functions.functions())
    try:
        monkeypatch.setitem(account.operations._handlers, PLACE, handler)
        with pytest.raises(AssertionError, match=r"^seed 1, request \d+: ") as caught:
            campaign.run(PLANTED_REQUESTS)
        assert PLANTS[fault] in str(caught.value), caught.value
        assert f"{PLACE} (" in str(caught.value)
    finally:
        campaign.close()
        for function in held:
            faulty.do(partial(account.functions.put, function))


def test_without_a_planted_fault_nothing_is_found(faulty: RunningService) -> None:
    faulty.trouble.found.clear()
    campaign = Campaign(faulty, 1, operations=[PLACE])
    campaign.run(PLANTED_REQUESTS)
    campaign.close()
    assert campaign.tallies[PLACE].total() > PLANTED_REQUESTS / 2


OK: Final = b"HTTP/1.1 200 OK\r\n"
BAD_ANSWERS: Final = {
    "no HTTP": (b"hello\r\n\r\n", "status line"),
    "a bad header": (OK + b"a b: c\r\n\r\n", "header line"),
    "no length": (OK + b"\r\n{}", "0 fields Content-Length"),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "2 fields Content-Length"),
    "a length that is none": (OK + b"Content-Length: two\r\n\r\n{}", "length"),
    "chunks and a length": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", "length"),
    "too short": (OK + b"Content-Length: 3\r\n\r\n{}", "closed after"),
    "too long": (OK + b"Content-Length: 1\r\n\r\n{}", "1 bytes too many"),
    "a body of none": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", "204"),
    "nothing": (b"", "closed after"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_found(name: str) -> None:
    data, message = BAD_ANSWERS[name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer_once, args=(server, data))
        answering.start()
        connection = RawConnection(server.getsockname()[1])
        with pytest.raises(BadAnswerError, match=message):
            connection.ask("GET", b"/", [], None)
        connection.close()
        answering.join()


def answer_once(server: socket.socket, data: bytes) -> None:
    accepted, _ = server.accept()
    with accepted:
        accepted.recv(10_000)
        accepted.sendall(data)


def test_an_answer_that_does_not_come_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = RawConnection(server.getsockname()[1], timeout_seconds=0.1)
        with pytest.raises(BadAnswerError, match=r"no answer within 0\.1 s"):
            connection.ask("GET", b"/", [], None)
        connection.close()
