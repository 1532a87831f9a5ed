"""Which connections there are, whose they are, and messages to them. Source: seed 001, ``connectionStore``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from venturekit.runtime._process import state
from venturekit.runtime.context import current_context
from venturekit.runtime.patterns.driving import adrive, drive
from venturekit.runtime.ws import connections
from venturekit.runtime.ws.connections import Connection, SendCounts, checked_connection_id, checked_id
from venturekit.runtime.ws.errors import ConnectionNotFoundError, ManagementError
from venturekit.runtime.ws.fan_out import CONCURRENCY, afor_each, for_each
from venturekit.runtime.ws.management import ConnectionManagement, Message, api_id_of, endpoint_of, message_bytes
from venturekit.runtime.ws.websocket_context import WebSocketContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence

    from venturekit.runtime.patterns.records import RecordPage, RecordStore

    T = TypeVar("T")
    Flow = Generator[Any, Any, T]
    Searches = Sequence[tuple[str, str]]

PAGE: Final = 100
_WRITES: Final = 10


class ConnectionStore:
    """The connections of a WebSocket API, and messages to them (seed 001)::

        from venturekit.runtime.ws import connection_store

        connection_store.save("L0SM9cOFvHcCIhw=")
        connection_store.authenticate("L0SM9cOFvHcCIhw=", {"user_id": "42", "tenant_id": "acme"})
        for connection in connection_store.get_by_user("42"):
            print(connection.id, connection.metadata)

    A connection that is saved is known for 30 seconds; one that is authenticated for two hours, which is as long as API
    Gateway keeps it open. Every method has a twin for ``async def`` functions, ``asave`` and so on. What is found by
    user, tenant or state may lag behind by a moment where the store's index does (DynamoDB).

    ``connection_store`` is one; ``create_connection_store()`` makes more.
    """

    __slots__ = ("_clock", "_concurrency", "_given_management", "_given_store")

    def __init__(
        self,
        store: RecordStore | None = None,
        *,
        management: ConnectionManagement | None = None,
        concurrency: int = CONCURRENCY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        self._given_store = store
        self._given_management = management
        self._concurrency = concurrency
        self._clock = clock

    # --- what is known of a connection ----------------------------------------------------------------------------

    def save(self, connection_id: str) -> Connection:
        """Take note of a new connection, for 30 seconds; one that is known stays as it is. Raises ValueError."""
        return drive(self.save_flow(connection_id), instead="asave()")

    async def asave(self, connection_id: str) -> Connection:
        """The same without blocking the event loop."""
        return await adrive(self.save_flow(connection_id))

    def authenticate(self, connection_id: str, metadata: Mapping[str, Any]) -> Connection:
        """Say whose connection it is; from now on it is known for two hours.

        ``metadata``: ``user_id``, ``tenant_id``, and anything that JSON can hold. Raises ConnectionNotFoundError for a
        connection that is unknown or has expired; ValueError and TypeError for metadata that cannot be kept.
        """
        return drive(self.authenticate_flow(connection_id, metadata), instead="aauthenticate()")

    async def aauthenticate(self, connection_id: str, metadata: Mapping[str, Any]) -> Connection:
        """The same without blocking the event loop."""
        return await adrive(self.authenticate_flow(connection_id, metadata))

    def remove(self, connection_id: str) -> bool:
        """Forget a connection; whether it was known."""
        return drive(self.remove_flow(connection_id), instead="aremove()")

    async def aremove(self, connection_id: str) -> bool:
        """The same without blocking the event loop."""
        return await adrive(self.remove_flow(connection_id))

    def get(self, connection_id: str) -> Connection | None:
        """What is known of a connection, None when nothing is (any more)."""
        return drive(self.get_flow(connection_id), instead="aget()")

    async def aget(self, connection_id: str) -> Connection | None:
        """The same without blocking the event loop."""
        return await adrive(self.get_flow(connection_id))

    # --- many connections -----------------------------------------------------------------------------------------

    def get_all(self) -> Iterator[Connection]:
        """Every authenticated connection, read page by page; ``get_by_user`` and ``get_by_tenant`` read less."""
        return self._found([_ALL])

    def aget_all(self) -> AsyncIterator[Connection]:
        """The same without blocking the event loop: ``async for connection in connection_store.aget_all(): ...``"""
        return self._afound([_ALL])

    def get_by_user(self, user_id: str) -> Iterator[Connection]:
        """The connections of a user, on all of their devices, read page by page. Raises ValueError, TypeError."""
        return self._found([("user", checked_id("user_id", user_id))])

    def aget_by_user(self, user_id: str) -> AsyncIterator[Connection]:
        """The same without blocking the event loop."""
        return self._afound([("user", checked_id("user_id", user_id))])

    def get_by_tenant(self, tenant_id: str) -> Iterator[Connection]:
        """The connections of a tenant, read page by page. Raises ValueError, TypeError."""
        return self._found([("tenant", checked_id("tenant_id", tenant_id))])

    def aget_by_tenant(self, tenant_id: str) -> AsyncIterator[Connection]:
        """The same without blocking the event loop."""
        return self._afound([("tenant", checked_id("tenant_id", tenant_id))])

    # --- messages -------------------------------------------------------------------------------------------------

    def post_to_connection(self, domain: str, stage: str, connection_id: str, data: Any) -> bool:
        """Send a message; False when the connection has ended, and then it is removed.

        ``domain`` and ``stage`` are those of the event (``ctx.domain``, ``ctx.stage``). ``data``: a text or bytes as
        they are, everything else as JSON. Raises ManagementError, ValueError, NotSerializableError.
        """
        message = Message(endpoint_of(domain, stage), checked_connection_id(connection_id), message_bytes(data))
        is_sent = self._management().post(message)
        if not is_sent:
            self.remove(connection_id)
        return is_sent

    async def apost_to_connection(self, domain: str, stage: str, connection_id: str, data: Any) -> bool:
        """The same without blocking the event loop."""
        message = Message(endpoint_of(domain, stage), checked_connection_id(connection_id), message_bytes(data))
        is_sent = await self._management().apost(message)
        if not is_sent:
            await self.aremove(connection_id)
        return is_sent

    def send_to_user(self, domain: str, stage: str, user_id: str, data: Any) -> SendCounts:
        """Send a message to all connections of a user to this API: how many took it, had ended, did not take it.

        Connections that have ended are removed; that others failed is logged once, as a warning. Raises what the store
        raises, and ValueError, TypeError, MessageTooLargeError.
        """
        return self._send(domain, stage, [("user", checked_id("user_id", user_id))], data)

    async def asend_to_user(self, domain: str, stage: str, user_id: str, data: Any) -> SendCounts:
        """The same without blocking the event loop."""
        return await self._asend(domain, stage, [("user", checked_id("user_id", user_id))], data)

    def send_to_tenant(self, domain: str, stage: str, tenant_id: str, data: Any) -> SendCounts:
        """Send a message to all connections of a tenant; everything as with ``send_to_user``."""
        return self._send(domain, stage, [("tenant", checked_id("tenant_id", tenant_id))], data)

    async def asend_to_tenant(self, domain: str, stage: str, tenant_id: str, data: Any) -> SendCounts:
        """The same without blocking the event loop."""
        return await self._asend(domain, stage, [("tenant", checked_id("tenant_id", tenant_id))], data)

    def broadcast(self, domain: str, stage: str, data: Any, *, include_unauthenticated: bool = False) -> SendCounts:
        """Send a message to every authenticated connection, or to all; everything as with ``send_to_user``."""
        return self._send(domain, stage, _EVERYONE if include_unauthenticated else [_ALL], data)

    async def abroadcast(
        self, domain: str, stage: str, data: Any, *, include_unauthenticated: bool = False
    ) -> SendCounts:
        """The same without blocking the event loop."""
        return await self._asend(domain, stage, _EVERYONE if include_unauthenticated else [_ALL], data)

    def _send(self, domain: str, stage: str, searches: Searches, data: Any) -> SendCounts:
        tally = _Tally(endpoint_of(domain, stage), message_bytes(data))
        management, is_meant = self._management(), _is_of(_api_at(domain, stage))

        def send(connection: Connection) -> None:
            try:
                is_sent = management.post(tally.message(connection))
            except ManagementError as problem:
                tally.failed(problem)
                return
            tally.told(is_sent)
            if not is_sent:
                self.remove(connection.id)

        for_each(filter(is_meant, self._found(searches)), send, self._concurrency)
        return tally.counts()

    async def _asend(self, domain: str, stage: str, searches: Searches, data: Any) -> SendCounts:
        tally = _Tally(endpoint_of(domain, stage), message_bytes(data))
        management, is_meant = self._management(), _is_of(_api_at(domain, stage))

        async def send(connection: Connection) -> None:
            try:
                is_sent = await management.apost(tally.message(connection))
            except ManagementError as problem:
                tally.failed(problem)
                return
            tally.told(is_sent)
            if not is_sent:
                await self.aremove(connection.id)

        found = (connection async for connection in self._afound(searches) if is_meant(connection))
        await afor_each(found, send, self._concurrency)
        return tally.counts()

    # --- the store ------------------------------------------------------------------------------------------------

    def save_flow(self, connection_id: str) -> Flow[Connection]:
        """``save`` for whoever drives it."""
        known_id, store = checked_connection_id(connection_id), self._records()
        for _ in range(_WRITES):
            now = self._clock()
            known = yield store.read(known_id, now)
            if known is not None:
                return connections.connection_of(known)
            made = connections.saved(known_id, now, _api_here())
            if (yield self._write(made, now, version=0)):
                return made
        raise _contended(known_id)

    def authenticate_flow(
        self,
        connection_id: str,
        metadata: Mapping[str, Any],
        check: Callable[[Connection], None] = lambda known: None,
    ) -> Flow[Connection]:
        """``authenticate`` for whoever drives it. ``check`` raises where what is known must not be written over."""
        known_id, store = checked_connection_id(connection_id), self._records()
        metadata = connections.checked_metadata(metadata)
        for _ in range(_WRITES):
            now = self._clock()
            known = yield store.read(known_id, now)
            if known is None:
                raise ConnectionNotFoundError(known_id)
            connection = connections.connection_of(known)
            check(connection)
            made = connections.authenticated(connection, metadata, now)
            if (yield self._write(made, now, version=known.version)):
                return made
        raise _contended(known_id)

    def remove_flow(self, connection_id: str) -> Flow[bool]:
        """``remove`` for whoever drives it."""
        return bool((yield self._records().delete(checked_connection_id(connection_id), self._clock())))

    def get_flow(self, connection_id: str) -> Flow[Connection | None]:
        """``get`` for whoever drives it."""
        known = yield self._records().read(checked_connection_id(connection_id), self._clock())
        return None if known is None else connections.connection_of(known)

    def _write(self, made: Connection, now: float, version: int) -> Any:
        return self._records().write(
            made.id,
            connections.value_of(made),
            now,
            version=version,
            expires_at=made.expires_at,
            keys=connections.keys_of(made),
        )

    def _found(self, searches: Searches) -> Iterator[Connection]:
        for key, value in searches:
            after: str | None = None
            while True:
                page = drive(self._page_flow(key, value, after), instead="the method whose name begins with 'a'")
                yield from map(connections.connection_of, page.records)
                after = page.after
                if after is None:
                    break

    async def _afound(self, searches: Searches) -> AsyncIterator[Connection]:
        for key, value in searches:
            after: str | None = None
            while True:
                page = await adrive(self._page_flow(key, value, after))
                for record in page.records:
                    yield connections.connection_of(record)
                after = page.after
                if after is None:
                    break

    def _page_flow(self, key: str, value: str, after: str | None) -> Flow[RecordPage]:
        page: RecordPage = yield self._records().find(key, value, self._clock(), limit=PAGE, after=after)
        return page

    def _records(self) -> RecordStore:
        if self._given_store is not None:
            return self._given_store
        if state.connections is None:
            from venturekit.runtime.patterns.record_stores_default import default_store

            state.connections = default_store("connections", keys=connections.KEYS)
        return state.connections  # type: ignore[no-any-return]

    def _management(self) -> ConnectionManagement:
        if self._given_management is not None:
            return self._given_management
        if state.management is None:
            state.management = ConnectionManagement()
        return state.management  # type: ignore[no-any-return]


class _Tally:
    """What became of one message to many; threads add to it, each addition one step of the interpreter."""

    def __init__(self, endpoint: Any, data: bytes) -> None:
        self._endpoint = endpoint
        self._data = data
        self._outcomes: list[bool] = []
        self._problems: list[ManagementError] = []

    def message(self, connection: Connection) -> Message:
        return Message(self._endpoint, connection.id, self._data)

    def told(self, is_sent: bool) -> None:
        self._outcomes.append(is_sent)

    def failed(self, problem: ManagementError) -> None:
        self._problems.append(problem)

    def counts(self) -> SendCounts:
        if self._problems:
            from venturekit.runtime.logs import logger

            ctx = current_context()
            fields = {"failed": len(self._problems), "why": self._problems[0].message}
            (logger if ctx is None else ctx.logger).warn("connections did not take a message", fields)
        return SendCounts(sum(self._outcomes), self._outcomes.count(False), len(self._problems))


def _api_here() -> str | None:
    """The API whose event is handled."""
    ctx = current_context()
    return ctx.api if isinstance(ctx, WebSocketContext) else None


def _api_at(domain: str, stage: str) -> str | None:
    """The API that messages go through; None for a domain of one's own, which tells nothing outside of its events."""
    api_id = api_id_of(domain)
    if api_id is not None:
        return f"{api_id}/{stage.strip('/')}"
    ctx = current_context()
    is_here = isinstance(ctx, WebSocketContext) and (ctx.domain, ctx.stage) == (domain, stage.strip("/"))
    return _api_here() if is_here else None


