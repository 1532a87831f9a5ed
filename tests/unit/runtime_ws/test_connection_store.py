"""The eleven methods of the connection store, blocking and asynchronous, against a management API as a script says."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.runtime import _process
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
from venturekit.runtime.ws import (
    ConnectionNotFoundError,
    ConnectionStore,
    ManagementAccessError,
    ManagementThrottledError,
    ManagementTransportError,
    MessageTooLargeError,
    SendCounts,
    connection_store,
    create_connection_store,
)
from venturekit.testing import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.runtime_ws.management_server import ManagementServer

both = pytest.mark.parametrize("kind", ["sync", "async"])


class Called:
    """The methods of a store, by their blocking names, called in one of the two ways."""

    def __init__(self, store: ConnectionStore, kind: str) -> None:
        self._store, self._kind = store, kind

    def __getattr__(self, name: str) -> Any:
        if self._kind == "sync":
            given = getattr(self._store, name)
            return lambda *a, **k: list(given(*a, **k)) if name.startswith("get_") else given(*a, **k)
        waiting = getattr(self._store, f"a{name}")

        async def listed(*a: Any, **k: Any) -> Any:
            return [found async for found in waiting(*a, **k)]

        return lambda *a, **k: _process.run(listed(*a, **k) if name.startswith("get_") else waiting(*a, **k))


class AsyncRecordStore:
    """A store that has to be awaited."""

    def __init__(self) -> None:
        self._inner = MemoryRecordStore()

    def __getattr__(self, name: str) -> Any:
        async def waiting(*a: Any, **k: Any) -> Any:
            await asyncio.sleep(0)
            return getattr(self._inner, name)(*a, **k)

        return waiting


def ids(found: Any) -> list[str]:
    return [connection.id for connection in found]


@both
def test_a_connection_has_30_seconds_to_say_whose_it_is(kind: str, store: ConnectionStore, clock: ManualClock) -> None:
    called = Called(store, kind)
    saved = called.save("c1=")
    assert (saved.id, saved.is_authenticated, saved.expires_at - saved.connected_at) == ("c1=", False, 30)
    clock.advance(seconds=29.999)
    assert called.get("c1=") == saved
    clock.advance(ms=1)
    assert called.get("c1=") is None
    with pytest.raises(ConnectionNotFoundError, match="there is no connection 'c1=', or it has expired"):
        called.authenticate("c1=", {"user_id": "u"})


@both
def test_an_authenticated_one_has_two_hours(kind: str, store: ConnectionStore, clock: ManualClock) -> None:
    called = Called(store, kind)
    called.save("c1")
    clock.advance(seconds=20)
    made = called.authenticate("c1", {"user_id": 42, "tenant_id": "acme", "device": {"os": "x"}})
    assert made.metadata == {"user_id": "42", "tenant_id": "acme", "device": {"os": "x"}}
    assert (made.user_id, made.tenant_id, made.is_authenticated) == ("42", "acme", True)
    clock.advance(seconds=7199)
    assert called.get("c1") == made
    # Saved again, as by an event that comes twice: it stays what it is.
    assert called.save("c1") == made
    clock.advance(seconds=1)
    assert (called.get("c1"), called.get_by_user("42"), called.get_all()) == (None, [], [])


@both
def test_connections_are_found_by_user_tenant_and_state(kind: str, store: ConnectionStore) -> None:
    called = Called(store, kind)
    for number in range(250):
        called.save(f"c{number:03}")
        if number % 5:
            called.authenticate(f"c{number:03}", {"user_id": f"u{number % 2}", "tenant_id": f"t{number % 3}"})
    everyone = [n for n in range(250) if n % 5]
    assert ids(called.get_all()) == [f"c{n:03}" for n in everyone]
    assert ids(called.get_by_user("u1")) == [f"c{n:03}" for n in everyone if n % 2]
    assert ids(called.get_by_tenant("t2")) == [f"c{n:03}" for n in everyone if n % 3 == 2]
    assert called.get_by_user("u2") == []
    assert (called.remove("c001"), called.remove("c001"), called.get("c001")) == (True, False, None)
    assert "c001" not in ids(called.get_by_user("u1"))


@pytest.mark.parametrize(
    ("metadata", "error", "said"),
    [
        ({"user_id": ""}, ValueError, "user_id is empty"),
        ({"user_id": True}, TypeError, "user_id is a text"),
        ({"user_id": ["a"]}, TypeError, "user_id is a text"),
        ({"userId": "u"}, ValueError, "it is called 'user_id' here"),
        ({"user_id": "u", "tenantId": "t"}, ValueError, "it is called 'tenant_id' here"),
        ({"user_id": "u", "key": b"x"}, TypeError, "JSON cannot hold bytes"),
        ("u", TypeError, "metadata are a dictionary"),
    ],
)
def test_metadata_that_cannot_be_kept(metadata: Any, error: type[Exception], said: str, store: ConnectionStore) -> None:
    store.save("c1")
    with pytest.raises(error, match=said):
        store.authenticate("c1", metadata)
    known = store.get("c1")
    assert known is not None
    assert not known.is_authenticated


@pytest.mark.parametrize("wrong", ["", None, 1, "a\nb"])
def test_ids_that_are_none(wrong: Any, store: ConnectionStore) -> None:
    with pytest.raises(ValueError, match="is no id of a connection"):
        store.save(wrong)
    with pytest.raises((ValueError, TypeError), match="user_id is"):
        store.get_by_user("" if wrong != 1 else b"x")  # type: ignore[arg-type]


def test_foreign_data_is_nobodys_connection() -> None:
    records = MemoryRecordStore()
    records.write("c1", {"authenticated": "yes", "metadata": 3}, 1.0, version=0)
    found = create_connection_store(records, clock=lambda: 1.0).get("c1")
    assert found is not None
    assert (found.is_authenticated, found.metadata, found.connected_at) == (False, {}, 0.0)


def test_a_writer_who_was_faster_is_not_overwritten(clock: ManualClock) -> None:
    class Racing(MemoryRecordStore):
        """Somebody else writes between our reading and our writing, once."""

        raced = False

        def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
            if not self.raced:
                self.raced = True
                super().write(id, {"authenticated": False, "other": 1}, now, **{**options, "keys": {"state": "x"}})
            return super().write(id, value, now, **options)

    store = create_connection_store(Racing(), clock=clock.time)
    store.save("c1")
    assert store.authenticate("c1", {"user_id": "u"}).is_authenticated


@both
@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("text", b"text"),
        (b"\0\xff", b"\0\xff"),
        ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'.encode()),
        (None, b"null"),
        (3, b"3"),
    ],
)
def test_a_message_is_posted(
    kind: str, data: Any, sent: bytes, store: ConnectionStore, server: ManagementServer
) -> None:
    assert Called(store, kind).post_to_connection(server.domain, "dev", "L0SM9cO/vHcC=", data) is True
    (posted,) = server.posted
    assert (posted.path, posted.body) == ("/dev/@connections/L0SM9cO%2FvHcC%3D", sent)
    assert posted.headers["host"] == server.domain
    assert "authorization" not in posted.headers


@both
def test_what_has_ended_is_removed(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    called = Called(store, kind)
    called.save("c1")
    server.statuses["c1"] = [410]
    assert called.post_to_connection(server.domain, "dev", "c1", "hi") is False
    assert called.get("c1") is None


@both
@pytest.mark.parametrize(
    ("statuses", "kind_of_error", "posts"),
    [
        ([403], ManagementAccessError, 1),
        ([413], MessageTooLargeError, 1),
        ([500], Exception, 1),
        ([429, 429, 429], ManagementThrottledError, 3),
    ],
)
def test_what_the_management_api_refuses(
    kind: str, statuses: list[int], kind_of_error: Any, posts: int, store: ConnectionStore, server: ManagementServer
) -> None:
    waited: list[float] = []

    async def apause(seconds: float) -> None:
        waited.append(seconds)

    _process.state.pause, _process.state.apause = waited.append, apause
    server.statuses["c1"] = list(statuses)
    with pytest.raises(kind_of_error, match=f"the connection c1 was not taken by http://.*/dev: status {statuses[0]}"):
        Called(store, kind).post_to_connection(server.domain, "dev", "c1", "hi")
    assert len(server.posted) == posts
    assert waited == [0.1, 0.2][: posts - 1]


@both
def test_a_throttled_message_is_sent_again(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    async def apause(_: float) -> None:
        return

    _process.state.pause, _process.state.apause = lambda _: None, apause
    server.statuses["c1"] = [429]
    assert Called(store, kind).post_to_connection(server.domain, "dev", "c1", "hi") is True


@both
def test_nobody_answers(kind: str, store: ConnectionStore) -> None:
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ManagementTransportError, match="was not taken by"):
        Called(store, kind).post_to_connection(f"127.0.0.1:{port}", "dev", "c1", "hi")


def test_what_is_too_large_is_not_sent(store: ConnectionStore, server: ManagementServer) -> None:
    assert store.post_to_connection(server.domain, "dev", "c1", "x" * 131072)
    with pytest.raises(MessageTooLargeError, match="has 131073 bytes, and a WebSocket API carries 131072"):
        store.broadcast(server.domain, "dev", "x" * 131073)
    assert len(server.posted) == 1


@both
def test_counts_of_what_was_sent(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    called = Called(store, kind)
    for number in range(30):
        called.save(f"c{number}")
        if number >= 10:
            called.authenticate(f"c{number}", {"user_id": f"u{number % 2}", "tenant_id": "t"})
    server.statuses |= {"c10": [410], "c12": [500], "c1": [500]}
    assert called.send_to_user(server.domain, "dev", "u0", {"n": 1}) == SendCounts(sent=8, gone=1, failed=1)
    assert called.send_to_user(server.domain, "dev", "nobody", "x") == SendCounts()
    assert called.send_to_tenant(server.domain, "dev", "t", "x") == SendCounts(sent=19)
    assert called.broadcast(server.domain, "dev", "x") == SendCounts(sent=19)
    assert called.broadcast(server.domain, "dev", "x", include_unauthenticated=True) == SendCounts(28, 0, 1)


@both
def test_messages_are_under_way_at_once(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    called = Called(store, kind)
    for number in range(8):
        called.save(f"c{number}")
        called.authenticate(f"c{number}", {"user_id": "u"})
    server.together = threading.Barrier(4)
    assert called.send_to_user(server.domain, "dev", "u", "x") == SendCounts(sent=8)


@both
def test_a_store_that_is_down_ends_a_broadcast(kind: str, server: ManagementServer) -> None:
    class Down(MemoryRecordStore):
        pages = 0

        def find(self, *a: Any, **k: Any) -> Any:
            self.pages += 1
            if self.pages > 1:
                raise OSError("the disk is gone")
            return super().find(*a, **k)

    store = create_connection_store(Down(), clock=lambda: 1.0, concurrency=4)
    for number in range(120):
        store.save(f"c{number}")
        store.authenticate(f"c{number}", {"user_id": "u"})
    with pytest.raises(OSError, match="the disk is gone"):
        Called(store, kind).broadcast(server.domain, "dev", "x")
    # What was read before it has been told.
    assert len(server.posted) <= 100


def test_an_asynchronous_store(clock: ManualClock, server: ManagementServer) -> None:
    store = create_connection_store(AsyncRecordStore(), clock=clock.time)
    called = Called(store, "async")
    called.save("c1")
    called.authenticate("c1", {"user_id": "u"})
    assert called.broadcast(server.domain, "dev", "x") == SendCounts(sent=1)
    with pytest.raises(TypeError, match="use asave"):
        store.save("c2")
    with pytest.raises(TypeError, match="begins with 'a'"):
        list(store.get_all())


def test_the_default_store_is_one_for_the_process() -> None:
    assert _process.state.connections is None
    connection_store.save("c1")
    known = create_connection_store().get("c1")
    assert known is not None
    assert known.id == "c1"
    _process.reset()
    assert connection_store.get("c1") is None


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["save", "auth", "remove", "wait"]), st.integers(0, 2), st.integers(0, 1))))
def test_it_keeps_what_a_dictionary_would(steps: list[tuple[str, int, int]]) -> None:
    clock, model = ManualClock(), dict[str, tuple[float, str | None]]()
    store = create_connection_store(MemoryRecordStore(), clock=clock.time)
    for step, number, user in steps:
        name = f"c{number}"
        model = {known: (ends, owner) for known, (ends, owner) in model.items() if ends > clock.time()}
        if step == "save":
            store.save(name)
            model.setdefault(name, (clock.time() + 30, None))
        elif step == "auth" and name in model:
            store.authenticate(name, {"user_id": f"u{user}"})
            model[name] = (clock.time() + 7200, f"u{user}")
        elif step == "remove":
            assert store.remove(name) is (model.pop(name, None) is not None)
        elif step == "wait":
            clock.advance(seconds=(15, 30, 7200)[number])
    model = {known: owned for known, owned in model.items() if owned[0] > clock.time()}
    assert {f"c{n}" for n in range(3) if store.get(f"c{n}")} == set(model)
    assert set(ids(store.get_all())) == {known for known, (_, owner) in model.items() if owner}
    for user in range(2):
        owned_by = {known for known, (_, owner) in model.items() if owner == f"u{user}"}
        assert set(ids(store.get_by_user(f"u{user}"))) == owned_by


@both
def test_connections_in_sqlite(kind: str, tmp_path: Path, clock: ManualClock, server: ManagementServer) -> None:
    records = SqliteRecordStore(tmp_path / "connections.db")
    try:
        called = Called(create_connection_store(records, clock=clock.time, concurrency=4), kind)
        for number in range(12):
            called.save(f"c{number}=")
            called.authenticate(f"c{number}=", {"user_id": "ü", "tenant_id": f"t{number % 2}"})
        server.statuses |= {f"c{number}=": [410] for number in range(0, 12, 3)}
        # Threads that send are threads that remove.
        assert called.send_to_user(server.domain, "dev", "ü", "x") == SendCounts(sent=8, gone=4)
        assert len(called.get_all()) == 8
        assert len(called.get_by_tenant("t1")) == 4
    finally:
        records.close()
