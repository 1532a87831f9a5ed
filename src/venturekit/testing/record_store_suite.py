"""What every store of records has to do, case by case: the suite that ours pass, for stores of your own.

    import pytest
    from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

    @pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
    def test_my_store(case):
        with StoreUnderTest(MyStore()) as store:
            case(store)

The cases leave records behind, under ids of their own: many may share one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.testing.record_store_lab import StoreUnderTest as StoreUnderTest
from venturekit.testing.record_store_lab import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.patterns.records import Record, RecordStore

WRITERS: Final = 6
LARGE_CHARACTERS: Final = 300_000
# Strange, and all different; in the order of their code points, which is that of their bytes in UTF-8.
STRANGE_NAMES: Final = (
    *(" ", "\"quoted\" 'twice'", "%s{}[^*]?", "../..", "A", "a", "a#b", "a:b", "a\nb", "ab"),
    *("ä", "λ", "\uffee", "😀", "😀\u0301"),
)
VALUES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"text": "ä😀\u0000\n\"'\\", "": "empty name", "ключ": "λ"},
    {"numbers": [0, -1, 2**53, 1.5, -0.25, 1e-9, 1e300], "none": None, "yes": True, "no": False},
    {"deep": {"in": [{"a": [[], {}]}]}, "half": "\ud83d"},
)


def what_was_never_written_is_not_there(store: StoreUnderTest) -> None:
    """Nothing is read, deleted or written over."""
    expect(store.read("a"), None)
    expect(store.delete("a"), False)
    expect(store.delete("a", version=1), False)
    expect(store.write("a", {}, version=1), False)
    expect(store.read("a"), None)


def a_record_is_read_as_it_was_written(store: StoreUnderTest) -> None:
    """Value, version, end and keys, from this handle on the store and from another."""
    end = store.now + 59.875
    for number, value in enumerate(VALUES):
        keys = {store.key: "u", store.other_key: "täñant 😀"}
        expect(store.write(f"{number}", value, version=0, expires_at=end, keys=keys), True)
        for handle in (store.store, store.another):
            record = _there(store, f"{number}", handle)
            expect(record.id, store.id(f"{number}"))
            expect(record.value, value)
            expect((record.version, record.expires_at), (1, end))
            expect(dict(record.keys), {name: store.id(text) for name, text in keys.items()})


def what_another_handle_writes_is_read_here(store: StoreUnderTest) -> None:
    """The record as last written by anybody."""
    expect(store.write("a", {"n": 1}, version=0, store=store.another), True)
    expect(_there(store, "a").value, {"n": 1})
    expect(store.write("a", {"n": 2}, version=1), True)
    expect(_there(store, "a", store.another).value, {"n": 2})
    expect(store.write("a", {"n": 3}, version=1, store=store.another), False)


def values_are_nobodys_to_share(store: StoreUnderTest) -> None:
    """What changes a value afterwards changes no record."""
    value: dict[str, Any] = {"list": [1]}
    expect(store.write("a", value, version=0), True)
    value["list"].append(2)
    first = _there(store, "a")
    expect(first.value, {"list": [1]})
    first.value["list"].append(3)
    expect(_there(store, "a").value, {"list": [1]})


def only_the_version_that_is_there_can_be_written_over(store: StoreUnderTest) -> None:
    """False, and nothing is written, when somebody else was faster."""
    expect(store.write("a", {"n": 1}, version=0), True)
    for version in (0, 2, 7):
        expect(store.write("a", {"n": 9}, version=version, expires_at=store.now, keys={store.key: "x"}), False)
    record = _there(store, "a")
    expect((record.value, record.version, record.expires_at, dict(record.keys)), ({"n": 1}, 1, None, {}))
    for version in range(1, 12):
        expect(store.write("a", {"n": version + 1}, version=version), True)
        expect(store.write("a", {"n": -1}, version=version), False)
        record = _there(store, "a")
        expect((record.value, record.version), ({"n": version + 1}, version + 1))


def a_record_is_deleted_in_its_version_or_in_any(store: StoreUnderTest) -> None:
    """Whether it was there and is gone; what comes after begins with version 1."""
    expect(store.write("a", {"n": 1}, version=0), True)
    expect(store.write("a", {"n": 2}, version=1), True)
    expect([store.delete("a", version=version) for version in (0, 1, 3)], [False, False, False])
    expect(_there(store, "a").version, 2)
    expect(store.delete("a", version=2), True)
    expect(store.read("a"), None)
    expect(store.delete("a", version=2), False)
    expect(store.write("a", {"n": 3}, version=2), False)
    expect(store.write("a", {"n": 4}, version=0), True)
    expect(_there(store, "a").version, 1)
    expect([store.delete("a"), store.delete("a")], [True, False])


def at_its_end_a_record_does_not_exist(store: StoreUnderTest) -> None:
    """Not for any of the methods; until just before it does."""
    end = store.now + 60
    for name in ("read", "update", "create", "delete", "found"):
        expect(store.write(name, {"n": 1}, version=0, expires_at=end, keys={store.key: "u"}), True)
    store.now = end - 0.001
    expect(_there(store, "read").expires_at, end)
    expect(store.write("create", {"n": 2}, version=0, expires_at=end), False)
    expect(store.write("update", {"n": 2}, version=1, expires_at=end, keys={store.key: "u"}), True)
    store.expect_found(store.key, "u", ["create", "delete", "found", "read", "update"])
    store.now = end
    expect(store.find(store.key, "u").records, [])
    expect(store.read("read"), None)
    # Before anything is written: many stores remove what is over when they write.
    expect(store.delete("delete"), False)
    expect(store.write("update", {"n": 3}, version=2), False)
    expect(store.write("create", {"n": 3}, version=0, keys={store.key: "v"}), True)
    record = _there(store, "create")
    expect((record.value, record.version, record.expires_at), ({"n": 3}, 1, None))
    store.expect_found(store.key, "u", [])
    store.expect_found(store.key, "v", ["create"])


def every_write_sets_the_end_anew(store: StoreUnderTest) -> None:
    """Later, never, sooner; an end that has been is one as well."""
    start = store.now
    expect(store.write("a", {}, version=0, expires_at=start + 10), True)
    expect(store.write("a", {}, version=1, expires_at=start + 100), True)
    store.now = start + 50
    expect(_there(store, "a").expires_at, start + 100)
    expect(store.write("a", {}, version=2), True)
    store.now = start + 1e7
    expect(_there(store, "a").expires_at, None)
    expect(store.write("a", {}, version=3, expires_at=store.now + 1), True)
    store.now += 1
    expect(store.read("a"), None)
    expect(store.write("a", {}, version=0, expires_at=store.now - 5), True)
    expect(store.read("a"), None)
    expect(store.write("a", {}, version=0), True)
    expect(_there(store, "a").version, 1)


def records_are_found_by_their_keys(store: StoreUnderTest) -> None:
    """By the name and by the value; deleted ones no more."""
    user, tenant = store.key, store.other_key
    expect(store.write("a", {"n": 1}, version=0, keys={user: "u", tenant: "t"}), True)
    expect(store.write("b", {"n": 2}, version=0, keys={user: "v", tenant: "t"}), True)
    expect(store.write("c", {"n": 3}, version=0, keys={tenant: "u"}), True)
    expect(store.write("d", {"n": 4}, version=0), True)
    store.expect_found(user, "u", ["a"])
    store.expect_found(tenant, "t", ["a", "b"])
    store.expect_found(tenant, "u", ["c"])
    store.expect_found(user, "t", [])
    (record,) = store.find(user, "v").records
    expect(record, store.read("b"))
    expect(store.delete("a"), True)
    store.expect_found(tenant, "t", ["b"])
    store.expect_found(user, "u", [])


def keys_replace_those_of_before(store: StoreUnderTest) -> None:
    """Others, fewer, none; also when a record of before is over, or was deleted."""
    user, tenant = store.key, store.other_key
    expect(store.write("a", {}, version=0, keys={user: "u", tenant: "t"}), True)
    expect(store.write("a", {}, version=1, keys={user: "v"}), True)
    expect(dict(_there(store, "a").keys), {user: store.id("v")})
    store.expect_found(user, "u", [])
    store.expect_found(tenant, "t", [])
    store.expect_found(user, "v", ["a"])
    expect(store.write("a", {}, version=2, expires_at=store.now + 5), True)
    store.expect_found(user, "v", [])
    expect(store.delete("a"), True)
    expect(store.write("a", {}, version=0, expires_at=store.now + 5, keys={user: "u"}), True)
    store.now += 5
    expect(store.write("a", {}, version=0, keys={user: "w"}), True)
    store.expect_found(user, "u", [])
    store.expect_found(user, "w", ["a"])


def pages_are_in_the_order_of_ids(store: StoreUnderTest) -> None:
    """All of them once, ``limit`` on a page, and nothing behind the last one."""
    names = [f"{number:02}" for number in range(7)]
    for name in sorted(names, key=lambda name: name[::-1]):
        expect(store.write(name, {}, version=0, keys={store.key: "u"}), True)
    store.expect_found(store.key, "u", names)
    for limit in (1, 2, 3, 6, 7, 8):
        pages = store.pages(store.key, "u", limit=limit)
        expect([name for page in pages for name in page], names)
        full = [len(page) for page in pages[:-1]]
        expect(full, [limit] * len(full))
        expect(pages[-1] != [], True)
    expect(store.pages(store.key, "nobody", limit=3), [[]])


def what_changes_between_two_pages_repeats_and_skips_nothing_else(store: StoreUnderTest) -> None:
    """The page begins behind where the last one ended, whatever has become of the record there."""
    for name in ("b", "d", "f", "h"):
        expect(store.write(name, {}, version=0, keys={store.key: "u"}), True)
    store.expect_found(store.key, "u", ["b", "d", "f", "h"])
    page = store.find(store.key, "u", limit=2)
    expect([record.id for record in page.records], [store.id("b"), store.id("d")])
    expect(store.delete("d"), True)
    for name in ("a", "g"):
        expect(store.write(name, {}, version=0, keys={store.key: "u"}), True)
    store.expect_found(store.key, "u", ["a", "b", "f", "g", "h"])
    rest = store.find(store.key, "u", limit=5, after=page.after)
    expect([record.id for record in rest.records], [store.id("f"), store.id("g"), store.id("h")])
    expect(rest.after, None)


def records_that_are_over_leave_no_gap_in_a_page(store: StoreUnderTest) -> None:
    """A page has as many as are asked for, as long as there are any."""
    for number in range(9):
        end = None if number % 4 == 0 else store.now + 30
        expect(store.write(f"{number}", {}, version=0, expires_at=end, keys={store.key: "u"}), True)
    store.expect_found(store.key, "u", [f"{number}" for number in range(9)])
    store.now += 30
    expect(store.pages(store.key, "u", limit=2), [["0", "4"], ["8"]])
    expect(store.pages(store.key, "u", limit=3), [["0", "4", "8"]])


def strange_ids_are_ids_like_others(store: StoreUnderTest) -> None:
    """Each is its own record, as long as 1,024 bytes, and they are found in the order of their code points."""
    longest = "z" * (1024 - len(store.id("").encode()))
    names = sorted([*STRANGE_NAMES, "a\0", longest])
    for number, name in enumerate(names):
        expect(store.write(name, {"n": number}, version=0, keys={store.key: "u"}), True)
    for number, name in enumerate(names):
        expect(_there(store, name).value, {"n": number})
    store.expect_found(store.key, "u", names)
    expect([name for page in store.pages(store.key, "u", limit=4) for name in page], names)


def strange_keys_are_keys_like_others(store: StoreUnderTest) -> None:
    """Each value finds its own records only."""
    longest = "z" * (1024 - len(store.id("").encode()))
    for number, name in enumerate([*STRANGE_NAMES, longest]):
        expect(store.write(f"{number}", {}, version=0, keys={store.key: name}), True)
    for number, name in enumerate([*STRANGE_NAMES, longest]):
        store.expect_found(store.key, name, [f"{number}"])
    expect(store.delete("3"), True)
    store.expect_found(store.key, STRANGE_NAMES[3], [])


def large_values_are_kept_whole(store: StoreUnderTest) -> None:
    """300,000 characters, which is what every store takes."""
    value = {"text": "abcdefghij" * (LARGE_CHARACTERS // 10)}
    expect(store.write("a", value, version=0, keys={store.key: "u"}), True)
    expect(_there(store, "a").value == value, True)
    expect(store.write("a", {"text": ""}, version=1), True)
    expect(_there(store, "a").value, {"text": ""})


def what_is_no_json_object_is_refused(store: StoreUnderTest) -> None:
    """With TypeError or ValueError, before anything is written."""
    refused: list[Any] = [{"n": float("nan")}, {"n": float("inf")}, {"set": {1}}, {"bytes": b""}, [1], "text", None]
    for value in refused:
        try:
            store.write("a", value, version=0)
        except (TypeError, ValueError):
            pass
        else:
            raise AssertionError(f"{value!r} was written")
    expect(store.read("a"), None)


def of_many_first_writers_one_wins(store: StoreUnderTest) -> None:
    """And it is the winner's value that is there."""
    for name in ("a", "b"):
        done = store.together([_write(store, name, {"by": writer}, 0) for writer in range(WRITERS)])
        expect(sorted(done), [False] * (WRITERS - 1) + [True])
        record = _there(store, name)
        expect((record.value, record.version), ({"by": done.index(True)}, 1))


