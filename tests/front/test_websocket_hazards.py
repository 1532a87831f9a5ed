"""What WebSocket APIs could do to one another, and clients that do not answer the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.front.front_lab import API, BOUND_SECONDS, api_entry, until
from tests.front.websocket_client import OWN_HEADER, connection_id, raw_socket, websocket
from venturekit.front.websocket_ids import api_tag, draw_connection_id

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

TWIN = "zzzzaixzj2"
"""An id whose connections have the same tag as those of the lab's API."""


@pytest.mark.parametrize("order", [(API, TWIN), (TWIN, API)])
def test_apis_with_the_same_tag(sockets: Lab, order: tuple[str, str]) -> None:
    assert api_tag(TWIN) == api_tag(API)
    sockets.configure(*(api_entry(id=api_id) for api_id in order))
    sockets.refresh()
    with websocket(sockets) as first, websocket(sockets, f"/_ws/{TWIN}/dev") as second:
        for number, client in enumerate((first, second)):
            identifier = sockets.api.events[number]["requestContext"]["connectionId"]
            target = f"/dev/@connections/{identifier}"
            assert sockets.ask("POST", target, b"x", [OWN_HEADER], host="127.0.0.1").status == 200
            assert client.recv(BOUND_SECONDS) == "x"


@pytest.mark.parametrize(("stage", "status"), [("prod", 403), ("dev", 200)])
def test_a_connection_is_found_at_its_own_stage_only(sockets: Lab, stage: str, status: int) -> None:
    with websocket(sockets):
        target = f"/{stage}/@connections/{connection_id(sockets)}"
        assert sockets.ask("GET", target, headers=[OWN_HEADER], host="127.0.0.1").status == status


def test_the_connection_of_an_api_that_is_gone(sockets: Lab) -> None:
    identifier = draw_connection_id(API)
    sockets.configure()
    sockets.refresh()
    target = f"/dev/@connections/{identifier}"
    assert sockets.ask("POST", target, b"x", [OWN_HEADER], host="127.0.0.1").status == 403


def test_clients_that_do_not_answer_the_end_are_told_before_the_service_is_gone(sockets: Lab) -> None:
    """The service waits for five seconds."""
    raw_socket(sockets)
    raw_socket(sockets)
    sockets.loop.call_soon_threadsafe(sockets.websockets.drain)
    try:
        sockets.sweep(1)
        assert len(sockets.websockets) == 2
        sockets.sweep(2.5)
        sockets.sweep(2.5)
        assert len(sockets.websockets) == 0
        until(lambda: _left(sockets) == [1001, 1001], "both are told")
    finally:
        sockets.websockets._ends = False


def _left(lab: Lab) -> list[Any]:
    events = json.loads(json.dumps(lab.api.events))
    return [found for event in events if (found := event["requestContext"].get("disconnectStatusCode"))]
