"""Functions that are written with the framework call one another: on a real service, on both Python runtimes."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.forms import in_full
from tests.service.framework_support import Project
from tests.service.harness import RunningService, until

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = itertools.count(1)
TRACE = "Root=1-5e6a5e6a-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"

# What a callee knows of its call.
TOLD = """
from venturekit.runtime import handler

@handler(status=200)
def main(body, ctx):
    return {
        "body": body,
        "method": ctx.method,
        "path": ctx.path,
        "params": ctx.path_params,
        "query": ctx.query_lists,
        "internal": ctx.is_internal,
        "invokeId": ctx.invoke_id,
        "tenant": ctx.tenant and ctx.tenant.id,
        "user": ctx.user and ctx.user.id,
        "scopes": ctx.user and ctx.user.scopes,
        "traceId": ctx.trace_id,
        "headers": {name: value for name, value in ctx.headers.items() if name.startswith("x-venturekit-")},
    }
"""
# A caller: what to call and how is in its event.
CALLER = """
from venturekit.runtime import InvokeError, invoke, task_handler
from venturekit.runtime.context import TenantContext, UserContext

@task_handler
def main(event, ctx):
    ctx.tenant, ctx.user = TenantContext("acme"), UserContext("u-1", scopes=["all"])
    try:
        result = invoke(*event.get("target", []), **event.get("options", {}))
    except InvokeError as error:
        return {"error": error.kind, "type": type(error).__name__, "message": str(error), "details": error.details}
    own = {"traceId": ctx.trace_id, "status": result.status_code, "data": result.data, "failure": result.error}
    return {**own, "headers": result.headers, "fallback": result.is_fallback}
"""
ASYNC_CALLER = (
    CALLER.replace("def main", "async def main")
    .replace("invoke(*", "await ainvoke(*")
    .replace("InvokeError, invoke", "InvokeError, ainvoke")
)


@pytest.fixture(scope="module", params=["ric", *in_full("awslambdaric")])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service for each of the two ways to run Python functions: the archives are the same."""
    made = RunningService(tmp_path_factory.mktemp("framework") / "data", python_runtime=request.param)
    yield made
    made.close()


@pytest.fixture
def project(running: RunningService) -> Iterator[Project]:
    functions = running.functions()
    yield Project(functions, f"app{next(_NUMBERS)}")
    functions.delete_all()


@pytest.fixture(params=[CALLER, ASYNC_CALLER], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest, project: Project) -> str:
    return project.function("caller", request.param)


def ask(project: Project, caller: str, /, *target: Any, **options: Any) -> Any:
    """What a caller says of its call."""
    outcome = project.functions.invoke(caller, {"target": target, "options": options})
    assert outcome.error is None, outcome.raw
    return outcome.value


@pytest.mark.parametrize("running", ["ric", "awslambdaric"], indirect=True)
def test_a_route_is_called_with_all_that_belongs_to_it(project: Project, caller: str) -> None:
    project.route("users/{id}", TOLD)
    options = {"method": "PUT", "path_params": {"id": "4 2/ü"}, "query_params": {"a": ["1", "x,y"], "b": True}}
    told = ask(project, caller, "users/{id}", **options, body={"name": "Älice"})
    data = told["data"]
    assert told["status"] == 200
    assert (data["method"], data["params"], data["body"]) == ("PUT", {"id": "4 2/ü"}, {"name": "Älice"})
    assert data["path"] == "/users/4 2/ü"
    assert data["query"] == {"a": ["1", "x,y"], "b": ["true"]}
    assert (data["internal"], data["tenant"], data["user"], data["scopes"]) == (True, "acme", "u-1", [])
    assert data["traceId"] == told["traceId"]
    assert data["headers"] == {
        "x-venturekit-source": "internal",
        "x-venturekit-invoke-id": data["invokeId"],
        "x-venturekit-tenant-id": "acme",
        "x-venturekit-user-id": "u-1",
    }
    assert "x-venturekit-envelope" not in told["headers"]


def test_what_is_given_explicitly_wins(project: Project, caller: str) -> None:
    project.route("told", TOLD)
    data = ask(project, caller, "told", trace=TRACE, tenant_id="other", user_id="u-2", headers={"X-Own": "1"})["data"]
    assert (data["tenant"], data["user"]) == ("other", "u-2")
    assert data["traceId"] == "1-5e6a5e6a-0123456789abcdef01234567"


def test_a_function_gets_its_payload_and_the_same_context(project: Project, caller: str) -> None:
    project.function(
        "process-orders",
        """
from venturekit.runtime import task_handler

@task_handler
def main(event, ctx):
    return {"event": event, "internal": ctx.is_internal, "tenant": ctx.tenant.id, "user": ctx.user.id,
            "traceId": ctx.trace_id, "invokeId": ctx.invoke_id, "name": ctx.function_name}
""",
    )
    told = ask(project, caller, function="process-orders", payload={"orderId": "abc", "items": [1]})
    data = told["data"]
    assert data["event"] == {"orderId": "abc", "items": [1]}
    assert (data["internal"], data["tenant"], data["user"]) == (True, "acme", "u-1")
    assert data["traceId"] == told["traceId"]
    assert data["name"] == f"{project.name}-dev-fn-process-orders"
    assert len(data["invokeId"]) == 36


