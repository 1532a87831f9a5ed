"""Provisioned concurrency through boto3: environments that are initialised before anybody invokes."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import until, wait_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
# Tells who it is and how it was started; holds on while the file of the event's "hold" is there.
WHO = """
import os, time
PID = os.getpid()
TYPE = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
def handler(event, context):
    if event.get("exit"):
        os._exit(3)
    if "hold" in event:
        with open(event["hold"] + "/" + context.aws_request_id, "w"):
            pass
        while os.path.exists(event["hold"]):
            time.sleep(0.005)
    return {"pid": PID, "type": TYPE, "version": context.function_version}
"""
PROVISIONED = "provisioned-concurrency"
SHOWN = ("Status", "RequestedProvisionedConcurrentExecutions", "AllocatedProvisionedConcurrentExecutions")


class Lab:
    """One function with provisioned concurrency on one service."""

    def __init__(self, functions: FunctionSet, source: str = WHO, **members: Any) -> None:
        self.functions = functions
        self.client = functions.client
        self.name = functions.create(source, **members)
        self.version = functions.publish(self.name)

    def alias(self, name: str, version: str, weights: dict[str, float] | None = None) -> None:
        routing = {"AdditionalVersionWeights": weights or {}}
        if name in [each["Name"] for each in self.client.list_aliases(FunctionName=self.name)["Aliases"]]:
            self.client.update_alias(FunctionName=self.name, Name=name, FunctionVersion=version, RoutingConfig=routing)
        else:
            self.client.create_alias(FunctionName=self.name, Name=name, FunctionVersion=version, RoutingConfig=routing)

    def next_version(self, marker: str) -> str:
        self.functions.update(self.name, f"{WHO}\n# {marker}\n")
        return self.functions.publish(self.name)

    def put(self, qualifier: str, executions: int) -> Any:
        return self.client.put_provisioned_concurrency_config(
            FunctionName=self.name, Qualifier=qualifier, ProvisionedConcurrentExecutions=executions
        )

    def get(self, qualifier: str) -> Any:
        return self.client.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier=qualifier)

    def delete(self, qualifier: str) -> Any:
        return self.client.delete_provisioned_concurrency_config(FunctionName=self.name, Qualifier=qualifier)

    def becomes(self, qualifier: str, status: str) -> Any:
        def found() -> Any:
            answer = self.get(qualifier)
            return answer if answer["Status"] == status else None

        return until(found, f"{qualifier} becomes {status}", pause_seconds=0.01)

    def ready(self, qualifier: str, executions: int) -> None:
        self.put(qualifier, executions)
        self.becomes(qualifier, "READY")

    def who(self, qualifier: str, **event: Any) -> Any:
        return self.functions.invoke(self.name, event, Qualifier=qualifier).value

    def unreserved(self) -> int:
        limit = self.client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        assert isinstance(limit, int)
        return limit


class Hold:
    """Invocations of WHO that stay until they are let go."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.threads = ThreadPoolExecutor(16)
        self.futures: list[Any] = []

    def invoke(self, qualifier: str, count: int) -> None:
        self.folder.mkdir(exist_ok=True)
        begun = len(self.futures) + count
        self.futures += [self.threads.submit(self.lab.who, qualifier, hold=str(self.folder)) for _ in range(count)]
        until(lambda: len(os.listdir(self.folder)) == begun, f"{begun} invocations run")

    def end(self) -> list[Any]:
        if self.folder.exists():
            # Renamed first: nobody writes into it any more, and nobody finds it.
            self.folder.rename(self.folder.with_name("over"))
        return [future.result(20) for future in self.futures]


@pytest.fixture
def lab(functions: FunctionSet) -> Lab:
    return Lab(functions, Timeout=20)


@pytest.fixture
def hold(lab: Lab, tmp_path: Path) -> Iterator[Hold]:
    held = Hold(lab, tmp_path / "hold")
    yield held
    if held.folder.exists():
        held.end()
    held.threads.shutdown()


