"""The shop's database. Each function writes to its own tables, in one transaction."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = """
CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, available INTEGER NOT NULL CHECK (available >= 0));
CREATE TABLE IF NOT EXISTS reservations (order_id TEXT PRIMARY KEY, sku TEXT NOT NULL, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, card TEXT, cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS shipments (order_id TEXT PRIMARY KEY, address TEXT NOT NULL);
"""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A transaction on the shop's database."""
    with closing(sqlite3.connect(os.environ["SHOP_DATABASE"], timeout=5)) as connection:
        connection.executescript(TABLES)
        with connection:
            yield connection
