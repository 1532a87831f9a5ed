"""Stock: goods are delivered, put aside for an order, and put back."""

from __future__ import annotations

from typing import Any

from lib.shop import database

from venturekit.runtime import idempotency_middleware, task_handler


class OutOfStockError(Exception):
    """There is not enough of it."""


@task_handler(middleware=[idempotency_middleware()])
def main(event: dict[str, Any]) -> dict[str, Any]:
    """Deliver, reserve or release."""
    return ACTIONS[event["action"]](**_rest(event))


def deliver(sku: str, count: int) -> dict[str, Any]:
    """More of something has come."""
    with database() as shop:
        (available,) = shop.execute(
            "INSERT INTO stock VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET available = available + excluded.available"
            " RETURNING available",
            (sku, count),
        ).fetchone()
    return {"available": available}


def reserve(orderId: str, sku: str, count: int) -> dict[str, Any]:  # noqa: N803 - names of the event
    """Put goods aside. Raises OutOfStockError."""
    with database() as shop:
        taken = shop.execute(
            "UPDATE stock SET available = available - ? WHERE sku = ? AND available >= ?", (count, sku, count)
        )
        if taken.rowcount == 0:
            raise OutOfStockError(f"there are not {count} of {sku}")
        shop.execute("INSERT INTO reservations VALUES (?, ?, ?)", (orderId, sku, count))
    return {"reserved": count}


def release(orderId: str) -> dict[str, Any]:  # noqa: N803
    """Put them back, if any were put aside."""
    with database() as shop:
        found = shop.execute("DELETE FROM reservations WHERE order_id = ? RETURNING sku, count", (orderId,)).fetchall()
        for sku, count in found:
            shop.execute("UPDATE stock SET available = available + ? WHERE sku = ?", (count, sku))
    return {"released": len(found)}


ACTIONS = {"deliver": deliver, "reserve": reserve, "release": release}


def _rest(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "action"}