def refused(call: Callable[..., Any], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(*arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


# --- the life of a configuration ------------------------------------------------------------------------------------


def test_environments_are_initialised_before_anybody_invokes(lab: Lab) -> None:
    put = lab.put(lab.version, 2)
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert [put[member] for member in SHOWN] == ["IN_PROGRESS", 2, 0]
    assert put["AvailableProvisionedConcurrentExecutions"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", put["LastModified"])
    ready = lab.becomes(lab.version, "READY")
    assert [ready[member] for member in SHOWN] == ["READY", 2, 2]
    assert ready["AvailableProvisionedConcurrentExecutions"] == 2
    assert ready["LastModified"] == put["LastModified"]
    assert "StatusReason" not in ready
    outcome = lab.functions.invoke(lab.name, {}, Qualifier=lab.version)
    assert (outcome.value["type"], outcome.value["version"]) == (PROVISIONED, lab.version)
    # Its init phase was over before, and has a line of its own.
    assert "Init Duration" not in outcome.log
    lines = "".join(lab.functions.log_lines(lab.name)).splitlines()
    assert len([line for line in lines if re.fullmatch(r"INIT_REPORT .*\tPhase: init\tStatus: success", line)]) == 2


def test_the_json_log_tells_how_it_was_initialised(functions: FunctionSet) -> None:
    lab = Lab(functions, LoggingConfig={"LogFormat": "JSON"})
    lab.ready(lab.version, 1)
    events = [json.loads(line) for line in "".join(functions.log_lines(lab.name)).splitlines()]
    assert [(event["type"], event["record"]["initializationType"]) for event in events] == [
        ("platform.initStart", PROVISIONED),
        ("platform.initReport", PROVISIONED),
    ]
    lab.who("$LATEST")
    events = [json.loads(line) for line in "".join(functions.log_lines(lab.name)).splitlines()]
    assert [event["record"]["initializationType"] for event in events if event["type"] == "platform.initStart"] == [
        PROVISIONED,
        "on-demand",
    ]


def test_configurations_are_listed_in_pages(lab: Lab) -> None:
    lab.alias("live", lab.version)
    other = lab.next_version("2")
    lab.put("live", 1)
    lab.put(other, 1)
    pages = lab.client.get_paginator("list_provisioned_concurrency_configs").paginate(
        FunctionName=lab.name, PaginationConfig={"PageSize": 1}
    )
    listed = [config for page in pages for config in page["ProvisionedConcurrencyConfigs"]]
    assert [config["FunctionArn"] for config in listed] == [f"{ARN}:{lab.name}:{other}", f"{ARN}:{lab.name}:live"]
    lab.becomes(other, "READY")
    assert (
        lab.client.list_provisioned_concurrency_configs(FunctionName=lab.name)["ProvisionedConcurrencyConfigs"][0][
            "Status"
        ]
        == "READY"
    )
    assert lab.delete("live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert lab.delete("live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    left = lab.client.list_provisioned_concurrency_configs(FunctionName=lab.name)["ProvisionedConcurrencyConfigs"]
    assert [config["FunctionArn"] for config in left] == [f"{ARN}:{lab.name}:{other}"]


def test_more_and_fewer(lab: Lab) -> None:
    lab.ready(lab.version, 3)
    pid = lab.who(lab.version)["pid"]
    lab.ready(lab.version, 1)
    answer = lab.get(lab.version)
    assert [answer[member] for member in SHOWN] == ["READY", 1, 1]
    # The one that rested last was kept.
    assert lab.who(lab.version)["pid"] == pid
    assert lab.put(lab.version, 2)["AllocatedProvisionedConcurrentExecutions"] == 1
    lab.becomes(lab.version, "READY")


# --- what is refused ------------------------------------------------------------------------------------------------


def test_latest_has_none(lab: Lab) -> None:
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    other = "The function resource provided must be an alias or a published version."
    assert refused(lab.put, "$LATEST", 1) == (400, "InvalidParameterValueException", unpublished)
    lab.alias("latest", "$LATEST")
    assert refused(lab.put, "latest", 1) == (400, "InvalidParameterValueException", unpublished)
    assert refused(lab.get, "$LATEST") == (400, "InvalidParameterValueException", other)
    assert refused(lab.delete, "$LATEST") == (400, "InvalidParameterValueException", other)


def test_what_is_not_there(lab: Lab) -> None:
    nothing = "No Provisioned Concurrency Config found for this function"
    assert refused(lab.get, lab.version) == (404, "ProvisionedConcurrencyConfigNotFoundException", nothing)
    for call in (lab.get, lab.delete, lambda qualifier: lab.put(qualifier, 1)):
        assert refused(call, "7") == (404, "ResourceNotFoundException", f"Function not found: {ARN}:{lab.name}:7")
        text = f"Cannot find alias arn: {ARN}:{lab.name}:gone"
        assert refused(call, "gone") == (404, "ResourceNotFoundException", text)
    lab.name = "nobody"
    assert refused(lab.put, "1", 1) == (404, "ResourceNotFoundException", f"Function not found: {ARN}:nobody:1")


def test_a_version_is_provisioned_by_itself_or_by_its_alias(lab: Lab) -> None:
    lab.alias("live", lab.version)
    lab.put(lab.version, 1)
    text = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    assert refused(lab.put, "live", 1) == (409, "ResourceConflictException", text)
    lab.delete(lab.version)
    lab.put("live", 1)
    text = "Version is pointed by a Provisioned Concurrency alias"
    assert refused(lab.put, lab.version, 1) == (409, "ResourceConflictException", text)


def test_an_alias_with_weights_is_refused(lab: Lab) -> None:
    lab.alias("split", lab.version, {lab.next_version("2"): 0.5})
    text = "Alias with weights can not be used with Provisioned Concurrency"
    assert refused(lab.put, "split", 1) == (400, "InvalidParameterValueException", text)


def test_reservations_and_the_account_bound_it(lab: Lab) -> None:
    client = lab.client
    free = lab.unreserved()
    client.put_function_concurrency(FunctionName=lab.name, ReservedConcurrentExecutions=2)
    text = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    assert refused(lab.put, lab.version, 3) == (400, "InvalidParameterValueException", text)
    lab.put(lab.version, 2)
    assert lab.unreserved() == free - 2
    text = " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    assert refused(lambda: client.put_function_concurrency(FunctionName=lab.name, ReservedConcurrentExecutions=1)) == (
        400,
        "InvalidParameterValueException",
        text,
    )
    client.delete_function_concurrency(FunctionName=lab.name)
    assert lab.unreserved() == free - 2
    text = (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100]."
    )
    assert refused(lab.put, lab.version, free - 99) == (400, "InvalidParameterValueException", text)
    text = f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}]."
    assert refused(lab.put, lab.version, free + 1) == (400, "InvalidParameterValueException", text)
    lab.delete(lab.version)
    assert lab.unreserved() == free