def _is_of(api: str | None) -> Callable[[Connection], bool]:
    """Which connections messages are for: one API calls those of another gone, which they are not."""
    return lambda connection: api is None or connection.api is None or connection.api == api


def _contended(connection_id: str) -> RuntimeError:
    return RuntimeError(
        f"the connection {connection_id} is changed by others all the time: no turn to write it in {_WRITES} attempts"
    )


_ALL: Final = ("state", connections.AUTHENTICATED)
_EVERYONE: Final = (_ALL, ("state", connections.UNAUTHENTICATED))

connection_store: Final = ConnectionStore()
"""The connections of this function, in the usual place: see ``ConnectionStore``."""


def create_connection_store(
    store: RecordStore | None = None,
    *,
    management: ConnectionManagement | None = None,
    concurrency: int = CONCURRENCY,
    clock: Callable[[], float] = time.time,
) -> ConnectionStore:
    """A store of connections of one's own::

        from venturekit.runtime.patterns.record_stores import MemoryRecordStore
        from venturekit.runtime.ws import create_connection_store

        connections = create_connection_store(MemoryRecordStore(), concurrency=32)

    ``store`` is a RecordStore whose records are found by the keys ``user``, ``tenant`` and ``state``; without it
    DynamoDB is used on Lambda, SQLite under ``vk``, else memory. ``management`` sends messages; ``concurrency`` is how
    many are under way at once; ``clock`` gives epoch seconds. Raises ValueError.
    """
    return ConnectionStore(store, management=management, concurrency=concurrency, clock=clock)
