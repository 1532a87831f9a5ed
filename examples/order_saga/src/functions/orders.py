"""Orders: a saga over stock, payment and shipping."""

from __future__ import annotations

from typing import Any

from venturekit.runtime import SagaCompensationError, SagaError, TaskContext, invoke, saga, step, task_handler

Order = dict[str, Any]


def reserve(order: Order) -> None:
    """Put the goods aside."""
    invoke(function="stock", payload={"action": "reserve", **_only(order, "orderId", "sku", "count")})


def release(order: Order) -> None:
    """Put them back."""
    invoke(function="stock", payload={"action": "release", **_only(order, "orderId")})


def charge(order: Order) -> Order:
    """Take the money. What a step returns is what the next one gets."""
    payment = invoke(function="payment", payload={"action": "charge", **_only(order, "orderId", "card", "cents")})
    return {**order, "paymentId": payment.data["paymentId"]}


def refund(order: Order) -> None:
    """Give it back; also when nobody knows whether it was taken, so by the order and not by the payment."""
    invoke(function="payment", payload={"action": "refund", **_only(order, "orderId")})


def send(order: Order) -> None:
    """Send the parcel."""
    invoke(function="shipping", payload={"action": "send", **_only(order, "orderId", "address")})


def recall(order: Order) -> None:
    """Stop it."""
    invoke(function="shipping", payload={"action": "recall", **_only(order, "orderId")})


STEPS = [
    step("reserve", reserve, release, retries=1, retry_delay_ms=200),
    step("charge", charge, refund),
    step("send", send, recall, retries=1, retry_delay_ms=200),
]
order_saga = saga("order", STEPS)


@task_handler
def main(event: dict[str, Any], ctx: TaskContext) -> Any:
    """Take an order, or go on with those that nobody works on any more."""
    if event.get("action") == "resume":
        return [_resumed(record.id) for record in order_saga.stuck(older_than_seconds=60)]
    result = order_saga.run(event, id=event["orderId"])
    return _told(result.record)


def _resumed(order_id: str) -> Any:
    try:
        return _told(order_saga.resume(order_id).record)
    except SagaCompensationError as error:
        # It is logged, and found by order_saga.find("failed").
        return _told(error.result.record)
    except SagaError as error:
        # Somebody else was faster, or its time is not enough: the others still go on.
        return {"orderId": order_id, "status": "stuck", "why": str(error)}


def _told(record: Any) -> dict[str, Any]:
    told = {"orderId": record.id, "status": record.status.value}
    return told if record.error is None else {**told, "why": record.error["message"]}


def _only(order: Order, *names: str) -> Order:
    return {name: order[name] for name in names}