# --- invocations ----------------------------------------------------------------------------------------------------


def test_what_is_over_it_runs_on_demand(lab: Lab, hold: Hold) -> None:
    lab.ready(lab.version, 2)
    hold.invoke(lab.version, 4)
    kinds = sorted(value["type"] for value in hold.end())
    assert kinds == ["on-demand", "on-demand", PROVISIONED, PROVISIONED]
    # From now on those that are kept come first again.
    assert {lab.who(lab.version)["type"] for _ in range(6)} == {PROVISIONED}
    assert lab.who("$LATEST")["type"] == "on-demand"


def test_a_reservation_that_is_all_provisioned_throttles_the_rest(lab: Lab, hold: Hold) -> None:
    lab.client.put_function_concurrency(FunctionName=lab.name, ReservedConcurrentExecutions=2)
    lab.ready(lab.version, 2)
    for qualifier in ("$LATEST", ""):
        answer = lab.functions.post(lab.name, query=f"?Qualifier={qualifier}" if qualifier else "")
        assert (answer.status, answer.json["Reason"]) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
        assert int(answer.headers["Retry-After"]) >= 1
    hold.invoke(lab.version, 2)
    answer = lab.functions.post(lab.name, query=f"?Qualifier={lab.version}")
    assert (answer.status, answer.json["Reason"]) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
    assert {value["type"] for value in hold.end()} == {PROVISIONED}
    lab.client.put_function_concurrency(FunctionName=lab.name, ReservedConcurrentExecutions=3)
    assert lab.who("$LATEST")["type"] == "on-demand"


