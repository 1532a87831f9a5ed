"""Payment: charges and refunds cards. Cards that begin with 0 are declined."""

from __future__ import annotations

from typing import Any

from lib.shop import database

from venturekit.runtime import idempotency_middleware, task_handler


class CardDeclinedError(Exception):
    """The card's bank says no."""


@task_handler(middleware=[idempotency_middleware()])
def main(event: dict[str, Any]) -> dict[str, Any]:
    """Charge or refund. The middleware knows the key that a saga's calls carry: a card is charged once."""
    order_id = event["orderId"]
    return charge(order_id, event["card"], event["cents"]) if event["action"] == "charge" else refund(order_id)


def charge(order_id: str, card: str, cents: int) -> dict[str, Any]:
    """Take money. Raises CardDeclinedError."""
    if card.startswith("0"):
        raise CardDeclinedError(f"the card that ends in {card[-4:]} was declined")
    with database() as shop:
        made = shop.execute("INSERT INTO payments (order_id, card, cents) VALUES (?, ?, ?)", (order_id, card, cents))
    return {"paymentId": f"p-{made.lastrowid}"}


def refund(order_id: str) -> dict[str, Any]:
    """Give back what was taken for an order, which may be nothing."""
    with database() as shop:
        (cents,) = shop.execute("SELECT ifnull(sum(cents), 0) FROM payments WHERE order_id = ?", (order_id,)).fetchone()
        if cents:
            shop.execute("INSERT INTO payments (order_id, cents) VALUES (?, ?)", (order_id, -cents))
    return {"refunded": cents}