def test_another_project_is_called_by_its_name(project: Project, caller: str) -> None:
    billing = Project(project.functions, f"billing{next(_NUMBERS)}")
    billing.function("send-invoice", "def main(event, context): return {'sent': event['orderId']}")
    billing.route("invoices", TOLD)
    target = {"function": "send-invoice", "project": billing.name}
    assert ask(project, caller, target, payload={"orderId": "123"})["data"] == {"sent": "123"}
    assert ask(project, caller, "invoices", project=billing.name)["data"]["internal"] is True


def test_a_call_that_nobody_waits_for_is_an_event(project: Project, caller: str, running: RunningService) -> None:
    project.route("notifications/send", TOLD + "\n_main = main\ndef main(e, c):\n  print('TOLD', _main(e, c)['body'])")
    name = f"{project.name}-notifications-send"
    told = ask(project, caller, "notifications/send", mode="async", body={"message": "Hello!"})
    assert (told["status"], told["data"]) == (202, None)
    (line,) = until(
        lambda: [line for line in project.functions.log_lines(name) if line.startswith("TOLD ")], "the event has run"
    )
    data = json.loads(line.removeprefix("TOLD "))["data"]
    assert (data["body"], data["internal"], data["tenant"]) == ({"message": "Hello!"}, True, "acme")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise NotFoundError('Task', '123')", {"status": 404, "data": None}),
        ("return Response('plain', 200, {'Content-Type': 'text/plain'})", {"status": 200, "data": "plain"}),
        ("return Response(b'\\x00\\xff')", {"error": "x"}),
        ("return no_content()", {"status": 204, "data": None}),
        ("return stream(iter(['one ', 'two']), 'text/plain')", {"status": 200, "data": "one two"}),
        ("raise ValueError('secret')", {"error": "server_status", "details": {"code": "INTERNAL_ERROR"}}),
        ("import os; os._exit(3)", {"error": "function_error"}),
        ("import asyncio\n    return asyncio.run(asyncio.sleep(0, 'a loop'))", {"status": 201, "data": "a loop"}),
        ("return {'statusCode': 200, 'body': 'bare'}", {"status": 200, "data": "bare"}),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_a_route_answers(project: Project, source: str, expected: dict[str, Any]) -> None:
    caller = project.function("caller", CALLER.replace("result.data,", "as_text(result.data),") + AS_TEXT)
    project.route("told", f"from venturekit.runtime import *\n@handler\ndef main(body, ctx):\n    {source}\n")
    told = ask(project, caller, "told")
    if expected == {"error": "x"}:
        assert told["data"] == repr(b"\x00\xff")
        return
    for name, value in expected.items():
        if name == "details":
            assert told["details"]["code"] == value["code"]
            assert "secret" not in json.dumps(told)
        else:
            assert told[name] == value, told


AS_TEXT = """
def as_text(value):
    return repr(value) if isinstance(value, bytes) else value
"""


def test_targets_that_do_not_answer(project: Project, caller: str) -> None:
    assert ask(project, caller, "missing")["type"] == "TargetNotFoundError"
    closed = project.function("closed", "def main(event, context): pass")
    project.functions.client.put_function_concurrency(FunctionName=closed, ReservedConcurrentExecutions=0)
    assert ask(project, caller, function="closed")["type"] == "ThrottledError"
    instead = {"statusCode": 503, "data": [], "headers": {}}
    told = ask(project, caller, function="closed", fallback=instead)
    assert (told["status"], told["data"], told["fallback"]) == (503, [], True)
    project.function("garbage", "def main(event, context): return 'no response'")
    project.route("garbage", "def main(event, context): return 'no response'")
    assert ask(project, caller, "garbage")["type"] == "BadResponseError"


def test_a_call_never_waits_past_the_callers_own_end(project: Project) -> None:
    caller = project.function("caller", CALLER, Timeout=2)
    project.function("sleeper", "import threading\ndef main(event, context): threading.Event().wait()", Timeout=30)
    told = ask(project, caller, function="sleeper")
    assert (told["error"], told["type"]) == ("timeout", "InvokeTimeoutError")


def test_five_failures_open_the_circuit(project: Project, caller: str) -> None:
    failing = project.function("failing", "def main(event, context):\n  print('RAN')\n  raise ValueError('no')")
    for _ in range(8):
        told = ask(project, caller, function="failing", fallback="instead")
        assert (told["status"], told["data"]) == (503, "instead")
    assert sum(line.strip() == "RAN" for line in project.functions.log_lines(failing)) == 5
