"""Put, Update, Get, Delete and List of FunctionEventInvokeConfig, and which destinations there may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.destinations import printed, service_of, takes_dead_letters
from venturekit.service.functions.event_invoke_config import merged

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:queue"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:topic"
NOWHERE: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}
NO_FUNCTION = "The function doesn't exist."
Run = Callable[..., Any]


def no_config(arn: str) -> str:
    return f"The function {arn} doesn't have an EventInvokeConfig"


async def put(service: Any, name: str = "f", **members: Any) -> Any:
    return await service.call("PutFunctionEventInvokeConfig", FunctionName=name, **members)


async def update(service: Any, name: str = "f", **members: Any) -> Any:
    return await service.call("UpdateFunctionEventInvokeConfig", FunctionName=name, **members)


async def get(service: Any, name: str = "f", **members: Any) -> Any:
    return await service.call("GetFunctionEventInvokeConfig", FunctionName=name, **members)


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    """What goes out: members without a value are left out."""
    return {name: value for name, value in answer.items() if value is not None}


async def aliased(service: Any) -> None:
    """``f`` with version 1 and the alias ``live``, and another function ``g`` with version 1."""
    await service.create(Publish=True)
    await service.create("g", Publish=True)
    await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")


def test_put_replaces_everything(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        service.time = 1_573_686_021.4791
        first = await put(
            service, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=60, DestinationConfig={"OnSuccess": _to(QUEUE)}
        )
        assert shown(first) == {
            "LastModified": 1_573_686_021.4791,
            "FunctionArn": f"{ARN}:$LATEST",
            "MaximumRetryAttempts": 2,
            "MaximumEventAgeInSeconds": 60,
            "DestinationConfig": {"OnSuccess": _to(QUEUE), "OnFailure": {}},
        }
        service.time += 10
        second = await put(service, MaximumRetryAttempts=0)
        assert shown(second) == {
            "LastModified": 1_573_686_031.4791,
            "FunctionArn": f"{ARN}:$LATEST",
            "MaximumRetryAttempts": 0,
            "DestinationConfig": NOWHERE,
        }
        assert await get(service) == second
        return second

    async def restarted(service: Any) -> Any:
        return await get(service)

    assert run(scenario) == run(restarted)


def _to(arn: str) -> dict[str, str]:
    return {"Destination": arn}


def test_update_merges(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await put(service, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=60)
        answers = [
            await update(service, **members)
            for members in (
                {"MaximumRetryAttempts": 0},
                {"DestinationConfig": {"OnFailure": _to(QUEUE)}},
                {"DestinationConfig": {"OnSuccess": _to(TOPIC)}},
                {"MaximumEventAgeInSeconds": 300, "DestinationConfig": {"OnFailure": _to("")}},
                {"DestinationConfig": {"OnSuccess": {}}},
            )
        ]
        assert [
            (answer["MaximumRetryAttempts"], answer["MaximumEventAgeInSeconds"], answer["DestinationConfig"])
            for answer in answers
        ] == [
            (0, 60, NOWHERE),
            (0, 60, {"OnSuccess": {}, "OnFailure": _to(QUEUE)}),
            (0, 60, {"OnSuccess": _to(TOPIC), "OnFailure": _to(QUEUE)}),
            (0, 300, {"OnSuccess": _to(TOPIC), "OnFailure": {}}),
            (0, 300, NOWHERE),
        ]

    run(scenario)


@pytest.mark.parametrize(
    ("name", "qualifier", "shown_as"),
    [
        ("f", None, "$LATEST"),
        ("f", "$LATEST", "$LATEST"),
        ("f:$LATEST", None, "$LATEST"),
        ("f", "1", "1"),
        ("f:1", None, "1"),
        (f"{ARN}:1", "1", "1"),
        ("f", "live", "live"),
        (f"{ARN}:live", None, "live"),
        ("123456789012:function:f:live", "live", "live"),
    ],
)
def test_every_qualifier_has_its_own(run: Run, name: str, qualifier: str | None, shown_as: str) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        members = {} if qualifier is None else {"Qualifier": qualifier}
        answer = await put(service, name, MaximumRetryAttempts=1, **members)
        assert answer["FunctionArn"] == f"{ARN}:{shown_as}"
        assert await get(service, name, **members) == answer
        listed = await service.call("ListFunctionEventInvokeConfigs", FunctionName="f")
        assert listed["FunctionEventInvokeConfigs"] == [answer]

    run(scenario)


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"FunctionName": "nobody"}, 404, NO_FUNCTION),
        ({"FunctionName": f"{ARN}nobody"}, 404, NO_FUNCTION),
        ({"Qualifier": "nobody"}, 404, NO_FUNCTION),
        ({"Qualifier": "7"}, 404, NO_FUNCTION),
        (
            {"FunctionName": "f:live", "Qualifier": "1"},
            400,
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            {"MaximumRetryAttempts": None},
            400,
            "You must specify at least one of error handling or destination setting.",
        ),
    ],
)
def test_refused_puts_change_nothing(run: Run, members: dict[str, Any], status: int, message: str) -> None:
    async def scenario(service: Any) -> Any:
        await aliased(service)
        before = service.registry.function("f")
        error = await service.refused(
            "PutFunctionEventInvokeConfig", **{"FunctionName": "f", "MaximumRetryAttempts": 1, **members}
        )
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.status, error.message) == (status, message)


def test_where_nothing_is_configured(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        await put(service, MaximumRetryAttempts=1, Qualifier="1")
        for members, arn in (
            ({"FunctionName": "f"}, f"{ARN}:$LATEST"),
            ({"FunctionName": "f", "Qualifier": "live"}, f"{ARN}:live"),
            ({"FunctionName": "f", "Qualifier": "nobody"}, f"{ARN}:nobody"),
        ):
            for operation in ("GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"):
                error = await service.refused(operation, **members)
                assert (error.status, error.message) == (404, no_config(arn))
            error = await service.refused("UpdateFunctionEventInvokeConfig", MaximumRetryAttempts=1, **members)
            assert (error.status, error.message) == (404, no_config(arn))
        nobody = f"{ARN[:-1]}nobody:$LATEST"
        for operation in ("GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"):
            assert (await service.refused(operation, FunctionName="nobody")).message == no_config(nobody)
        error = await service.refused("UpdateFunctionEventInvokeConfig", FunctionName="nobody", MaximumRetryAttempts=1)
        assert (error.status, error.message) == (404, no_config(nobody))
        error = await service.refused("UpdateFunctionEventInvokeConfig", FunctionName="f:1")
        assert error.message == "You must specify at least one of error handling or destination setting."

    run(scenario)


def test_configs_are_listed_deleted_and_paged(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        for qualifier in ("live", "1", "$LATEST"):
            await put(service, MaximumRetryAttempts=1, Qualifier=qualifier)
        listed = await service.call("ListFunctionEventInvokeConfigs", FunctionName=f"{ARN}:1")
        assert [config["FunctionArn"] for config in listed["FunctionEventInvokeConfigs"]] == [
            f"{ARN}:$LATEST",
            f"{ARN}:1",
            f"{ARN}:live",
        ]
        assert listed["NextMarker"] is None
        page = await service.call("ListFunctionEventInvokeConfigs", FunctionName="f", MaxItems=2)
        rest = await service.call("ListFunctionEventInvokeConfigs", FunctionName="f", Marker=page["NextMarker"])
        assert (
            page["FunctionEventInvokeConfigs"] + rest["FunctionEventInvokeConfigs"]
            == (listed["FunctionEventInvokeConfigs"])
        )
        await service.refused("ListFunctionEventInvokeConfigs", FunctionName="f", Marker="wrong")
        for qualifier in ("live", "1", "$LATEST"):
            members = {"FunctionName": "f", "Qualifier": qualifier}
            assert await service.call("DeleteFunctionEventInvokeConfig", **members) == {}
        assert (await service.call("ListFunctionEventInvokeConfigs", FunctionName="f")) == {
            "FunctionEventInvokeConfigs": [],
            "NextMarker": None,
        }
        assert service.registry.function("f").settings == {}
        error = await service.refused("ListFunctionEventInvokeConfigs", FunctionName="nobody")
        assert (error.status, error.message) == (404, NO_FUNCTION)

    run(scenario)


def test_a_config_goes_with_its_version_or_alias(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        for qualifier in ("live", "1", "$LATEST"):
            await put(service, MaximumRetryAttempts=1, Qualifier=qualifier)
        await service.call("DeleteAlias", FunctionName="f", Name="live")
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        listed = await service.call("ListFunctionEventInvokeConfigs", FunctionName="f")
        assert [config["FunctionArn"] for config in listed["FunctionEventInvokeConfigs"]] == [f"{ARN}:$LATEST"]
        # An alias of the same name starts without one.
        await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
        assert (await service.refused("GetFunctionEventInvokeConfig", FunctionName="f:live")).status == 404

    run(scenario)


def test_publishing_does_not_copy_the_config(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await put(service, MaximumRetryAttempts=1)
        await service.call("PublishVersion", FunctionName="f")
        assert (await service.refused("GetFunctionEventInvokeConfig", FunctionName="f:1")).status == 404

    run(scenario)


OTHER = f"{ARN[:-1]}g"


@pytest.mark.parametrize(
    "arn",
    [
        QUEUE,
        TOPIC,
        OTHER,
        f"{OTHER}:1",
        f"{OTHER}:$LATEST",
        # Nothing is known of another account's or region's functions.
        "arn:aws:lambda:eu-west-1:111122223333:function:f",
        "arn:aws:lambda:us-east-1:123456789012:function:any",
        "arn:aws:events:eu-west-1:123456789012:event-bus/default",
        "arn:aws-cn:sqs:cn-north-1:123456789012:queue",
    ],
)
def test_destinations_that_are_taken(run: Run, arn: str) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        for side in ("OnSuccess", "OnFailure"):
            answer = await put(service, DestinationConfig={side: _to(arn)})
            assert answer["DestinationConfig"] == {**NOWHERE, side: _to(arn)}

    run(scenario)


@pytest.mark.parametrize(
    "config", [{"OnSuccess": {}}, {"OnFailure": {}}, {}, {"OnSuccess": _to(""), "OnFailure": None}]
)
def test_no_destination_is_a_setting_too(run: Run, config: dict[str, Any]) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        assert (await put(service, DestinationConfig=config))["DestinationConfig"] == NOWHERE

    run(scenario)


def test_a_bucket_takes_failures_only(run: Run) -> None:
    bucket = "arn:aws:s3:::a-bucket"

    async def scenario(service: Any) -> Any:
        await service.create()
        await put(service, DestinationConfig={"OnFailure": _to(bucket)})
        return await service.refused(
            "PutFunctionEventInvokeConfig", FunctionName="f", DestinationConfig={"OnSuccess": _to(bucket)}
        )

    assert run(scenario).message == (
        f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={bucket}), onFailure=null) "
        "is invalid."
    )


ITSELF = "You can't specify the function as a destination for itself."
IAM = "arn:aws:iam:eu-west-1:123456789012:function:f"


def invalid(arn: str) -> tuple[str, str]:
    return arn, f"The destination ARN {arn} is invalid."


@pytest.mark.parametrize("operation", ["PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"])
@pytest.mark.parametrize(
    ("arn", "message"),
    [
        invalid(f"{ARN[:-1]}nobody"),
        invalid(f"{OTHER}:7"),
        invalid(f"{OTHER}:nobody"),
        invalid("arn:aws:lambda:eu-west-1:123456789012:layer:x"),
        invalid("arn:aws:lambda:eu-west-1:123456789012:function:a b"),
        invalid("arn:aws:sqs:eu-west-1:123456789012:a/b"),
        invalid(f"{QUEUE}.fifo"),
        invalid(f"{TOPIC}.fifo"),
        invalid("arn:aws:sns:eu-west-1::topic"),
        invalid("arn:aws:events:eu-west-1:123456789012:rule/x"),
        (ARN, ITSELF),
        (f"{ARN}:$LATEST", ITSELF),
        (f"{ARN}:1", ITSELF),
        (f"{ARN}:live", ITSELF),
        # Its name is not looked up first.
        (f"{ARN}:nobody", ITSELF),
        (IAM, f"The provided destination config {printed({'OnFailure': _to(IAM)})} is invalid."),
        (
            "kafka://topic",
            f"The provided destination config {printed({'OnFailure': _to('kafka://topic')})} is invalid.",
        ),
    ],
)
def test_destinations_that_are_refused(run: Run, operation: str, arn: str, message: str) -> None:
    async def scenario(service: Any) -> Any:
        await aliased(service)
        await put(service, MaximumRetryAttempts=1)
        before = service.registry.function("f")
        error = await service.refused(operation, FunctionName="f", DestinationConfig={"OnFailure": _to(arn)})
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.code, error.message) == ("InvalidParameterValueException", message)


BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/bus"
BUCKET = "arn:aws:s3:::a-bucket"


@pytest.mark.parametrize("operation", ["PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"])
@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUS, BUCKET])
@pytest.mark.parametrize("found", [True, None, False])
def test_somebody_is_asked_for_what_is_no_function(run: Run, operation: str, arn: str, found: bool | None) -> None:
    asked: list[str] = []

    async def target_exists(target: str) -> bool | None:
        asked.append(target)
        return found

    async def scenario(service: Any) -> None:
        await aliased(service)
        await put(service, MaximumRetryAttempts=1)
        assert asked == []
        members = {"FunctionName": "f", "DestinationConfig": {"OnFailure": _to(arn), "OnSuccess": _to(OTHER)}}
        if found is False:
            before = service.registry.function("f")
            error = await service.refused(operation, **members)
            assert (error.status, error.message) == (400, f"The destination ARN {arn} is invalid.")
            assert service.registry.function("f") is before
        else:
            answer = await service.call(operation, **members)
            assert answer["DestinationConfig"]["OnFailure"] == _to(arn)
        assert asked == [arn]

    run(scenario, target_exists=target_exists)


def test_a_change_does_not_wait_for_an_answer_about_another(run: Run) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def target_exists(target: str) -> bool | None:
        asked.set()
        await answered.wait()
        return None

    async def scenario(service: Any) -> None:
        await aliased(service)
        waiting = asyncio.ensure_future(put(service, DestinationConfig={"OnFailure": _to(QUEUE)}))
        async with asyncio.timeout(20):
            await asked.wait()
            await put(service, MaximumRetryAttempts=0, Qualifier="1")
            await service.call("DeleteFunction", FunctionName="f")
            answered.set()
            # It is gone by the time of the answer.
            with pytest.raises(ApiError) as caught:
                await waiting
        assert caught.value.message == NO_FUNCTION

    run(scenario, target_exists=target_exists)


def test_how_a_config_is_printed() -> None:
    assert printed({"OnSuccess": _to("a"), "OnFailure": None}) == (
        "DestinationConfig(onSuccess=OnSuccess(destination=a), onFailure=null)"
    )
    assert printed({"OnFailure": {}}) == "DestinationConfig(onSuccess=null, onFailure=OnFailure(destination=null))"


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_text_has_a_service_or_none(text: str) -> None:
    assert service_of(text) in {None, "sqs", "sns", "events", "lambda", "s3"}


@pytest.mark.parametrize(
    ("arn", "taken"),
    [
        (QUEUE, True),
        (TOPIC, True),
        ("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q", True),
        (f"{QUEUE}.fifo", False),
        (f"{TOPIC}.fifo", False),
        (f"{TOPIC}:subscription", False),
        ("arn:aws:sqs:eu-west-1::queue", False),
        ("arn:aws:sqs:queue", False),
        (BUS, False),
        (BUCKET, False),
        (ARN, False),
        ("", False),
    ],
)
def test_what_takes_dead_letters(arn: str, taken: bool) -> None:
    assert takes_dead_letters(arn) is taken


NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "MaximumRetryAttempts": st.none() | st.integers(0, 2),
        "MaximumEventAgeInSeconds": st.none() | st.integers(60, 21600),
        "DestinationConfig": st.fixed_dictionaries(
            {},
            optional={
                side: st.fixed_dictionaries({}, optional={"Destination": st.sampled_from(["", QUEUE, TOPIC])})
                for side in ("OnSuccess", "OnFailure")
            },
        ),
    },
)


@given(NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=100)
def test_an_update_after_a_put_is_a_put_of_both(first: dict[str, Any], second: dict[str, Any]) -> None:
    together = {**first, **{member: value for member, value in second.items() if value is not None}}
    sides = {**first.get("DestinationConfig", {}), **second.get("DestinationConfig", {})}
    assert merged(merged({}, first), second) == merged({}, {**together, "DestinationConfig": sides})