def test_it_is_set_aside_from_the_account(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    running = start_service(concurrency=104)
    lab = Lab(running.functions(), Timeout=20)
    lab.ready(lab.version, 4)
    counted = running.service._accounts.own.concurrency
    assert running.do(lambda: counted.unreserved_limit) == 100
    # Others have taken all that is not set aside.
    running.do(lambda: setattr(counted, "unreserved_running", 100))
    hold = Hold(lab, tmp_path / "hold")
    hold.invoke(lab.version, 4)
    answer = lab.functions.post(lab.name, query=f"?Qualifier={lab.version}")
    assert (answer.status, answer.json["Reason"]) == (429, "ConcurrentInvocationLimitExceeded")
    assert len(hold.end()) == 4
    hold.threads.shutdown()
    running.do(lambda: setattr(counted, "unreserved_running", counted.unreserved_running - 100))
    assert running.do(lambda: counted.running) == 0


# --- environments that end ------------------------------------------------------------------------------------------


def test_they_are_not_let_go_when_idle(start_service: Callable[..., RunningService]) -> None:
    running = start_service(idle_timeout=600)
    lab = Lab(running.functions())
    lab.ready(lab.version, 1)
    kept, other = lab.who(lab.version)["pid"], lab.who("$LATEST")["pid"]
    running.do(lambda: running.service._host.sweep(time.monotonic() + 5000))
    wait_gone([other])
    assert lab.who(lab.version)["pid"] == kept


def test_one_that_crashes_is_replaced(lab: Lab) -> None:
    lab.ready(lab.version, 1)
    pid = lab.who(lab.version)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_gone([pid])

    def replaced() -> bool:
        assert lab.get(lab.version)["Status"] == "READY"
        value = lab.who(lab.version)
        assert value["pid"] != pid
        return bool(value["type"] == PROVISIONED)

    # Meanwhile invocations run on demand.
    until(replaced, "it is replaced", pause_seconds=0.01)


def test_one_that_is_reset_is_replaced(lab: Lab) -> None:
    lab.ready(lab.version, 1)
    outcome = lab.functions.invoke(lab.name, {"exit": True}, Qualifier=lab.version)
    assert outcome.value["errorType"] == "Runtime.ExitError"
    until(lambda: lab.get(lab.version)["AvailableProvisionedConcurrentExecutions"], "it is replaced")
    assert lab.who(lab.version)["type"] == PROVISIONED


def test_an_init_that_fails(functions: FunctionSet, tmp_path: Path) -> None:
    flag = tmp_path / "works"
    lab = Lab(functions, f"import os\nassert os.path.exists({str(flag)!r})\n{WHO}")
    lab.put(lab.version, 2)
    failed = lab.becomes(lab.version, "FAILED")
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert (failed["AllocatedProvisionedConcurrentExecutions"], failed["RequestedProvisionedConcurrentExecutions"]) == (
        0,
        2,
    )
    # Nobody was answered with it, and invocations find out for themselves.
    outcome = functions.invoke(lab.name, {}, Qualifier=lab.version)
    assert outcome.error == "Unhandled"
    flag.touch()
    assert lab.put(lab.version, 2)["Status"] == "IN_PROGRESS"
    assert "StatusReason" not in lab.becomes(lab.version, "READY")


def test_a_long_init_is_no_failure(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    gate = running.data_dir / "gate"
    source = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n{WHO}"
    lab = Lab(running.functions(), source)
    lab.put(lab.version, 1)
    host = running.service._host

    def deadline() -> Any:
        return running.do(
            lambda: [each.deadline - each.started_at for each in host.environments.values() if each.provisioned]
        )

    assert until(deadline, "it begins") == [130.0]
    assert lab.get(lab.version)["Status"] == "IN_PROGRESS"
    gate.touch()
    lab.becomes(lab.version, "READY")


def test_a_machine_without_room(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    lab = Lab(running.functions())
    provisioner = running.service._host.provisioner
    running.do(lambda: setattr(provisioner, "_no_room", lambda: "the machine has 3 MB of memory left"))
    lab.put(lab.version, 2)
    failed = lab.becomes(lab.version, "FAILED")
    assert failed["StatusReason"] == "the machine has 3 MB of memory left"
    assert lab.who(lab.version)["type"] == "on-demand"


# --- versions, aliases and functions that change --------------------------------------------------------------------


def test_an_alias_that_moves_takes_it_along(lab: Lab) -> None:
    lab.alias("live", lab.version)
    lab.ready("live", 2)
    old = lab.who("live")["pid"]
    assert lab.who(lab.version)["type"] == PROVISIONED
    following = lab.next_version("2")
    lab.alias("live", following)
    lab.becomes("live", "READY")
    value = lab.who("live")
    assert (value["type"], value["version"]) == (PROVISIONED, following)
    wait_gone([old])
    assert lab.who(lab.version)["type"] == "on-demand"


def test_an_alias_with_weights_divides_it(lab: Lab) -> None:
    following = lab.next_version("2")
    lab.alias("live", lab.version)
    lab.ready("live", 4)
    lab.alias("live", lab.version, {following: 0.25})
    lab.becomes("live", "READY")
    assert {lab.who(version)["type"] for version in (lab.version, following)} == {PROVISIONED}
    host_pids = {lab.who(following)["pid"] for _ in range(3)}
    assert len(host_pids) == 1
    # To $LATEST nothing can be moved.
    lab.alias("live", "$LATEST")
    answer = lab.get("live")
    assert [answer[member] for member in SHOWN] == ["FAILED", 4, 0]
    assert (
        answer["StatusReason"] == "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )


def test_a_busy_one_goes_when_it_has_answered(lab: Lab, hold: Hold) -> None:
    lab.ready(lab.version, 1)
    hold.invoke(lab.version, 1)
    lab.delete(lab.version)
    (value,) = hold.end()
    assert value["type"] == PROVISIONED
    wait_gone([value["pid"]])


@pytest.mark.parametrize("what", ["config", "version", "alias", "function"])
def test_what_is_deleted_releases_it(leak_free: FunctionSet, what: str) -> None:
    lab = Lab(leak_free)
    free = lab.unreserved()
    qualifier = "live" if what == "alias" else lab.version
    lab.alias("live", lab.version) if what == "alias" else None
    lab.ready(qualifier, 2)
    pids = {lab.who(qualifier)["pid"]}
    assert lab.unreserved() == free - 2
    if what == "config":
        lab.delete(qualifier)
    elif what == "alias":
        lab.client.delete_alias(FunctionName=lab.name, Name="live")
    else:
        lab.client.delete_function(FunctionName=lab.name, **({"Qualifier": "1"} if what == "version" else {}))
    wait_gone(pids)
    assert lab.unreserved() == free


def test_a_restart_initialises_them_again(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    first = start_service(tmp_path / "data")
    lab = Lab(first.functions())
    lab.ready(lab.version, 2)
    before = lab.get(lab.version)
    first.close()
    second = start_service(tmp_path / "data")
    lab.functions = second.functions()
    lab.client = second.client
    after = lab.becomes(lab.version, "READY")
    assert {member: after[member] for member in (*SHOWN, "LastModified")} == {
        member: before[member] for member in (*SHOWN, "LastModified")
    }
    assert lab.who(lab.version)["type"] == PROVISIONED
    assert second.service._accounts.own.concurrency.unreserved_limit == 998


def test_events_of_a_version_use_it(lab: Lab, tmp_path: Path) -> None:
    lab.ready(lab.version, 1)
    folder = tmp_path / "hold"
    folder.mkdir()
    answer = lab.client.invoke(
        FunctionName=lab.name,
        Qualifier=lab.version,
        InvocationType="Event",
        Payload=f'{{"hold": "{folder}"}}'.encode(),
    )
    assert answer["StatusCode"] == 202
    until(lambda: os.listdir(folder), "the event runs")
    counted = lab.functions.invoke(lab.name, {}, Qualifier=lab.version).value
    assert counted["type"] == "on-demand"
    folder.rename(tmp_path / "over")
