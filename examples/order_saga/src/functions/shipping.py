"""Shipping: sends parcels and stops them. Nobody delivers to the moon."""

from __future__ import annotations

from typing import Any

from lib.shop import database

from venturekit.runtime import idempotency_middleware, task_handler


class NoSuchAddressError(Exception):
    """Nobody delivers there."""


@task_handler(middleware=[idempotency_middleware()])
def main(event: dict[str, Any]) -> dict[str, Any]:
    """Send or recall."""
    with database() as shop:
        if event["action"] == "recall":
            shop.execute("DELETE FROM shipments WHERE order_id = ?", (event["orderId"],))
        elif "Moon" in event["address"]:
            raise NoSuchAddressError(f"nobody delivers to {event['address']}")
        else:
            shop.execute("INSERT INTO shipments VALUES (?, ?)", (event["orderId"], event["address"]))
    return {"orderId": event["orderId"]}
