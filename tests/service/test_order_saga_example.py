"""The order example on a real service: orders that succeed, ones that are undone, one whose process is killed."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.framework_support import with_framework
from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_saga" / "src"
_NUMBERS = itertools.count(1)
ORDER = {"sku": "tea", "count": 2, "card": "4111111111111111", "cents": 1990, "address": "Main Street 1"}
# Orders as they are, but that they tell which process they run in, and that their time can be set ahead.
WATCHED = """
import os, pathlib, time
from functions import orders
from venturekit.runtime import saga
folder = pathlib.Path(os.environ["SHOP_DATABASE"]).parent
(folder / "orders.pid").write_text(str(os.getpid()))
ahead = 3600 if (folder / "later").exists() else 0
orders.order_saga = saga("order", orders.STEPS, clock=lambda: time.time() + ahead)
main = orders.main
"""
# Payment as it is, but that its answer waits.
HELD = """
import os, pathlib, threading
from functions import payment
folder = pathlib.Path(os.environ["SHOP_DATABASE"]).parent
def main(event, context):
    result = payment.main(event, context)
    if (folder / "hold").exists():
        (folder / "hold").unlink()
        (folder / "charged").write_text("")
        with open(folder / "answer") as pipe:
            pipe.read()
    return result
"""


class Shop:
    """The four functions, and a look into the database."""

    def __init__(self, functions: FunctionSet, folder: Path) -> None:
        self.functions, self.folder = functions, folder
        self.name = f"shop{next(_NUMBERS)}"
        code = {str(file.relative_to(EXAMPLE)): file.read_bytes() for file in EXAMPLE.rglob("*.py")}
        variables = {
            "VENTURE_PROJECT_NAME": self.name,
            "VENTURE_STAGE": "dev",
            "VENTURE_RECORDS_DIRECTORY": str(folder),
            "SHOP_DATABASE": str(folder / "shop.db"),
        }
        for name, source in {"orders": WATCHED, "stock": None, "payment": HELD, "shipping": None}.items():
            functions.create(
                source,
                files=code,
                base=with_framework(),
                name=f"{self.name}-dev-fn-{name}",
                wait=False,
                Handler="app.main" if source else f"functions/{name}.main",
                Environment={"Variables": variables},
                Timeout=20,
            )
        for name in functions.names:
            functions.wait_active(name)
        with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
            connection.execute("CREATE TABLE stock (sku TEXT PRIMARY KEY, available INTEGER NOT NULL)")
            connection.execute("INSERT INTO stock VALUES ('tea', 5)")

    def orders(self, event: Any) -> Any:
        """What the function of orders answers."""
        outcome = self.functions.invoke(f"{self.name}-dev-fn-orders", event)
        assert outcome.error is None, outcome.raw
        return outcome.value

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "shop.db")) as connection:
            return connection.execute(query).fetchall()

    @property
    def available(self) -> int:
        return int(self.rows("SELECT available FROM stock")[0][0])


@pytest.fixture(scope="module")
def shop(shared_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    functions = shared_service.functions()
    yield Shop(functions, tmp_path_factory.mktemp("shop"))
    functions.delete_all()


def test_an_order_is_reserved_paid_and_sent_once(shop: Shop) -> None:
    before = shop.available
    for _ in range(2):
        assert shop.orders({**ORDER, "orderId": "good"}) == {"orderId": "good", "status": "completed"}
    assert shop.available == before - 2
    assert shop.rows("SELECT cents FROM payments WHERE order_id = 'good'") == [(1990,)]
    assert shop.rows("SELECT address FROM shipments WHERE order_id = 'good'") == [("Main Street 1",)]


@pytest.mark.parametrize(
    ("order_id", "change", "why", "payments"),
    [
        ("declined", {"card": "0000111122223333"}, "CardDeclinedError: the card that ends in 3333 was declined", []),
        ("moon", {"address": "Moon 1"}, "NoSuchAddressError: nobody delivers to Moon 1", [(1990,), (-1990,)]),
        ("much", {"count": 99}, "OutOfStockError: there are not 99 of tea", []),
    ],
)
def test_an_order_that_cannot_be_done_is_undone(
    shop: Shop, order_id: str, change: dict[str, Any], why: str, payments: list[Any]
) -> None:
    before = shop.available
    told = shop.orders({**ORDER, **change, "orderId": order_id})
    assert (told["orderId"], told["status"]) == (order_id, "compensated")
    assert told["why"].endswith(why)
    assert shop.available == before
    assert shop.rows(f"SELECT cents FROM payments WHERE order_id = '{order_id}' ORDER BY id") == payments
    assert shop.rows(f"SELECT * FROM shipments WHERE order_id = '{order_id}'") == []


def test_an_order_whose_process_is_killed_is_ended_by_the_next(shop: Shop) -> None:
    before = shop.available
    os.mkfifo(shop.folder / "answer")
    (shop.folder / "hold").write_text("")
    answered: list[Any] = []
    event = {**ORDER, "orderId": "killed"}
    caller = threading.Thread(
        target=lambda: answered.append(shop.functions.invoke(f"{shop.name}-dev-fn-orders", event))
    )
    caller.start()
    until((shop.folder / "charged").exists, "the card is charged")
    # The card is charged, and orders, which waits for that answer, will never have it.
    os.kill(int((shop.folder / "orders.pid").read_text()), signal.SIGKILL)
    caller.join(20)
    assert answered[0].error is not None
    (shop.folder / "answer").write_text("now")
    assert shop.rows("SELECT order_id FROM shipments WHERE order_id = 'killed'") == []
    (shop.folder / "later").write_text("")
    assert shop.orders({"action": "resume"}) == [{"orderId": "killed", "status": "completed"}]
    assert shop.orders({"action": "resume"}) == []
    assert shop.available == before - 2
    assert shop.rows("SELECT cents FROM payments WHERE order_id = 'killed'") == [(1990,)]
    assert shop.rows("SELECT address FROM shipments WHERE order_id = 'killed'") == [("Main Street 1",)]
