"""CloudWatch Logs over the captured logs: boto3's ``logs`` client on the service's own address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.service.harness import FunctionSet, send, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import RunningService

SOURCE = """
import json
def handler(event, context):
    for line in event if isinstance(event, list) else [event]:
        print(json.dumps(line) if isinstance(line, dict) else line)
"""
VIOLATED = "1 validation error detected:"
UNMET = "failed to satisfy constraint:"
UNMATCHED = f"{UNMET} Member must satisfy regular expression pattern:"
HEADERS = {"Content-Type": "application/x-amz-json-1.1"}


def logs_client(url: str, *keys: str) -> Any:
    options: dict[str, Any] = {"retries": {"total_max_attempts": 1}}
    if not keys:
        options["signature_version"] = UNSIGNED
    return session_of("us-east-1", *keys).client("logs", endpoint_url=url, config=Config(**options))


@pytest.fixture
def logs(shared_service: RunningService) -> Iterator[Any]:
    client = logs_client(shared_service.url)
    yield client
    client.close()


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def group_of(name: str) -> str:
    return f"/aws/lambda/{name}"


def texts(page: Any) -> list[str]:
    return [event["message"].rstrip("\n") for event in page["events"]]


def said(functions: FunctionSet, *lines: Any, **members: Any) -> str:
    """A function that has printed these lines in one invocation; its name."""
    name = functions.create(SOURCE, **members)
    functions.invoke(name, list(lines))
    return name


def test_groups_are_listed_once_they_have_logged(functions: FunctionSet, logs: Any) -> None:
    name = functions.create(SOURCE)
    assert logs.describe_log_groups(logGroupNamePrefix=group_of(name))["logGroups"] == []
    functions.invoke(name, "x")
    (group,) = logs.describe_log_groups(logGroupNamePrefix=group_of(name))["logGroups"]
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group_of(name)}"
    assert (group["arn"], group["logGroupArn"], group["logGroupName"]) == (f"{arn}:*", arn, group_of(name))
    assert group["storedBytes"] > 0
    assert group["creationTime"] > 1_700_000_000_000
    assert logs.describe_log_groups(logGroupNamePattern=name)["logGroups"] == [group]
    assert logs.describe_log_groups(logGroupIdentifiers=[group_of(name)])["logGroups"] == [group]
    assert logs.describe_log_groups(logGroupNamePattern=name, logGroupClass="DELIVERY")["logGroups"] == []


def test_groups_come_in_pages(functions: FunctionSet, logs: Any) -> None:
    names = sorted(group_of(said(functions, n)) for n in range(3))
    paginator = logs.get_paginator("describe_log_groups")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 2}))
    listed = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    assert listed == sorted(listed)
    assert set(names) <= set(listed)
    assert all(len(page["logGroups"]) <= 2 for page in pages)


def test_a_stream_is_an_environment(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "one")
    (stream,) = logs.describe_log_streams(logGroupName=group_of(name))["logStreams"]
    assert stream["logStreamName"].rpartition("]")[0].endswith("/[$LATEST")
    assert stream["firstEventTimestamp"] <= stream["lastEventTimestamp"] == stream["lastIngestionTime"]
    version = functions.publish(name)
    functions.invoke(name, "two", Qualifier=version)
    by_time = logs.describe_log_streams(logGroupName=group_of(name), orderBy="LastEventTime", descending=True)
    assert "/[1]" in by_time["logStreams"][0]["logStreamName"]
    prefix = stream["logStreamName"].partition("$LATEST")[0] + "$LATEST"
    found = logs.describe_log_streams(logGroupName=group_of(name), logStreamNamePrefix=prefix)["logStreams"]
    assert [each["logStreamName"] for each in found] == [stream["logStreamName"]]
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=group_of(name), orderBy="LastEventTime", PaginationConfig={"PageSize": 1}
    )
    assert [each["logStreamName"] for page in pages for each in page["logStreams"]] == [
        each["logStreamName"] for each in reversed(by_time["logStreams"])
    ]
    code, message, _ = refusal(
        logs.describe_log_streams, logGroupName=group_of(name), orderBy="LastEventTime", logStreamNamePrefix="2"
    )
    assert (code, message) == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )


def test_events_are_those_of_the_log_in_its_order(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, *[f"line {n}" for n in range(50)])
    functions.invoke(name, "again")
    (stream,) = logs.describe_log_streams(logGroupName=group_of(name))["logStreams"]
    read = logs.get_log_events(logGroupName=group_of(name), logStreamName=stream["logStreamName"], startFromHead=True)
    filtered = logs.filter_log_events(logGroupName=group_of(name))
    assert [event["message"] for event in read["events"]] == functions.log_lines(name)
    assert [event["message"] for event in filtered["events"]] == functions.log_lines(name)
    assert len({event["eventId"] for event in filtered["events"]}) == len(filtered["events"])
    times = [event["timestamp"] for event in filtered["events"]]
    assert times == sorted(times)
    assert filtered["searchedLogStreams"] == []
    assert "nextToken" not in filtered


def test_events_are_read_forwards_and_backwards(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, *range(20))
    (stream,) = logs.describe_log_streams(logGroupName=group_of(name))["logStreams"]
    of = {"logGroupName": group_of(name), "logStreamName": stream["logStreamName"], "limit": 7}
    whole = functions.log_lines(name)
    latest = logs.get_log_events(**of)
    assert [event["message"] for event in latest["events"]] == whole[-7:]
    backwards, page = list(latest["events"]), latest
    while page["events"]:
        page = logs.get_log_events(**of, nextToken=page["nextBackwardToken"])
        backwards = page["events"] + backwards
    assert [event["message"] for event in backwards] == whole
    forwards, token = [], None
    while True:
        page = logs.get_log_events(**of, startFromHead=True, **({"nextToken": token} if token else {}))
        if page["nextForwardToken"] == token:
            break
        forwards += page["events"]
        token = page["nextForwardToken"]
    assert [event["message"] for event in forwards] == whole
    functions.invoke(name, ["new"])
    assert "new" in texts(logs.get_log_events(**of, startFromHead=True, nextToken=token))


def test_a_time_range_has_its_start_and_its_end(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "x")
    (stream,) = logs.describe_log_streams(logGroupName=group_of(name))["logStreams"]
    of = {"logGroupName": group_of(name)}
    events = logs.filter_log_events(**of)["events"]
    first, last = events[0]["timestamp"], events[-1]["timestamp"]
    assert logs.filter_log_events(**of, startTime=first, endTime=last)["events"] == events
    assert logs.filter_log_events(**of, startTime=last + 1)["events"] == []
    assert logs.filter_log_events(**of, endTime=first - 1)["events"] == []
    read = {**of, "logStreamName": stream["logStreamName"], "startFromHead": True}
    upto = logs.get_log_events(**read, endTime=last)["events"]
    assert [each["timestamp"] for each in upto] == [each["timestamp"] for each in events if each["timestamp"] < last]
    empty = logs.get_log_events(**read, startTime=last + 1)
    functions.invoke(name, "later")
    after = logs.get_log_events(**read, nextToken=empty["nextForwardToken"])
    assert "later" in texts(after)
    assert refusal(logs.filter_log_events, **of, startTime=2, endTime=1)[0] == "InvalidParameterException"


def test_pages_of_filtered_events_have_a_limit(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, *[f"line {n}" for n in range(25)])
    paginator = logs.get_paginator("filter_log_events")
    pages = list(
        paginator.paginate(logGroupName=group_of(name), filterPattern="line", PaginationConfig={"PageSize": 10})
    )
    assert [len(page["events"]) for page in pages][:2] == [10, 10]
    assert [text for page in pages for text in texts(page)] == [f"line {n}" for n in range(25)]
    newest = logs.filter_log_events(
        logGroupName=group_of(name), filterPattern="line", startFromHead=False, startTime=1_704_067_200_000, limit=2
    )
    assert texts(newest) == ["line 24", "line 23"]
    older = logs.filter_log_events(
        logGroupName=group_of(name), filterPattern="line", nextToken=newest["nextToken"], limit=1
    )
    assert texts(older) == ["line 22"]


def test_a_page_holds_one_megabyte(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, *["x" * 100_000] * 15)
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group_of(name)))
    sizes = [sum(len(event["message"]) for event in page["events"]) for page in pages]
    assert len(sizes) == 2
    assert max(sizes) <= 1024 * 1024
    assert sum(sizes) >= 1_500_000


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ERROR", ["[ERROR 400] BAD REQUEST", '{"level": "ERROR", "ms": 120}']),
        ("ERROR REQUEST", ["[ERROR 400] BAD REQUEST"]),
        ('"BAD REQUEST"', ["[ERROR 400] BAD REQUEST"]),
        ("?BAD ?INFO", ["[ERROR 400] BAD REQUEST", '{"level": "INFO", "ms": 8}']),
        ("ERROR -BAD", ['{"level": "ERROR", "ms": 120}']),
        ('{ $.level = "ERROR" && $.ms > 100 }', ['{"level": "ERROR", "ms": 120}']),
        ("[code = ERROR*, word, rest]", ["[ERROR 400] BAD REQUEST"]),
    ],
)
def test_events_are_filtered(functions: FunctionSet, logs: Any, pattern: str, expected: list[str]) -> None:
    name = said(functions, "[ERROR 400] BAD REQUEST", {"level": "ERROR", "ms": 120}, {"level": "INFO", "ms": 8})
    assert texts(logs.filter_log_events(logGroupName=group_of(name), filterPattern=pattern)) == expected


def test_a_pattern_that_cannot_be_read_is_explained(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "x")
    for pattern, reason in (
        ("a=b", "Invalid character(s) in term 'a=b'"),
        ("%[0-9]%", "regular expressions (%...%) are not served here"),
        ("{ $.a ~ 1 }", "stands where one of = != < <= > >= IS, NOT EXISTS has to be"),
    ):
        code, message, status = refusal(logs.filter_log_events, logGroupName=group_of(name), filterPattern=pattern)
        assert (code, status) == ("InvalidParameterException", 400)
        assert reason in message


def test_events_of_some_streams(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "latest")
    version = functions.publish(name)
    functions.invoke(name, "numbered", Qualifier=version)
    streams = [each["logStreamName"] for each in logs.describe_log_streams(logGroupName=group_of(name))["logStreams"]]
    (numbered,) = (stream for stream in streams if "[1]" in stream)
    of = {"logGroupName": group_of(name), "filterPattern": "?latest ?numbered", "interleaved": True}
    assert texts(logs.filter_log_events(**of)) == ["latest", "numbered"]
    assert texts(logs.filter_log_events(**of, logStreamNames=[numbered])) == ["numbered"]
    assert texts(logs.filter_log_events(**of, logStreamNamePrefix=numbered[:-3])) == ["numbered"]
    assert texts(logs.filter_log_events(**of, logStreamNamePrefix="nothing")) == []
    both = refusal(logs.filter_log_events, **of, logStreamNames=[numbered], logStreamNamePrefix="2")
    assert both[0] == "InvalidParameterException"


def test_a_log_group_of_ones_own_holds_several_functions(functions: FunctionSet, logs: Any) -> None:
    config = {"LogGroup": "/shared/by-both"}
    names = [said(functions, f"from {n}", LoggingConfig=config) for n in range(2)]
    assert texts(logs.filter_log_events(logGroupName="/shared/by-both", filterPattern="from")) == ["from 0", "from 1"]
    streams = logs.describe_log_streams(logGroupName="/shared/by-both")["logStreams"]
    assert sorted(stream["logStreamName"].partition("[")[0].rpartition("/")[2] for stream in streams) == sorted(names)
    assert refusal(logs.filter_log_events, logGroupName=group_of(names[0]))[0] == "ResourceNotFoundException"


def test_a_log_outlives_its_function(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "last words")
    functions.client.delete_function(FunctionName=name)
    assert texts(logs.filter_log_events(logGroupName=group_of(name), filterPattern="words")) == ["last words"]


@pytest.mark.parametrize(
    ("operation", "members", "code", "message"),
    [
        (
            "describe_log_streams",
            {"logGroupName": "/none"},
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        (
            "get_log_events",
            {"logGroupName": "/none", "logStreamName": "x"},
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        (
            "filter_log_events",
            {"logGroupIdentifier": "arn:aws:logs:us-east-1:999999999999:log-group:/aws/lambda/x"},
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
        (
            "filter_log_events",
            {},
            "InvalidParameterException",
            "Exactly one of the parameters logGroupName and logGroupIdentifier must be specified.",
        ),
        (
            "filter_log_events",
            {"logGroupName": "/none", "nextToken": "none"},
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        ),
        (
            "describe_log_groups",
            {"nextToken": "none"},
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        ),
        (
            "describe_log_groups",
            {"limit": 51},
            "InvalidParameterException",
            f"{VIOLATED} Value '51' at 'limit' {UNMET} Member must have value less than or equal to 50",
        ),
        (
            "describe_log_streams",
            {"logGroupName": "not a name"},
            "InvalidParameterException",
            f"{VIOLATED} Value 'not a name' at 'logGroupName' {UNMATCHED} [\\.\\-_/#A-Za-z0-9]+",
        ),
    ],
)
def test_requests_are_refused_as_on_aws(
    logs: Any, operation: str, members: dict[str, Any], code: str, message: str
) -> None:
    assert refusal(getattr(logs, operation), **members) == (code, message, 400)


def test_a_stream_that_is_not_there(functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "x")
    found = refusal(logs.get_log_events, logGroupName=group_of(name), logStreamName="none")
    assert found == ("ResourceNotFoundException", "The specified log stream does not exist.", 400)


def test_what_is_not_served_says_so(logs: Any) -> None:
    code, message, status = refusal(logs.create_log_group, logGroupName="/x")
    assert (code, status) == ("NotImplementedException", 501)
    assert message.startswith(
        "The operation CreateLogGroup is not served here: DescribeLogGroups, DescribeLogStreams, FilterLogEvents, "
        "GetLogEvents are. docs/logs.md"
    )
    query = refusal(logs.start_query, logGroupName="/x", startTime=0, endTime=1, queryString="fields @message")
    assert query[0] == "NotImplementedException"


@pytest.mark.parametrize(
    ("target", "body", "status", "kind"),
    [
        ("Logs_20140328.NoSuchOperation", b"{}", 400, "UnknownOperationException"),
        ("Logs_20140328.DescribeLogGroups", b"{", 400, "SerializationException"),
        ("Logs_20140328.DescribeLogGroups", b'{"limit": "x"}', 400, "SerializationException"),
        ("Logs_20140328.DescribeLogGroups", b"[]", 400, "SerializationException"),
        ("Logs_20140328.DescribeLogGroups", b'{"a":"' + b"x" * 300_000 + b'"}', 413, "RequestEntityTooLargeException"),
        ("Logs_20140328.PutLogEvents", b'{"a":"' + b"x" * 300_000 + b'"}', 501, "NotImplementedException"),
        ("Logs_20140328.DescribeLogGroups", b"", 200, None),
    ],
)
def test_bad_requests_have_the_form_of_the_protocol(
    shared_service: RunningService, target: str, body: bytes, status: int, kind: str | None
) -> None:
    answer = send(shared_service.url, "POST", "/", body, {**HEADERS, "X-Amz-Target": target})
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/x-amz-json-1.1")
    assert answer.json.get("__type") == kind
    assert answer.headers["x-amzn-RequestId"]


def test_a_web_page_cannot_read_logs(shared_service: RunningService) -> None:
    headers = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Origin": "http://page.test"}
    answer = send(shared_service.url, "POST", "/", b"{}", headers)
    assert (answer.status, answer.json["__type"]) == (403, "AccessDeniedException")


def test_accounts_see_their_own_logs(shared_service: RunningService, functions: FunctionSet, logs: Any) -> None:
    name = said(functions, "mine")
    other = logs_client(shared_service.url, "777777777777", "any-secret")
    assert other.describe_log_groups()["logGroups"] == []
    assert refusal(other.filter_log_events, logGroupName=group_of(name))[0] == "ResourceNotFoundException"
    other.close()


def test_logs_are_read_after_a_restart(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    where = {"data_dir": tmp_path / "data", "log_dir": tmp_path / "logs"}
    first = start_service(**where)
    functions = first.functions()
    kept = said(functions, "before the restart")
    shared = said(functions, "shared before", LoggingConfig={"LogGroup": "/my/group"})
    gone = said(functions, "of a deleted one")
    first.client.delete_function(FunctionName=gone)
    first.close()
    second = start_service(**where)
    logs = logs_client(second.url)
    listed = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    assert listed == sorted([group_of(kept), group_of(gone), "/my/group"])
    for group, text in ((group_of(kept), "before the restart"), (group_of(gone), "of a deleted one")):
        assert texts(logs.filter_log_events(logGroupName=group, filterPattern=f'"{text}"')) == [text]
    second.functions().invoke(shared, "shared after")
    assert texts(logs.filter_log_events(logGroupName="/my/group", filterPattern="shared")) == [
        "shared before",
        "shared after",
    ]
    logs.close()
