"""Attempts to get more than one may, or to be believed what one says, by way of events: each of them fails."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.client_support import Key, arn, clients_of, create, statement, write_keys
from tests.service.harness import RunningService, send, until
from venturekit.service.store.event_views import EventFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet

LEGACY = "/2014-11-13/functions/{}/invoke-async/"
STREAMED = "/2021-11-15/functions/{}/response-streaming-invocations"
ECHO = "def handler(event, context):\n    return event\n"
RAISES = """
def handler(event, context):
    raise ValueError("\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\x00\\n#9\\tforged\\r\\u202eesrever \\ud800")
"""
HEADERS = {"X-Amz-Client": "test"}
FULL = Key("full", (statement("*"), statement("venturekit:*")))
DEVELOPER = Key("developer", (statement("lambda:*", arn("dev*")),))
LEGACY_ONLY = Key("legacy", (statement("lambda:InvokeAsync", arn("*")),))
ROLES = [{"role": "arn:aws:iam::*:role/trusted", "statements": [statement("lambda:InvokeFunction")]}]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with access control, where only functions with the role ``trusted`` may invoke others."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", (FULL, DEVELOPER, LEGACY_ONLY), roles=ROLES)
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    yield running
    running.close()


@pytest.fixture
def client_for(guarded: RunningService) -> Iterator[Callable[[Key], Any]]:
    with clients_of(guarded.url) as make:
        yield make


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?x=/invocations", "?/2015-03-31/functions/f/invocations"])
def test_a_legacy_invocation_stays_one_however_often_it_is_made(functions: FunctionSet, query: str) -> None:
    name = functions.create(ECHO)
    target = LEGACY.format(name) + query
    # The second one would be taken for what its address was kept for.
    headers = HEADERS | {"X-Amz-Invocation-Type": "RequestResponse"}
    for _ in range(3):
        answer = send(functions.url, "POST", target, b'{"a":1}', headers)
        assert (answer.status, answer.body) == (202, b"")


def test_a_streamed_invocation_stays_one_however_often_it_is_made(functions: FunctionSet) -> None:
    target = f"{STREAMED.format(functions.create(ECHO))}?x=/invocations"
    headers = HEADERS | {"X-Amz-Invocation-Type": "RequestResponse"}
    for _ in range(3):
        answer = send(functions.url, "POST", target, b'{"a":1}', headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/vnd.amazon.eventstream")


def test_who_may_only_hand_events_over_gets_no_answer_of_the_function(
    guarded: RunningService, client_for: Callable[[Key], Any]
) -> None:
    create(client_for(FULL), "echo")
    client = client_for(LEGACY_ONLY)
    # A query that looks like the address of Invoke, signed as it is sent.
    client.meta.events.register(
        "before-sign.lambda.InvokeAsync", lambda request, **_: setattr(request, "url", f"{request.url}?x=/invocations")
    )
    client.meta.events.register(
        "before-sign.lambda.InvokeAsync",
        lambda request, **_: request.headers.add_header("X-Amz-Invocation-Type", "RequestResponse"),
    )
    for _ in range(3):
        answer = client.invoke_async(FunctionName="echo", InvokeArgs=b'{"secret":1}')
        assert answer["Status"] == 202


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qualified", [False, True])
def test_a_function_that_is_deleted_leaves_no_permissions_behind(
    guarded: RunningService, client_for: Callable[[Key], Any], qualified: bool
) -> None:
    full, developer = client_for(FULL), client_for(DEVELOPER)
    target, name = f"production-{qualified}", f"dev-{qualified}"
    create(full, target)
    create(developer, name)
    qualifier = {}
    if qualified:
        developer.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
        qualifier = {"Qualifier": "live"}
    with pytest.raises(ClientError, match="AccessDenied"):
        developer.invoke(FunctionName=target)
    developer.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn(target)}}, **qualifier
    )
    developer.invoke(FunctionName=name, InvocationType="Event", **qualifier)
    events = guarded.service._asynchronous.inspection
    owed = until(lambda: owed_by(guarded, events, name, attempts=1), "the record is refused")
    assert "AccessDeniedException" in owed["reason"]
    if qualified:
        developer.delete_alias(FunctionName=name, Name="live")
    else:
        developer.delete_function(FunctionName=name)
    owed = until(lambda: owed_by(guarded, events, name, attempts=owed["attempts"] + 1), "it is refused again")
    assert "AccessDeniedException" in owed["reason"]
    assert guarded.run(events.counts(guarded.service.settings.account_id, target)) == {"functions": []}


def owed_by(running: RunningService, events: Any, name: str, *, attempts: int) -> Any:
    """What is owed of the only event of a function, once it was tried so often."""
    account_id = running.service.settings.account_id

    async def look() -> Any:
        wanted = EventFilter(account_id=account_id, function_name=name)
        page = await events.page(wanted, limit=10, marker="", oldest_first=True)
        for item in page["events"]:
            event = await events.find(account_id, f"#{item['number']}")
            shown = await events.show(account_id, event, with_payload=False)
            for delivery in shown["deliveries"]:
                if delivery["attempts"] >= attempts:
                    return delivery
        return None

    return running.run(look())


# --- terminals --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with one event, whose function has failed with a nasty message."""
    running = RunningService(tmp_path_factory.mktemp("failed") / "data", async_retry_delays="0")
    made = running.functions()
    name = made.create(RAISES, name="raises")
    assert made.post(name, b'{"a":"\xc2\x9b"}', X_Amz_Invocation_Type="Event").status == 202
    until(lambda: running.health()["queuedEvents"] == 0, "the event has failed")
    yield running
    running.close()


def vk(running: RunningService, *arguments: str, terminal: bool) -> str:
    """What a command of ``vk events`` writes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VENTUREKIT_"))}
    environ = kept | {"AWS_ENDPOINT_URL_LAMBDA": running.url, "TERM": "xterm", "COLUMNS": "400", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "venturekit", "events", *arguments]
    if not terminal:
        return subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env=environ, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    with suppress(OSError):  # the other side is closed
        while piece := os.read(master, 65536):
            seen += piece
    os.close(master)
    assert process.wait(60) == 0
    return seen.decode()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("arguments", [("list",), ("show", "#1")])
def test_an_error_message_can_neither_forge_a_row_nor_steer_a_terminal(
    failed: RunningService, arguments: tuple[str, ...], terminal: bool
) -> None:
    text = vk(failed, *arguments, terminal=terminal)
    assert r"\x1b]0;title\x07\x1b[2J\x9b31m\x00\n#9\tforged\r\u202eesrever ?" in text
    plain = text
    if terminal:
        # Titles are bold.
        plain = text.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r\n", "\n")
    assert set(plain) - {"\n", "\t", "\u2026"} <= {chr(code) for code in range(0x20, 0x7F)}
    assert not any(line.startswith("#9") for line in plain.splitlines())


def test_what_is_json_stays_json_on_a_terminal(failed: RunningService) -> None:
    shown = vk(failed, "show", "#1", "--json", "--payload", terminal=True)
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert r"\u009b31m\u0000\n#9\tforged\r\u202eesrever" in shown
    assert r'"payload": "{\"a\":\"\u009b\"}"' in shown
