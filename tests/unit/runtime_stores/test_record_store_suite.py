"""The suite finds stores that do not do what stores do: each of these lacks one thing, and a case says so."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.patterns.records import RecordPage
from venturekit.testing import record_store_suite
from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

if TYPE_CHECKING:
    from pathlib import Path


class Changed(MemoryRecordStore):
    """A store in memory, to be changed in one thing."""

    def read(self, id: str, now: float, /) -> Any:
        return super().read(id, now)

    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        return super().write(id, value, now, **options)

    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        return super().find(key, value, now, **options)


class ReadsWhatIsOver(Changed):
    def read(self, id: str, now: float, /) -> Any:
        return super().read(id, now - 0.0005)


class DeletesWhatIsOver(Changed):
    def delete(self, id: str, now: float, /, **options: Any) -> bool:
        return super().delete(id, now - 1, **options)


class FindsWhatIsOver(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        return super().find(key, value, now - 1, **options)


class RoundsTheEnd(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        end = options.get("expires_at")
        return super().write(id, value, now, **{**options, "expires_at": end and math.ceil(end)})


class WritesOverAnything(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        there = self.read(id, now)
        return super().write(id, value, now, **{**options, "version": there.version if there else 0})


class SaysYesToAll(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        super().write(id, value, now, **options)
        return True


class KeepsOldKeys(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        there = self.read(id, now)
        keys = {**(there.keys if there else {}), **(options.get("keys") or {})}
        return super().write(id, value, now, **{**options, "keys": keys})


class LooksThenWrites(Changed):
    """Two that look at the same time both win."""

    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        import time

        there = self.read(id, now)
        if options["version"] != (there.version if there else 0):
            return False
        time.sleep(0.001)
        there = self.read(id, now)
        return super().write(id, value, now, **{**options, "version": there.version if there else 0})


class SharesValues(Changed):
    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, Any] = {}

    def read(self, id: str, now: float, /) -> Any:
        record = super().read(id, now)
        return record and record._replace(value=self._values.setdefault(id, record.value))

    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        self._values.pop(id, None)
        return super().write(id, value, now, **options)


class RepeatsTheLastOfAPage(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        after = options.get("after")
        return super().find(key, value, now, **{**options, "after": after and after[:-1]})


class NeverEnds(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        page = super().find(key, value, now, **options)
        return RecordPage(page.records, page.after or "0")


class IgnoresTheLimit(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        return super().find(key, value, now, **{**options, "limit": 100})


class FindsInTheOrderOfWriting(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        page = super().find(key, value, now, **options)
        return RecordPage(sorted(page.records, key=lambda record: record.id[::-1]), page.after)


class OrdersByUtf16(Changed):
    def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
        page = super().find(key, value, now, **options)
        return RecordPage(sorted(page.records, key=lambda record: record.id.encode("utf-16-be")), page.after)


class FoldsCases(Changed):
    def read(self, id: str, now: float, /) -> Any:
        return super().read(id.lower(), now)

    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        return super().write(id.lower(), value, now, **options)


class CutsLongValues(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        if isinstance(value, dict):
            value = {name: text[:65_535] if isinstance(text, str) else text for name, text in value.items()}
        return super().write(id, value, now, **options)


class TakesAnything(Changed):
    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        try:
            return super().write(id, copy.copy(value), now, **options)
        except ValueError:
            return super().write(id, {}, now, **options)


class GoesOnCountingWhereARecordWasDeleted(Changed):
    def read(self, id: str, now: float, /) -> Any:
        record = super().read(id, now)
        return record and record._replace(version=record.version + (id in self._gone))

    def __init__(self) -> None:
        super().__init__()
        self._gone: set[str] = set()

    def delete(self, id: str, now: float, /, **options: Any) -> bool:
        self._gone.add(id)
        return super().delete(id, now, **options)


@pytest.mark.parametrize("kind", Changed.__subclasses__(), ids=lambda kind: kind.__name__)
def test_a_store_that_lacks_something_is_found_out(kind: Any) -> None:
    failures = []
    for case in RECORD_STORE_CASES:
        with StoreUnderTest(kind()) as store:
            try:
                case(store)
            except AssertionError as error:
                failures.append(str(error))
    assert failures
    assert all(failures), "each says what was found"


def test_another_handle_that_sees_something_else_is_found_out() -> None:
    with (
        StoreUnderTest(MemoryRecordStore(), another=MemoryRecordStore()) as store,
        pytest.raises(AssertionError, match="the record '0' is not there"),
    ):
        record_store_suite.a_record_is_read_as_it_was_written(store)


def test_an_index_that_lags_is_waited_for_if_that_is_said() -> None:
    class Lags(Changed):
        late = 0

        def find(self, key: str, value: str, now: float, /, **options: Any) -> Any:
            Lags.late += 1
            return super().find(key, value, now, **options) if Lags.late % 5 == 0 else RecordPage([], None)

    with StoreUnderTest(Lags()) as store, pytest.raises(AssertionError, match="found \\[\\], and not"):
        record_store_suite.keys_replace_those_of_before(store)
    with StoreUnderTest(Lags(), find_delay_seconds=30) as store:
        store.write("a", {}, version=0, keys={"user": "u"})
        store.expect_found("user", "u", ["a"])


def test_all_cases_are_run() -> None:
    written = [name for name, value in vars(record_store_suite).items() if callable(value) and name[0].islower()]
    assert {case.__name__ for case in RECORD_STORE_CASES} == set(written) - {"expect"}


def test_the_suite_runs_as_its_documentation_says(tmp_path: Path) -> None:
    text = record_store_suite.__doc__ or ""
    example = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    program = f"from venturekit.runtime.patterns import MemoryRecordStore as MyStore\n{example}\n"
    (tmp_path / "test_mine.py").write_text(program)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert f"{len(RECORD_STORE_CASES)} passed" in done.stdout, done.stdout
