"""``invoke()`` in tests: handlers by name, failures on demand, what was sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime import (
    InvokeError,
    ainvoke,
    create_invoker,
    current_context,
    handler,
    invoke,
    stream,
    task_handler,
)
from venturekit.runtime.invocation.errors import (
    AccessDeniedError,
    FunctionFailedError,
    InvokeTimeoutError,
    ServerStatusError,
    TargetNotFoundError,
    ThrottledError,
    TransportError,
)
from venturekit.testing import Client, FakeInvoker, http_api_event

if TYPE_CHECKING:
    from venturekit.testing import ManualClock


@handler(access_log=False)
def get_user(_body: Any, ctx: Any) -> Any:
    return {"id": ctx.path_params["id"], "tenant": ctx.tenant and ctx.tenant.id, "user": ctx.user and ctx.user.id}


@task_handler(task_log=False)
async def double(event: Any, ctx: Any) -> Any:
    await asyncio.sleep(0)
    return {"total": event["count"] * 2, "tenant": ctx.tenant and ctx.tenant.id, "name": ctx.function_name}


def test_a_route_and_a_function(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_route("users/{id}", get_user)
    vk_invoker.add_function("double", double)
    assert invoke("users/{id}", method="GET", path_params={"id": 1}, tenant_id="t", user_id="u").data == {
        "id": "1",
        "tenant": "t",
        "user": "u",
    }
    found = invoke(function="double", payload={"count": 2}, tenant_id="t").data
    assert found == {"total": 4, "tenant": "t", "name": "test-project-test-fn-double"}
    route, function = vk_invoker.calls
    assert (route.name, route.target, route.mode) == ("test-project-users-_id_", "route users/{id}", "sync")
    assert function.custom["venturekit"]["tenantId"] == "t"
    assert vk_invoker.calls_of("double") == [function]
    assert vk_invoker.calls_of("users/{id}") == [route]
    assert vk_invoker.calls_of("test-project-users-_id_") == [route]


def test_within_an_event_loop(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_route("users/{id}", get_user)
    vk_invoker.add_function("double", double)

    async def scene() -> None:
        assert (await ainvoke("users/{id}", method="GET", path_params={"id": 1})).data["id"] == "1"
        assert (await ainvoke(function="double", payload={"count": 2})).data["total"] == 4
        # A call that waits works as well, in a loop of its own.
        assert invoke(function="double", payload={"count": 3}).data["total"] == 6

    asyncio.run(scene())


def test_a_handler_that_calls_another(vk_invoker: FakeInvoker) -> None:
    @handler(access_log=False)
    def outer(_body: Any, ctx: Any) -> Any:
        data = invoke("users/{id}", method="GET", path_params={"id": "7"}).data
        return {"inner": data, "still": current_context() is ctx}

    vk_invoker.add_route("users/{id}", get_user)
    response = Client(outer).get("/", claims={"sub": "alice"})
    # The one who asks is passed on, and nothing else of the caller's context is.
    assert response.data == {"inner": {"id": "7", "tenant": None, "user": "alice"}, "still": True}


def test_the_caller_is_not_seen_by_a_plain_function(vk_invoker: FakeInvoker) -> None:
    seen: list[Any] = []
    vk_invoker.add_function("plain", lambda _event, _context: seen.append(current_context()))

    async def aplain(_event: Any, _context: Any) -> None:
        seen.append(current_context())

    vk_invoker.add_function("aplain", aplain)

    @handler(access_log=False)
    def outer() -> None:
        invoke(function="plain")
        invoke(function="aplain")

    @handler(access_log=False)
    async def aouter() -> None:
        await ainvoke(function="plain")
        await ainvoke(function="aplain")

    for main in (outer, aouter):
        assert Client(main).get("/").status_code == 200
    assert seen == [None] * 4


def test_values_instead_of_handlers(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_route("users/list", returns=[1, 2])
    vk_invoker.add_route("users/{id}", returns={"code": "NOT_FOUND", "message": "no"}, status=404)
    vk_invoker.add_route("broken", returns={"message": "no"}, status=503)
    vk_invoker.add_function("job", returns=None)
    vk_invoker.add("somebody-elses", returns=3)
    assert invoke("users/list", method="GET").data == [1, 2]
    missing = invoke("users/{id}", method="GET", path_params={"id": "1"})
    assert (missing.status_code, missing.error["code"]) == (404, "NOT_FOUND")
    with pytest.raises(ServerStatusError):
        invoke("broken", method="GET")
    assert invoke(function="job").data is None
    named = create_invoker(invoker=vk_invoker, resolver=lambda _target: "somebody-elses")
    assert named(function="any").data == 3
    assert asyncio.run(ainvoke("users/list", method="GET")).data == [1, 2]


def test_one_handler_for_each_method(vk_invoker: FakeInvoker) -> None:
    async def delete(_event: Any, _context: Any) -> Any:
        return {"statusCode": 204}

    vk_invoker.add_route("users/{id}", {"GET": get_user, "delete": delete})
    assert invoke("users/{id}", method="GET", path_params={"id": "1"}).data["id"] == "1"
    assert invoke("users/{id}", method="DELETE", path_params={"id": "1"}).status_code == 204
    with pytest.raises(FunctionFailedError, match="has no PUT, but GET, DELETE"):
        invoke("users/{id}", method="PUT", path_params={"id": "1"})
    vk_invoker.add_route("sync", {"GET": lambda _event, _context: {"statusCode": 200}})
    assert invoke("sync", method="GET").status_code == 200


@pytest.mark.parametrize(
    ("raises", "kind"),
    [
        ("throttled", ThrottledError),
        ("timeout", InvokeTimeoutError),
        ("not_found", TargetNotFoundError),
        ("access_denied", AccessDeniedError),
        ("transport", TransportError),
        (InvokeError("any"), InvokeError),
        (LookupError("from inside"), FunctionFailedError),
    ],
)
def test_failures_on_demand(vk_invoker: FakeInvoker, raises: Any, kind: type[InvokeError]) -> None:
    vk_invoker.add_function("job", raises=raises)
    with pytest.raises(kind) as caught:
        invoke(function="job")
    assert type(caught.value) is kind
    with pytest.raises(kind):
        asyncio.run(ainvoke(function="job"))
    assert [type(call.error) for call in vk_invoker.calls] == [
        type(raises) if not isinstance(raises, str) else kind
    ] * 2
    assert invoke(function="job", fallback={"statusCode": 503, "data": "instead"}).data == "instead"


def test_a_target_that_fails_a_few_times(vk_invoker: FakeInvoker, vk_clock: ManualClock) -> None:
    vk_invoker.add_function("job", returns="done", raises="throttled", times=2)
    before_ms = vk_clock.epoch_ms
    assert invoke(function="job", retries=2).data == "done"
    assert len(vk_invoker.calls) == 3
    assert vk_clock.epoch_ms > before_ms


def test_a_function_that_fails(vk_invoker: FakeInvoker) -> None:
    def broken(_event: Any, _context: Any) -> None:
        raise LookupError("inside")

    vk_invoker.add_function("broken", broken)
    with pytest.raises(FunctionFailedError, match="LookupError: inside") as caught:
        invoke(function="broken")
    assert caught.value.details == {"errorMessage": "inside", "errorType": "LookupError", "stackTrace": []}
    assert isinstance(vk_invoker.calls[0].error, LookupError)


def test_calls_that_nobody_waits_for(vk_invoker: FakeInvoker) -> None:
    seen: list[Any] = []
    vk_invoker.add_function("job", lambda event, _context: seen.append(event))
    vk_invoker.add_function("broken", lambda _event, _context: 1 // 0)
    vk_invoker.add_function("value", returns=1)
    for name in ("job", "broken", "value"):
        result = invoke(function=name, payload={"a": 1}, mode="async")
        assert (result.status_code, result.data) == (202, None)
        assert asyncio.run(ainvoke(function=name, payload={"a": 1}, mode="async")).status_code == 202
    assert seen == [{"a": 1}] * 2
    assert [type(call.error) for call in vk_invoker.calls[2:4]] == [ZeroDivisionError] * 2
    assert {call.mode for call in vk_invoker.calls} == {"async"}


def test_a_target_that_is_not_registered(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_function("known", returns=1)
    with pytest.raises(TargetNotFoundError, match=r"test-project-none is not .*: test-project-test-fn-known are"):
        invoke("none")
    assert vk_invoker.calls[0].target is None


def test_the_last_registration_counts(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_function("job", returns=1)
    vk_invoker.add_function("job", returns=2)
    assert invoke(function="job").data == 2


def test_other_projects(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_function("send-invoice", project="billing", returns="sent")
    vk_invoker.add_route("invoices", project="billing", returns=[])
    assert invoke(function="send-invoice", project="billing").data == "sent"
    assert invoke("invoices", project="billing", method="GET").data == []
    with pytest.raises(TargetNotFoundError):
        invoke(function="send-invoice")


def test_bodies_that_were_sent(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_route("a", returns=None)
    for body in ({"x": 1}, "text", None):
        invoke("a", body=body)
    assert [call.body for call in vk_invoker.calls] == [{"x": 1}, "text", None]


def test_a_streamed_response_is_collected(vk_invoker: FakeInvoker) -> None:
    vk_invoker.add_route("report", handler(lambda: stream(iter(["a", "b"]), "text/plain"), access_log=False))
    assert invoke("report", method="GET").data == "ab"


def test_names_without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VENTURE_PROJECT_NAME", raising=False)
    fake = FakeInvoker()
    call = create_invoker(invoker=fake, resolver=fake.name_of)
    with pytest.raises(ValueError, match=r"FakeInvoker\(project="):
        call("a")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "needs a handler"),
        ({"raises": "explodes"}, "is no failure: throttled"),
        ({"handler": 3}, "is no function"),
        ({"handler": get_user, "returns": 1}, "or what it returns"),
        ({"returns": 1, "times": 1}, "how often it raises"),
        ({"raises": "timeout", "times": 1}, "needs a handler"),
    ],
)
def test_registrations_that_make_no_sense(options: dict[str, Any], what: str) -> None:
    with pytest.raises((TypeError, ValueError), match=what):
        FakeInvoker().add_function("job", **options)


def test_the_event_of_invoke_and_of_the_builder_are_equal_field_by_field(vk_invoker: FakeInvoker) -> None:
    given: dict[str, Any] = {"method": "PUT", "path_params": {"id": "a b/ü"}, "body": {"x": "ä", "n": [1, None]}}
    vk_invoker.add_route("users/{id}", returns=None)
    invoke("users/{id}", query_params={"q": ["1", "2&"]}, headers={"X-One": "1"}, tenant_id="t", user_id="u", **given)
    sent = vk_invoker.calls[0].payload
    context = sent["requestContext"]
    built = http_api_event(
        route="users/{id}",
        query={"q": ["1", "2&"]},
        headers={"x-one": "1"},
        internal=True,
        tenant_id="t",
        user_id="u",
        api_id=context["apiId"],
        account_id=context["accountId"],
        request_id=context["requestId"],
        time_epoch_ms=context["timeEpoch"],
        **given,
    )
    assert built == sent
    assert list(built) == list(sent)
