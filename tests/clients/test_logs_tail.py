"""Logs read by the AWS CLI and by the requests of its ``logs tail``; who may read which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from tests.clients.client_support import Key, create, refused, statement, write_keys
from tests.service.harness import RunningService, send, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AWS = Path(sys.executable).with_name("aws")
GROUP = "arn:aws:logs:*:000000000000:log-group"
FULL = Key("full", (statement("lambda:*"), statement("logs:*")))
ONE = Key("one", (statement(["logs:FilterLogEvents", "logs:GetLogEvents"], f"{GROUP}:/aws/lambda/open:*"),))
BARE = Key("bare", (statement("logs:*", f"{GROUP}:/aws/lambda/open"),))
DENIED = Key("denied", (statement("logs:*"), statement("logs:Filter*", f"{GROUP}:/aws/lambda/open:*", "Deny")))
NONE = Key("none", (statement("lambda:*"),))


def logs_client(url: str, key: Key) -> Any:
    return signing_client("logs", url, key)


def signing_client(service: str, url: str, key: Key) -> Any:
    return session_of("us-east-1").client(
        service,
        endpoint_url=url,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that checks signatures, with the functions ``open`` and ``closed`` that have logged."""
    folder = tmp_path_factory.mktemp("logs")
    write_keys(folder / "keys.json", (FULL, ONE, BARE, DENIED, NONE))
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    client = FULL.client(running.url)
    for name in ("open", "closed"):
        create(client, name, "def handler(event, context):\n    print('said', event)\n")
        client.invoke(FunctionName=name, Payload=b'"hello"')
    yield running
    client.close()
    running.close()


@pytest.fixture
def reading(kept: RunningService) -> Iterator[Callable[[Key], Any]]:
    made: list[Any] = []

    def make(key: Key) -> Any:
        made.append(logs_client(kept.url, key))
        return made[-1]

    yield make
    for client in made:
        client.close()


def filtered(client: Any, name: str, **members: Any) -> Any:
    return client.filter_log_events(logGroupName=f"/aws/lambda/{name}", **members)


@pytest.mark.parametrize("key", [ONE, BARE, FULL], ids=lambda key: key.user)
def test_a_policy_names_the_group_or_what_is_in_it(reading: Callable[[Key], Any], key: Key) -> None:
    assert [event["message"] for event in filtered(reading(key), "open", filterPattern="said")["events"]] == [
        "said hello\n"
    ]


@pytest.mark.parametrize(("key", "name"), [(ONE, "closed"), (BARE, "closed"), (DENIED, "open"), (NONE, "open")])
def test_who_may_not_read_is_refused(reading: Callable[[Key], Any], key: Key, name: str) -> None:
    status, code, message = refused(
        reading(key).filter_log_events, logGroupName=f"/aws/lambda/{name}", filterPattern="said"
    )
    assert (status, code) == (403, "AccessDeniedException")
    assert message is not None
    assert message.startswith(f"User: {key.arn} is not authorized to perform: logs:FilterLogEvents on resource: ")


def test_listing_groups_and_streams_is_allowed_by_itself(reading: Callable[[Key], Any]) -> None:
    assert len(reading(DENIED).describe_log_groups()["logGroups"]) == 2
    for operation, members in (("describe_log_groups", {}), ("describe_log_streams", {"logGroupName": "/x"})):
        assert refused(getattr(reading(ONE), operation), **members)[1] == "AccessDeniedException"


def test_a_signature_is_for_logs_only(kept: RunningService, reading: Callable[[Key], Any]) -> None:
    client = logs_client(kept.url, FULL)
    client._request_signer._credentials.secret_key = "wrong"
    assert refused(client.describe_log_groups)[1] == "InvalidSignatureException"
    client.close()
    target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    answer = send(kept.url, "POST", "/", b"{}", target)
    assert (answer.status, answer.json["__type"]) == (403, "MissingAuthenticationTokenException")
    # A request signed for logs must not become one of the Lambda API by its path.
    wrong = signing_client("lambda", kept.url, FULL)
    wrong._request_signer._signing_name = "logs"
    code = refused(wrong.list_functions)[1]
    wrong.close()
    assert code == "InvalidSignatureException"


class Terminal:
    """Somebody who types ``aws logs ...``."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": FULL.access_key_id,
            "AWS_SECRET_ACCESS_KEY": FULL.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def __call__(self, *arguments: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [str(AWS), "--output", "json", "logs", *arguments],
            env=self._environ,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def test_the_command_line_reads_logs(kept: RunningService, tmp_path: Path) -> None:
    aws = Terminal(kept.url, tmp_path)
    group = ("--log-group-name", "/aws/lambda/open")
    status, found, errors = aws("filter-log-events", *group, "--filter-pattern", "said -END", "--max-items", "5")
    assert (status, errors) == (0, "")
    assert [event["message"] for event in found["events"]] == ["said hello\n"]
    status, _, errors = aws("put-log-events", *group, "--log-stream-name", "x", "--log-events", "timestamp=1,message=x")
    assert status != 0
    assert "(NotImplementedException) when calling the PutLogEvents operation: The operation PutLogEvents is" in errors


def test_following_sees_every_event_once(kept: RunningService, reading: Callable[[Key], Any]) -> None:
    """The requests of ``aws logs tail --follow``: from the time of the newest event, whose ids are known."""
    client = reading(FULL)
    function = FULL.client(kept.url)
    start, seen, printed = 0, set[str](), list[str]()
    for number in range(4):
        function.invoke(FunctionName="open", Payload=json.dumps(f"follow-{number}").encode())
        for page in client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/open",
            startTime=start,
            interleaved=True,
            filterPattern="said",
            PaginationConfig={"PageSize": 2},
        ):
            fresh = [event for event in page["events"] if event["eventId"] not in seen]
            printed += [event["message"].rstrip() for event in fresh]
            seen |= {event["eventId"] for event in fresh}
            start = max([start, *(event["timestamp"] for event in fresh)])
    function.close()
    assert [text for text in printed if "follow-" in text] == [f"said follow-{number}" for number in range(4)]
    assert len(printed) == len(seen)