def of_many_who_write_over_or_delete_one_wins(store: StoreUnderTest) -> None:
    """All have seen the same version."""
    expect(store.write("a", {}, version=0, keys={store.key: "u"}), True)
    writers = [_write(store, "a", {"by": writer}, 1) for writer in range(WRITERS)]
    done = store.together([*writers, _delete(store, "a", 1)])
    expect(sum(done), 1)
    record = store.read("a")
    if done[-1]:
        expect(record, None)
    else:
        expect(record is not None and (record.value, record.version), ({"by": done.index(True)}, 2))


def no_count_is_lost(store: StoreUnderTest) -> None:
    """Whoever was not the fastest reads and tries again."""
    store.together([_count(store, "a", 5) for _ in range(WRITERS)])
    record = _there(store, "a")
    expect((record.value, record.version), ({"count": 5 * WRITERS}, 5 * WRITERS))


RECORD_STORE_CASES: Final[tuple[Callable[[StoreUnderTest], None], ...]] = (
    what_was_never_written_is_not_there,
    a_record_is_read_as_it_was_written,
    what_another_handle_writes_is_read_here,
    values_are_nobodys_to_share,
    only_the_version_that_is_there_can_be_written_over,
    a_record_is_deleted_in_its_version_or_in_any,
    at_its_end_a_record_does_not_exist,
    every_write_sets_the_end_anew,
    records_are_found_by_their_keys,
    keys_replace_those_of_before,
    pages_are_in_the_order_of_ids,
    what_changes_between_two_pages_repeats_and_skips_nothing_else,
    records_that_are_over_leave_no_gap_in_a_page,
    strange_ids_are_ids_like_others,
    strange_keys_are_keys_like_others,
    large_values_are_kept_whole,
    what_is_no_json_object_is_refused,
    of_many_first_writers_one_wins,
    of_many_who_write_over_or_delete_one_wins,
    no_count_is_lost,
)


def _there(store: StoreUnderTest, name: str, handle: RecordStore | None = None) -> Record:
    record = store.read(name, store=handle)
    if record is None:
        raise AssertionError(f"the record {name!r} is not there")
    return record


def _write(store: StoreUnderTest, name: str, value: dict[str, Any], version: int) -> Generator[Any, Any, bool]:
    done: bool = yield store.store.write(store.id(name), value, store.now, version=version)
    return done


def _delete(store: StoreUnderTest, name: str, version: int) -> Generator[Any, Any, bool]:
    done: bool = yield store.store.delete(store.id(name), store.now, version=version)
    return done


def _count(store: StoreUnderTest, name: str, times: int) -> Generator[Any, Any, None]:
    tries = 0
    while times:
        record: Record | None = yield store.store.read(store.id(name), store.now)
        version, count = (record.version, record.value["count"]) if record is not None else (0, 0)
        times -= yield store.store.write(store.id(name), {"count": count + 1}, store.now, version=version)
        tries += 1
        assert tries < 1000, "nobody is ever the fastest"
