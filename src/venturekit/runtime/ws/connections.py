"""A connection as it is known: what a store keeps of it, and how long. Pure: time is an argument, in epoch seconds.

    (save) ──► unauthenticated, 30 s ──(authenticate)──► authenticated, 2 h ──(remove, 410, or its time)──► gone
                       └──────────────────────(its time)───────────────────────────────────────────────────▲

Source: the WebSocket guide for the two phases; seed 001, ``connectionStore``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.encoding import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime.patterns.records import Record

UNAUTHENTICATED_SECONDS: Final = 30.0
AUTHENTICATED_SECONDS: Final = 7200.0
AUTHENTICATED: Final = "authenticated"
UNAUTHENTICATED: Final = "unauthenticated"
KEYS: Final = ("user", "tenant", "state")
"""What connections are found by."""


class Connection(NamedTuple):
    """A connection that is known. Times are in epoch seconds; ``metadata`` is what ``authenticate`` was given.

    ``api`` is the id and stage of its API, ``abc/dev``; None where it was not saved by a handler of WebSocket events.
    """

    id: str
    is_authenticated: bool
    connected_at: float
    expires_at: float | None
    metadata: dict[str, Any]
    api: str | None = None

    @property
    def user_id(self) -> str | None:
        """Who is at the other end, None before the connection is authenticated."""
        return self.metadata.get("user_id")

    @property
    def tenant_id(self) -> str | None:
        """For which customer, None where nobody has said so."""
        return self.metadata.get("tenant_id")


class SendCounts(NamedTuple):
    """What became of messages to several connections: ``gone`` are those that were removed, for they had ended."""

    sent: int = 0
    gone: int = 0
    failed: int = 0


def saved(connection_id: str, now: float, api: str | None = None) -> Connection:
    """A connection that has just been made."""
    return Connection(connection_id, False, now, now + UNAUTHENTICATED_SECONDS, {}, api)


def authenticated(known: Connection, metadata: Mapping[str, Any], now: float) -> Connection:
    """The same connection when it is known whose it is.

    Raises ValueError and TypeError for metadata that cannot be kept or would not be found.
    """
    expires_at = now + AUTHENTICATED_SECONDS
    return known._replace(is_authenticated=True, expires_at=expires_at, metadata=checked_metadata(metadata))


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as they are kept: ids are texts. Raises ValueError, TypeError, NotSerializableError."""
    if not hasattr(metadata, "keys"):
        raise TypeError(f"metadata are a dictionary, like {{'user_id': '42'}}, and not {type(metadata).__name__}")
    made = dict(metadata)
    for name, meant in (("userId", "user_id"), ("tenantId", "tenant_id")):
        if name in made and meant not in made:
            raise ValueError(f"metadata have {name!r}, by which nothing is found: it is called {meant!r} here")
    for name in ("user_id", "tenant_id"):
        if made.get(name) is None:
            made.pop(name, None)
            continue
        made[name] = checked_id(name, made[name])
    import json

    kept: dict[str, Any] = json.loads(to_json(made))
    return kept


def checked_id(name: str, value: Any) -> str:
    """The id of a user or tenant as a text, which databases may have as numbers. Raises ValueError, TypeError."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        value = str(value) if type(value).__name__ == "UUID" else value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{name} is a text, and not {value!r:.100}")
    if value == "":
        raise ValueError(f"{name} is empty: nobody has that")
    return str(value)


def checked_connection_id(value: Any) -> str:
    """Raises ValueError for what is no id of a connection."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r:.100} is no id of a connection: ctx.connection_id is one")
    return value


def value_of(connection: Connection) -> dict[str, Any]:
    """What a store keeps."""
    value = {
        "connectedAt": connection.connected_at,
        "authenticated": connection.is_authenticated,
        "metadata": connection.metadata,
    }
    return value if connection.api is None else {**value, "api": connection.api}


def keys_of(connection: Connection) -> dict[str, str]:
    """What it is found by."""
    keys = {"state": AUTHENTICATED if connection.is_authenticated else UNAUTHENTICATED}
    if connection.user_id is not None:
        keys["user"] = connection.user_id
    if connection.tenant_id is not None:
        keys["tenant"] = connection.tenant_id
    return keys


def connection_of(record: Record) -> Connection:
    """The connection of a record. What somebody else has written there is nobody's authenticated connection."""
    value = record.value
    metadata = value.get("metadata")
    connected_at, api = value.get("connectedAt"), value.get("api")
    return Connection(
        record.id,
        value.get("authenticated") is True,
        float(connected_at) if isinstance(connected_at, int | float) else 0.0,
        record.expires_at,
        metadata if isinstance(metadata, dict) else {},
        api if isinstance(api, str) else None,
    )
