"""``vk sources``: a queue invokes a function, as long as the mapping is there and enabled."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.conftest import serving
from tests.service.harness import until
from tests.service.stand_in import ACCOUNT, REGION, stand_ins
from venturekit.cli import main, source_words

OUT = """
import json
def handler(event, context):
    print("GOT", json.dumps([record["body"] for record in event["Records"]]))
"""
ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"


@pytest.fixture(scope="module")
def stand_in():
    yield from stand_ins()


@pytest.fixture(scope="module")
def sourced(stand_in, tmp_path_factory):
    """A service whose queues are moto's, with the function ``consumer``."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "app.py").write_text(OUT)
    options = ("--account-id", ACCOUNT, "--region", REGION)
    with serving(folder, *options, env=stand_in.environ()) as served:
        assert served.vk("functions", "create", "consumer", str(folder / "app.py"), "--timeout", "1").status == 0
        yield served


class Here:
    """``vk sources`` in this process, which is faster."""

    def __init__(self, url, capsys):
        self._url = url
        self._capsys = capsys

    def __call__(self, *arguments):
        status = main(["sources", *arguments])
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    def json(self, *arguments):
        status, out, err = self(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def sources(sourced, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("AWS_", "VENTUREKIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", sourced.url)
    here = Here(sourced.url, capsys)
    yield here
    for mapping in here.json("list"):
        assert here("delete", mapping["UUID"], "--no-wait")[0] == 0


def test_a_mapping_comes_changes_and_goes(sources, sourced, stand_in):
    queue = stand_in.queue("orders", VisibilityTimeout="10")
    made = sources.json("create", "consumer", "orders", "--batch-size", "5", "--max-concurrency", "3")
    uuid = made["UUID"]
    assert (made["EventSourceArn"], made["State"], made["BatchSize"]) == (queue, "Enabled", 5)
    stand_in.sqs.send_message(QueueUrl=stand_in._url(queue), MessageBody="hello")
    until(lambda: sources.json("show", uuid).get("LastProcessingResult") == "OK", "it went well", pause_seconds=0.01)
    assert b'GOT ["hello"]' in sourced.vk("logs", "consumer").out

    status, out, _ = sources("list", "--function", "consumer")
    assert (status, out) == (0, f"{uuid}\t{queue}\tconsumer\tEnabled\t5\tOK\n")
    assert sources("list", "--queue", f"{queue}-other")[1] == ""

    pattern = '{"body": {"kind": ["order"]}}'
    options = ("--batch-size", "20", "--window", "1", "--filter", pattern, "--report-batch-item-failures")
    changed = sources.json("update", uuid[:8], *options, "--max-concurrency", "0", "--disable")
    assert (changed["State"], changed["BatchSize"], changed["MaximumBatchingWindowInSeconds"]) == ("Disabled", 20, 1)
    assert changed["FilterCriteria"] == {"Filters": [{"Pattern": pattern}]}
    assert changed["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "ScalingConfig" not in changed

    status, out, err = sources(
        "update", uuid, "--no-filter", "--no-report-batch-item-failures", "--batch-size", "10", "--window", "0"
    )
    assert (status, err) == (0, "")
    rows = dict(line.split("\t") for line in out.splitlines())
    assert (rows["id"], rows["state"], rows["batch size"]) == (uuid, "Disabled", "10")
    assert not {"filter", "reports", "window", "maximum concurrency"} & set(rows)

    assert sources.json("update", uuid, "--enable")["State"] == "Enabled"
    assert sources("delete", uuid) == (0, "", "")
    assert sources("show", uuid)[0] == 3
    assert sources("delete", uuid[:8])[0] == 3


def test_a_mapping_that_is_made_disabled_and_its_filter_from_a_file(sources, stand_in, tmp_path):
    arn = stand_in.queue("later", VisibilityTimeout="10")
    (tmp_path / "filter.json").write_text('{"body": ["refresh"]}\n')
    made = sources.json(
        "create", "consumer:$LATEST", arn, "--disabled", "--no-wait", "--filter", f"@{tmp_path / 'filter.json'}"
    )
    assert made["FilterCriteria"] == {"Filters": [{"Pattern": '{"body": ["refresh"]}'}]}
    until(lambda: sources.json("show", made["UUID"])["State"] == "Disabled", "it is disabled", pause_seconds=0.01)
    again = sources("create", "consumer:$LATEST", arn)
    assert (again[0], made["UUID"] in again[2], "(vk sources update changes it)" in again[2]) == (1, True, True)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("create", "consumer", "nowhere"), 1, "AWS.SimpleQueueService.NonExistentQueue"),
        (("create", "nobody", "nowhere"), 3, "Function not found"),
        (("create", "nobody", f"{ARN}nowhere"), 1, "Function does not exist"),
        (("create", "consumer", "http://queue/nowhere"), 2, "give the ARN of the queue, or its name alone"),
        (("create", "consumer", "arn:aws:kinesis:us-east-1:123456789012:stream/s"), 1, "it polls Amazon SQS queues"),
        (("create", "consumer", f"{ARN}q", "--filter", "[]"), 2, "--filter []: must be a JSON object, such as"),
        (("create", "consumer", f"{ARN}q", "--filter", "@missing"), 2, "--filter @missing: No such file"),
        (("create", "consumer", f"{ARN}q", "--filter", '{"body": "x"}'), 1, "Invalid filter pattern definition"),
        (("create", "consumer", f"{ARN}q", "--batch-size", "20"), 1, "window in seconds must be greater than 0"),
        (("create", "consumer", f"{ARN}q", "--batch-size", "0"), 2, "--batch-size"),
        (("create", "consumer", f"{ARN}q", "--max-concurrency", "1"), 2, "--max-concurrency"),
        (("update", "12345678", "--disable"), 3, "there is no mapping 12345678: vk sources list shows those there are"),
        (("update", "12345678-1234-1234-1234-123456789012", "--disable"), 3, "ResourceNotFoundException"),
        (("update", "12345678"), 2, "say what changes, such as --batch-size 100 or --disable"),
        (("update", "12345678", "--filter", "{}", "--no-filter"), 2, "--filter and --no-filter exclude each other"),
        (("update", "12345678", "--max-concurrency", "1"), 2, "must be 2 to 1000, or 0 for no limit"),
        (("show", "orders"), 2, "'orders' is no UUID of a mapping, nor 8 or more characters of one"),
        (("delete", "1234567"), 2, "vk sources list shows them"),
        (("list", "--queue", "no arn"), 1, "ValidationException"),
    ],
)
def test_what_goes_wrong_is_said(sources, arguments, status, says):
    found = sources(*arguments)
    assert (found[0], found[1]) == (status, ""), found
    assert says in found[2]
    assert "Traceback" not in found[2]


def test_a_row_on_a_terminal_is_short():
    mapping = {
        "UUID": "12345678-1234-1234-1234-123456789012",
        "EventSourceArn": f"{ARN}orders",
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:consumer:live",
        "State": "Enabled",
        "BatchSize": 10,
    }
    assert source_words.list_row(mapping, narrow=True) == ["12345678", "orders", "consumer:live", "Enabled", "10", ""]
