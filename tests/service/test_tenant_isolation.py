"""Functions with TenancyConfig: an execution environment is one tenant's alone."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import ROLE, send, until, zip_of
from venturekit.service.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

TENANCY = {"TenantIsolationMode": "PER_TENANT"}
INVALID = "InvalidParameterValueException"
SOURCE = """
import logging, os, pathlib, tempfile, time

seen = []

def handler(event, context):
    seen.append(context.tenant_id)
    mark = pathlib.Path(tempfile.gettempdir(), "mark")
    found = mark.read_text() if mark.exists() else None
    mark.write_text(context.tenant_id)
    logging.getLogger().warning("told")
    if "ledger" in event:
        with open(event["ledger"], "a") as ledger:
            ledger.write(context.tenant_id + "\\n")
    if "hold" in event:
        while os.path.exists(event["hold"]):
            time.sleep(0.01)
    if "crash" in event:
        os._exit(1)
    custom = context.client_context.custom if context.client_context else None
    return {"pid": os.getpid(), "seen": seen, "mark": found, "custom": custom}
"""


@pytest.fixture
def isolated(functions: FunctionSet) -> str:
    return functions.create(SOURCE, TenancyConfig=TENANCY)


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error.get("Message") or caught.value.response.get("message", "")


# --- configuration ------------------------------------------------------------------------------------------------


def test_it_is_shown_wherever_a_configuration_is(functions: FunctionSet) -> None:
    client = functions.client
    members = {"FunctionName": "tenants-shown", "Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE}
    made = client.create_function(**members, Code={"ZipFile": zip_of({"app.py": SOURCE})}, TenancyConfig=TENANCY)
    functions.names.append("tenants-shown")
    functions.wait_active("tenants-shown")
    name = {"FunctionName": "tenants-shown"}
    published = client.publish_version(**name)
    listed = [each for each in client.list_functions()["Functions"] if each["FunctionName"] == "tenants-shown"]
    versions = client.list_versions_by_function(**name)["Versions"]
    updated = client.update_function_configuration(**name, MemorySize=256)
    shown = [
        made,
        published,
        updated,
        *(*listed, *versions),
        client.get_function(**name)["Configuration"],
        client.get_function_configuration(**name, Qualifier="1"),
    ]
    assert [each["TenancyConfig"] for each in shown] == [TENANCY] * 8


def test_it_cannot_be_changed(functions: FunctionSet, isolated: str) -> None:
    plain = functions.create(SOURCE)
    for name, expected in ((plain, None), (isolated, TENANCY)):
        for tenancy in ({}, None, TENANCY):
            body = json.dumps({"MemorySize": 256, "TenancyConfig": tenancy}).encode()
            answer = send(
                functions.url,
                "PUT",
                f"/2015-03-31/functions/{name}/configuration",
                body,
                {"X-Amz-Client": "test", "Content-Type": "application/json"},
            )
            assert answer.status == 200
            functions.wait_updated(name)
            found = functions.client.get_function_configuration(FunctionName=name)
            assert (found.get("TenancyConfig"), found["MemorySize"]) == (expected, 256)


@pytest.mark.parametrize(
    ("tenancy", "text"),
    [({"TenantIsolationMode": "SHARED"}, "tenantIsolationMode"), ({}, "tenantIsolationMode")],
)
def test_there_is_one_mode(functions: FunctionSet, tenancy: dict[str, str], text: str) -> None:
    body = {
        "FunctionName": "never-there",
        "Runtime": "python3.13",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
        "TenancyConfig": tenancy,
    }
    answer = send(functions.url, "POST", "/2015-03-31/functions", json.dumps(body).encode(), {"X-Amz-Client": "test"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert text in answer.json["message"]


def test_what_does_not_go_with_it(functions: FunctionSet, isolated: str) -> None:
    client = functions.client
    version = functions.publish(isolated)
    client.create_alias(FunctionName=isolated, Name="live", FunctionVersion=version)
    for qualifier in ({}, {"Qualifier": "live"}):
        code, text = refusal(client.create_function_url_config, FunctionName=isolated, AuthType="NONE", **qualifier)
        assert (code, "a function URL" in text) == (INVALID, True)
    for qualifier in ("live", version):
        code, text = refusal(
            client.put_provisioned_concurrency_config,
            FunctionName=isolated,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=1,
        )
        assert (code, "provisioned concurrency" in text) == (INVALID, True)
    code, text = refusal(
        client.create_event_source_mapping,
        FunctionName=isolated,
        EventSourceArn="arn:aws:sqs:us-east-1:000000000000:queue",
    )
    assert (code, "tenant isolation" in text) == (INVALID, True)


def test_no_snap_start_is_turned_on_later(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, TenancyConfig=TENANCY, Runtime="python3.13")
    code, text = refusal(
        functions.client.update_function_configuration,
        FunctionName=name,
        SnapStart={"ApplyOn": "PublishedVersions"},
    )
    assert (code, text) == (INVALID, "TenancyConfig is not supported for SnapStart enabled functions.")


# --- who may be asked for whom ------------------------------------------------------------------------------------


def test_a_tenant_must_be_named(functions: FunctionSet, isolated: str) -> None:
    client = functions.client
    for _ in range(2):
        for kind in ("RequestResponse", "Event", "DryRun"):
            code, text = refusal(client.invoke, FunctionName=isolated, InvocationType=kind)
            assert code == INVALID
            assert "X-Amz-Tenant-Id" in text
        assert refusal(client.invoke_with_response_stream, FunctionName=isolated)[0] == INVALID
        assert refusal(client.invoke_async, FunctionName=isolated, InvokeArgs=b"{}")[0] == INVALID
        # What was found out for a tenant's sake is not true for those who name none.
        assert functions.invoke(isolated, TenantId="blue").error is None


def test_no_tenant_is_named_to_others(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    for kind in ("RequestResponse", "Event", "DryRun"):
        code, text = refusal(functions.client.invoke, FunctionName=name, InvocationType=kind, TenantId="blue")
        assert (code, "TenancyConfig" in text) == (INVALID, True)
    assert refusal(functions.client.invoke_with_response_stream, FunctionName=name, TenantId="blue")[0] == INVALID


def test_names_that_no_tenant_has(functions: FunctionSet, isolated: str) -> None:
    for tenant in ("", " ", "a#b", "a" * 257, "a\tb", "\xe9"):
        answer = functions.post(isolated, X_Amz_Tenant_Id=tenant)
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException"), tenant
        assert "tenantId" in answer.json["message"]


def test_names_that_a_tenant_may_have(functions: FunctionSet, isolated: str) -> None:
    for tenant in ("a" * 256, "a b", "Az09._:/=+-@"):
        assert functions.invoke(isolated, TenantId=tenant).value["seen"] == [tenant]


# --- apart --------------------------------------------------------------------------------------------------------


def test_tenants_share_nothing_and_keep_what_is_theirs(functions: FunctionSet, isolated: str) -> None:
    turns = ["blue", "red", "Blue", "blue", "red", "blue"]
    found = [functions.invoke(isolated, TenantId=tenant).value for tenant in turns]
    assert [each["seen"] for each in found] == [
        ["blue"],
        ["red"],
        ["Blue"],
        ["blue", "blue"],
        ["red", "red"],
        ["blue", "blue", "blue"],
    ]
    assert [each["mark"] for each in found] == [None, None, None, "blue", "red", "blue"]
    pids = {tenant: {each["pid"] for each, of in zip(found, turns, strict=True) if of == tenant} for tenant in turns}
    assert len(set.union(*pids.values())) == sum(map(len, pids.values())) == 3


def test_what_a_crash_leaves_is_its_tenants_and_goes_with_the_function(leak_free: FunctionSet) -> None:
    name = leak_free.create(SOURCE, TenancyConfig=TENANCY)
    for tenant in ("blue", "red"):
        assert leak_free.invoke(name, {"crash": True}, TenantId=tenant).value["errorType"] == "Runtime.ExitError"
    found = {tenant: leak_free.invoke(name, TenantId=tenant).value for tenant in ("green", "red")}
    assert {tenant: (each["seen"], each["mark"]) for tenant, each in found.items()} == {
        "green": (["green"], None),
        "red": (["red"], "red"),
    }


def test_versions_and_aliases_have_tenants(functions: FunctionSet, isolated: str) -> None:
    version = functions.publish(isolated)
    functions.client.create_alias(FunctionName=isolated, Name="live", FunctionVersion=version)
    latest = functions.invoke(isolated, TenantId="blue")
    first = functions.invoke(isolated, TenantId="blue", Qualifier=version)
    second = functions.invoke(isolated, TenantId="blue", Qualifier="live")
    assert first.value["pid"] == second.value["pid"] != latest.value["pid"]
    assert (latest.version, first.version, second.version) == ("$LATEST", version, version)


def test_a_client_context_goes_along(functions: FunctionSet, isolated: str) -> None:
    found = functions.post(isolated, X_Amz_Tenant_Id="blue", X_Amz_Client_Context="eyJjdXN0b20iOnsiYSI6IjEifX0=")
    assert found.json["custom"] == {"a": "1"}
    assert found.json["seen"] == ["blue"]


def test_events_are_for_tenants(functions: FunctionSet, isolated: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    payload = json.dumps({"ledger": str(ledger)})
    for tenant in ("blue", "red", "blue"):
        functions.client.invoke(FunctionName=isolated, InvocationType="Event", Payload=payload, TenantId=tenant)
    until(lambda: len(ledger.read_text().split()) == 3, "all events have run")
    assert sorted(ledger.read_text().split()) == ["blue", "blue", "red"]
    until(lambda: "blue" in functions.invoke(isolated, TenantId="blue").value["seen"], "the tenant's environment")
    assert set(functions.invoke(isolated, TenantId="red").value["seen"]) == {"red"}
    listed = send(functions.url, "GET", f"/_venturekit/events?function={isolated}", headers={"X-Amz-Client": "test"})
    assert sorted(event["tenantId"] for event in listed.json["events"]) == ["blue", "blue", "red"]


def test_a_flood_of_events_for_one_tenant_does_not_delay_another(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    functions = start_service(async_concurrency=2).functions()
    name = functions.create(SOURCE, TenancyConfig=TENANCY, Timeout=60)
    ledger, hold = tmp_path / "ledger", tmp_path / "hold"
    ledger.touch()
    hold.touch()

    def put(tenant: str, **event: str) -> None:
        payload = json.dumps({"ledger": str(ledger), **event})
        functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, TenantId=tenant)

    for _ in range(10):
        put("blue", hold=str(hold))
    until(lambda: ledger.read_text() == "blue\n" * 2, "as many run as may")
    for _ in range(3):
        put("red")
    until(lambda: ledger.read_text() == "blue\n" * 2 + "red\n" * 3, "those of the other tenant have run")
    hold.unlink()
    until(lambda: ledger.read_text().count("blue") == 10, "the others run when those have ended")


def test_events_outlive_the_service_with_their_tenants(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service(tmp_path / "data")
    functions = first.functions()
    name = functions.create(SOURCE, TenancyConfig=TENANCY)
    first.do(first.service._asynchronous.stop)
    ledger = tmp_path / "ledger"
    ledger.touch()
    payload = json.dumps({"ledger": str(ledger)})
    first.client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, TenantId="blue")
    first.close()
    assert ledger.read_text() == ""
    start_service(tmp_path / "data")
    until(ledger.read_text, "the event has run")
    assert ledger.read_text() == "blue\n"


def test_streams_are_for_tenants(functions: FunctionSet) -> None:
    source = "def handler(event, context):\n    yield context.tenant_id\n"
    name = functions.create(source, TenancyConfig=TENANCY)
    for tenant in ("blue", "red"):
        stream = functions.client.invoke_with_response_stream(FunctionName=name, TenantId=tenant)["EventStream"]
        pieces = [each["PayloadChunk"]["Payload"] for each in stream if "PayloadChunk" in each]
        assert b"".join(pieces) == tenant.encode()


def test_records_of_others_are_no_events_of_a_tenant(shared_service: RunningService, isolated: str) -> None:
    functions = shared_service.functions()
    source = functions.create(SOURCE)
    arns = [f"arn:aws:lambda:us-east-1:000000000000:function:{name}" for name in (source, isolated)]
    with pytest.raises(ApiError) as caught:
        shared_service.do(lambda: shared_service.service._check_invocable(*arns))
    assert caught.value.code == INVALID
    functions.delete_all()


# --- logs ---------------------------------------------------------------------------------------------------------


def test_the_log_names_the_tenant(functions: FunctionSet) -> None:
    logging = {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}
    name = functions.create(SOURCE, TenancyConfig=TENANCY, LoggingConfig=logging)
    outcome = functions.invoke(name, TenantId="blue")
    records = [json.loads(line) for line in outcome.log.splitlines()]
    kinds = {record["type"]: record["record"].get("tenantId") for record in records if "type" in record}
    assert kinds == dict.fromkeys(("platform.start", "platform.runtimeDone", "platform.report"), "blue")
    assert [each["tenantId"] for each in records if each.get("message") == "told"] == ["blue"]
    init = [json.loads(line) for line in functions.log_lines(name) if "platform.init" in line]
    assert init
    assert not any("tenantId" in each["record"] for each in init)


# --- other runtimes -----------------------------------------------------------------------------------------------


def test_awss_own_client_knows_the_tenant(start_service: Callable[..., RunningService]) -> None:
    functions = start_service(python_runtime="awslambdaric").functions()
    name = functions.create(SOURCE, TenancyConfig=TENANCY)
    assert [functions.invoke(name, TenantId=tenant).value["seen"] for tenant in ("blue", "red", "blue")] == [
        ["blue"],
        ["red"],
        ["blue", "blue"],
    ]


def test_node_knows_the_tenant(functions: FunctionSet) -> None:
    assert shutil.which("node"), "the tests of Node.js functions need node"
    source = (
        "const seen = []; exports.handler = async (event, context) => { seen.push(context.tenantId); return seen; };"
    )
    name = functions.create(
        files={"index.js": source}, Runtime="nodejs22.x", Handler="index.handler", TenancyConfig=TENANCY
    )
    turns = ("blue", "red", "blue")
    found = [functions.invoke(name, TenantId=tenant) for tenant in turns]
    assert [each.value for each in found] == [["blue"], ["red"], ["blue", "blue"]]


# --- many tenants -------------------------------------------------------------------------------------------------


def test_tenants_at_the_same_time(functions: FunctionSet, isolated: str) -> None:
    turns = [f"tenant-{number % 6}" for number in range(36)]
    with ThreadPoolExecutor(12) as threads:
        found = [*threads.map(lambda tenant: functions.invoke(isolated, TenantId=tenant).value, turns)]
    assert [set(each["seen"]) for each in found] == [{tenant} for tenant in turns]
    assert all(each["mark"] in (None, tenant) for each, tenant in zip(found, turns, strict=True))


def test_many_tenants_leave_few_environments(start_service: Callable[..., RunningService]) -> None:
    running = start_service(concurrency=2)
    functions = running.functions()
    name = functions.create(SOURCE, TenancyConfig=TENANCY)
    other = functions.create("def handler(event, context):\n    return 1\n")
    functions.invoke(other)
    host = running.service._host
    for number in range(8):
        assert functions.invoke(name, TenantId=f"tenant-{number}").value["seen"] == [f"tenant-{number}"]
        pools = running.do(lambda: [(pool.spec.tenant_id, len(pool.environments)) for pool in host.pools.values()])
        assert sum(count for tenant, count in pools if tenant) == min(number + 1, 5)
        # That of the function without tenants is nobody's to push out.
        assert [count for tenant, count in pools if not tenant] == [1]
    # Those who came last are still there, and those who came first begin anew.
    assert len(functions.invoke(name, TenantId="tenant-7").value["seen"]) == 2
    assert len(functions.invoke(name, TenantId="tenant-0").value["seen"]) == 1
    # Of tenants without environments nothing is kept.
    until(lambda: running.do(lambda: len(host.pools)) == 6, "the pools of those that are gone are forgotten")
