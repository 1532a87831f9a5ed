"""A service with ``--credentials``: what unmodified boto3 may do with every kind of key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import (
    ECHO,
    OTHER,
    OWN,
    Key,
    arn,
    create,
    not_allowed,
    refused,
    send_signed,
    value_of,
    wait,
)
from tests.clients.guarded_keys import (
    CAREFUL,
    FULL,
    INVOKER,
    LASTING,
    NEIGHBOUR,
    NOBODY,
    QUALIFIED,
    READER,
    SESSION,
    STRANGER,
)
from tests.service.harness import PYTHON, ROLE, RunningService, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable

BY_DENY = "with an explicit deny in an identity-based policy"
INVOCATIONS = "/2015-03-31/functions/{}/invocations"


# --- what keys may do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [FULL, SESSION, LASTING], ids=lambda key: key.user)
def test_a_key_that_may_do_everything(client_for: Callable[..., Any], key: Key) -> None:
    client, name = client_for(key), f"of-{key.user}"
    create(client, name)
    assert value_of(client.invoke(FunctionName=name, Payload=b"[1]")) == [1]
    client.update_function_configuration(FunctionName=name, Timeout=7)
    wait(client, "function_updated_v2", FunctionName=name)
    assert client.get_function(FunctionName=name)["Configuration"]["Timeout"] == 7
    assert name in {item["FunctionName"] for item in client.list_functions()["Functions"]}
    client.delete_function(FunctionName=name)
    assert refused(client.get_function, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn(name)}",
    )


READS: dict[str, dict[str, Any]] = {
    "get_function": {"FunctionName": "target"},
    "get_function_configuration": {"FunctionName": "target", "Qualifier": "live"},
    "list_functions": {},
    "get_alias": {"FunctionName": "target", "Name": "live"},
}
WRITES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "create_function": (
        "CreateFunction",
        arn("new"),
        {"FunctionName": "new", "Runtime": PYTHON, "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": b"x"}},
    ),
    "update_function_code": ("UpdateFunctionCode", arn("target"), {"FunctionName": "target", "ZipFile": b"x"}),
    "update_function_configuration": (
        "UpdateFunctionConfiguration",
        arn("target"),
        {"FunctionName": arn("target"), "Timeout": 9},
    ),
    "publish_version": ("PublishVersion", arn("target"), {"FunctionName": "target"}),
    "create_alias": (
        "CreateAlias",
        arn("target"),
        {"FunctionName": "target", "Name": "other", "FunctionVersion": "1"},
    ),
    "delete_function": ("DeleteFunction", arn("target"), {"FunctionName": "target"}),
    "delete_function-version": ("DeleteFunction", arn("target:1"), {"FunctionName": "target", "Qualifier": "1"}),
    "invoke": ("InvokeFunction", arn("target"), {"FunctionName": "target"}),
    "invoke-version": ("InvokeFunction", arn("target:1"), {"FunctionName": "target:1"}),
    "invoke-alias": ("InvokeFunction", arn("target:live"), {"FunctionName": "target", "Qualifier": "live"}),
    "invoke-event": ("InvokeFunction", arn("target"), {"FunctionName": "target", "InvocationType": "Event"}),
}


@pytest.mark.parametrize("method", READS)
def test_a_key_that_may_only_read_reads(client_for: Callable[..., Any], method: str) -> None:
    answer = getattr(client_for(READER), method)(**READS[method])
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("case", WRITES)
def test_a_key_that_may_only_read_changes_nothing_and_runs_nothing(client_for: Callable[..., Any], case: str) -> None:
    action, resource, members = WRITES[case]
    before = client_for(FULL).get_function_configuration(FunctionName="target")["RevisionId"]
    call = getattr(client_for(READER), case.partition("-")[0])
    assert refused(call, **members) == not_allowed(READER, action, resource)
    assert client_for(FULL).get_function_configuration(FunctionName="target")["RevisionId"] == before
    assert refused(client_for(FULL).get_function, FunctionName="new")[0] == 404


@pytest.mark.parametrize("name", ["target", arn("target"), f"{OWN}:function:target", "function:target"])
def test_a_key_for_one_function_may_be_used_with_every_form_of_its_name(
    client_for: Callable[..., Any], name: str
) -> None:
    client = client_for(INVOKER)
    # The second one goes the short way.
    for number in range(2):
        assert value_of(client.invoke(FunctionName=name, Payload=b"%d" % number)) == number


def test_a_key_for_one_function_may_stream_its_response(client_for: Callable[..., Any]) -> None:
    client = client_for(INVOKER)
    events = list(client.invoke_with_response_stream(FunctionName="target", Payload=b"[7]")["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event) == b"[7]"
    for name in ("guarded-f", "target:live"):
        refusal = refused(client.invoke_with_response_stream, FunctionName=name)
        assert refusal == not_allowed(INVOKER, "InvokeFunction", arn(name))


def test_a_key_for_one_function_may_do_nothing_else(client_for: Callable[..., Any]) -> None:
    client = client_for(INVOKER)
    assert value_of(client.invoke(FunctionName="target", Payload=b'"first"')) == "first"
    cases = {
        arn("guarded-f"): {"FunctionName": "guarded-f"},
        arn("missing"): {"FunctionName": "missing"},
        arn("target:1"): {"FunctionName": "target", "Qualifier": "1"},
        arn("target:live"): {"FunctionName": "target:live"},
        arn("target:$LATEST"): {"FunctionName": "target", "Qualifier": "$LATEST"},
    }
    for resource, members in cases.items():
        assert refused(client.invoke, **members) == not_allowed(INVOKER, "InvokeFunction", resource)
    assert refused(client.get_function, FunctionName="target") == not_allowed(INVOKER, "GetFunction", arn("target"))
    assert refused(client.list_functions) == not_allowed(INVOKER, "ListFunctions", "*")


def test_qualified_and_unqualified_names_are_different_resources(client_for: Callable[..., Any]) -> None:
    client = client_for(QUALIFIED)
    for qualifier in ("1", "live", "$LATEST"):
        assert value_of(client.invoke(FunctionName="target", Qualifier=qualifier, Payload=b"1")) == 1
    assert refused(client.invoke, FunctionName="target") == not_allowed(QUALIFIED, "InvokeFunction", arn("target"))


def test_an_explicit_deny_wins(client_for: Callable[..., Any]) -> None:
    client = client_for(CAREFUL)
    assert value_of(client.invoke(FunctionName="target", Payload=b"2")) == 2
    assert client.get_function(FunctionName="guarded-f")["Configuration"]["State"] == "Active"
    for call, action in ((client.invoke, "InvokeFunction"), (client.delete_function, "DeleteFunction")):
        status, code, message = refused(call, FunctionName="guarded-f")
        assert (status, code) == (403, "AccessDeniedException")
        assert message == (
            f"User: {CAREFUL.arn} is not authorized to perform: lambda:{action} on resource: {arn('guarded-f')} "
            f"{BY_DENY}"
        )


def test_a_dry_run_tells_who_may_invoke(client_for: Callable[..., Any]) -> None:
    dry = {"FunctionName": "target", "InvocationType": "DryRun"}
    for key in (FULL, INVOKER, CAREFUL):
        assert client_for(key).invoke(**dry)["StatusCode"] == 204
    for key in (READER, QUALIFIED, NOBODY):
        assert refused(client_for(key).invoke, **dry) == not_allowed(key, "InvokeFunction", arn("target"))
    # Who may not invoke a function does not learn that there is none.
    missing = {"FunctionName": "missing", "InvocationType": "DryRun"}
    assert refused(client_for(NOBODY).invoke, **missing) == not_allowed(NOBODY, "InvokeFunction", arn("missing"))
    assert refused(client_for(FULL).invoke, **missing)[:2] == (404, "ResourceNotFoundException")


def test_the_refusal_as_it_is_on_the_wire(guarded: RunningService) -> None:
    answer = send_signed(guarded, NOBODY, "POST", INVOCATIONS.format("target"), b"{}")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {"Message": not_allowed(NOBODY, "InvokeFunction", arn("target"))[2]}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-amzn-RequestId"])


def test_health_is_open_and_logs_are_not(guarded: RunningService, client_for: Callable[..., Any]) -> None:
    client_for(FULL).invoke(FunctionName="target")
    assert send(guarded.url, "GET", "/_venturekit/health").json["status"] == "ok"
    logs = "/_venturekit/logs/target"
    page = send_signed(guarded, FULL, "GET", logs)
    assert (page.status, page.json["events"][0]["message"].startswith("INIT_START")) == (200, True)
    for key in (READER, NOBODY):
        answer = send_signed(guarded, key, "GET", logs)
        assert answer.status == 403
        assert f"User: {key.arn} is not authorized to perform: logs:FilterLogEvents" in answer.json["message"]


def test_the_link_to_the_code_carries_its_own_permission(
    guarded: RunningService, client_for: Callable[..., Any]
) -> None:
    location = client_for(READER).get_function(FunctionName="target")["Code"]["Location"]
    path = location.removeprefix(guarded.url)
    assert send(guarded.url, "GET", path).body == zip_of({"app.py": ECHO})
    assert send(guarded.url, "GET", path.partition("?")[0]).status == 403


# --- other accounts --------------------------------------------------------------------------------------------------


def test_another_account_sees_nothing_of_this_one(client_for: Callable[..., Any]) -> None:
    client = client_for(NEIGHBOUR)
    assert client.list_functions()["Functions"] == []
    assert refused(client.get_function, FunctionName="target") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('target', OTHER)}",
    )
    nothing = (403, "AccessDeniedException", None)
    for call in (client.invoke, client.get_function, client.delete_function, client.get_function_configuration):
        assert refused(call, FunctionName=arn("target")) == nothing
    # Its own account does not even let it ask.
    stranger = client_for(STRANGER)
    assert refused(stranger.invoke, FunctionName=arn("target")) == not_allowed(
        STRANGER, "InvokeFunction", arn("target")
    )


def test_functions_of_the_same_name_in_two_accounts(client_for: Callable[..., Any]) -> None:
    client = client_for(NEIGHBOUR)
    create(client, "target", "def handler(event, context):\n    return context.invoked_function_arn\n")
    assert value_of(client.invoke(FunctionName="target")) == arn("target", OTHER)
    assert value_of(client_for(FULL).invoke(FunctionName="target", Payload=b"5")) == 5
    client.delete_function(FunctionName="target")
    assert value_of(client_for(FULL).invoke(FunctionName="target", Payload=b"6")) == 6


def test_the_statements_of_a_key_are_about_its_own_account(client_for: Callable[..., Any]) -> None:
    """The invoker's key names the function of account 000000000000 only."""
    client = client_for(INVOKER)
    foreign = arn("target", OTHER)
    assert refused(client.invoke, FunctionName=foreign) in (
        not_allowed(INVOKER, "InvokeFunction", foreign),
        (403, "AccessDeniedException", None),
    )
