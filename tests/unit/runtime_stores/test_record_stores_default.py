"""Which store there is where nobody names one, and what stores refuse alike."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime.patterns.record_checks import RecordStoreError, RecordValueError
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.patterns.record_stores_default import KINDS, default_store, file_name
from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore

if TYPE_CHECKING:
    from pathlib import Path

ON_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f"}
SERVICE = {**ON_LAMBDA, "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9001"}
VARIABLES = (
    *("AWS_LAMBDA_FUNCTION_NAME", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL", "VENTURE_LOCAL"),
    *("VENTURE_PROJECT_NAME", "VENTURE_STAGE", "VENTURE_RECORDS_DIRECTORY", "XDG_STATE_HOME"),
    *(f"VENTURE_{kind.upper()}_TABLE" for kind in KINDS),
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def chosen(kind: str, home: Path) -> str:
    """The place that was chosen, in a word."""
    store: Any = default_store(kind, keys=("user",))
    if isinstance(store, DynamoDbRecordStore):
        assert store.keys == ("user",)
        return f"table {store.table_name}"
    if isinstance(store, SqliteRecordStore):
        return f"file {store._path.removeprefix(f'{home}/')}"
    assert isinstance(store, MemoryRecordStore)
    return "memory"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "memory"),
        ({"VENTURE_SAGAS_TABLE": "t"}, "memory"),
        (ON_LAMBDA, "table venturekit-sagas"),
        ({**ON_LAMBDA, "VENTURE_SAGAS_TABLE": "t"}, "table t"),
        ({**ON_LAMBDA, "VENTURE_BREAKERS_TABLE": "t"}, "table venturekit-sagas"),
        ({**SERVICE, "VENTURE_SAGAS_TABLE": "t"}, "table t"),
        (SERVICE, "file .local/state/venturekit/sagas.db"),
        ({**ON_LAMBDA, "VENTURE_LOCAL": "true"}, "file .local/state/venturekit/sagas.db"),
        ({"VENTURE_LOCAL": "true"}, "file .local/state/venturekit/sagas.db"),
        ({"VENTURE_LOCAL": "true", "XDG_STATE_HOME": "{home}/state"}, "file state/venturekit/sagas.db"),
        ({**SERVICE, "VENTURE_RECORDS_DIRECTORY": "{home}/a/b"}, "file a/b/sagas.db"),
        ({"VENTURE_RECORDS_DIRECTORY": "~/kept"}, "file kept/sagas.db"),
        ({**ON_LAMBDA, "VENTURE_RECORDS_DIRECTORY": "{home}/mounted"}, "table venturekit-sagas"),
        (
            {"VENTURE_LOCAL": "true", "VENTURE_PROJECT_NAME": "shop", "VENTURE_STAGE": "dev"},
            "file .local/state/venturekit/shop-dev-sagas.db",
        ),
    ],
)
def test_the_place_is_chosen_as_documented(
    variables: dict[str, str], expected: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.format(home=home))
    assert chosen("sagas", home) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_table_of_its_own(kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    assert chosen(kind, home) == f"table venturekit-{kind}"


def test_the_file_is_the_users_alone_and_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_LOCAL", "true")
    store: Any = default_store("connections")
    assert store.write("a", {}, 0.0, version=0)
    folder = home / ".local" / "state" / "venturekit"
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert (folder / "connections.db").exists()
    again: Any = default_store("connections")
    assert again.read("a", 0.0) is not None
    store.close()
    again.close()


def test_a_folder_that_cannot_be_made_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("VENTURE_RECORDS_DIRECTORY", str(home / "file" / "records"))
    with pytest.raises(RecordStoreError, match=r"cannot be kept in .*file/records: .* VENTURE_SAGAS_TABLE"):
        default_store("sagas")


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'saga' is no kind of records: one of idempotency, sagas"):
        default_store("saga")


@pytest.mark.parametrize(
    ("project", "expected"),
    [(None, "sagas.db"), ("shop", "shop-sagas.db"), ("../a b", "..%2Fa%20b-sagas.db")],
)
def test_no_name_of_a_project_leads_out_of_the_folder(project: str | None, expected: str) -> None:
    assert file_name("sagas", project, None) == expected


def test_memory_loads_nothing_that_the_others_need() -> None:
    program = (
        "import sys, venturekit.runtime.patterns.record_stores_default as d; d.default_store('sagas');"
        "import venturekit.runtime.patterns.record_stores_dynamodb, venturekit.runtime.patterns.record_stores_redis;"
        "print(sorted({'sqlite3', 'boto3', 'botocore', 'redis', 'asyncio', 'urllib', 'dataclasses'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=60, env=bare())
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def bare() -> dict[str, str]:
    """An environment in which our sources are found without site-packages."""
    import venturekit

    return {"PYTHONPATH": os.path.dirname(os.path.dirname(venturekit.__file__ or ""))}


# --- what stores refuse alike -------------------------------------------------------------------------------------


@pytest.mark.parametrize("record_id", ["", "x" * 1025, "ä" * 513, "\ud83d", None, 7, b"a"])
def test_what_is_no_id_is_refused(record_id: Any) -> None:
    store = MemoryRecordStore()
    with pytest.raises(ValueError, match="the id of a record"):
        store.read(record_id, 0.0)
    with pytest.raises(ValueError, match="the id of a record"):
        store.write(record_id, {}, 0.0, version=0)
    with pytest.raises(ValueError, match="the id of a record"):
        store.delete(record_id, 0.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"version": -1}, "0 or more, not -1"),
        ({"version": 0, "expires_at": float("nan")}, "expires_at is in epoch seconds"),
        ({"version": 0, "expires_at": 1_800_000_000_000.0}, "expires_at is in epoch seconds"),
        ({"version": 0, "keys": {"a-b": "c"}}, "'a-b' cannot be the name of a key"),
        ({"version": 0, "keys": {"": "c"}}, "cannot be the name of a key"),
        ({"version": 0, "keys": {"a": ""}}, "the key 'a' is 1 to 1024 bytes long in UTF-8, not 0"),
        ({"version": 0, "keys": {"a": "b\0"}}, r"U\+0000"),
        ({"version": 0, "keys": {"a": None}}, "the key 'a' is a text, not NoneType"),
    ],
)
def test_a_write_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MemoryRecordStore().write("a", {}, 0.0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit is 1 to 10000, not 0"),
        ({"limit": 10_001}, "not 10001"),
        ({"after": ""}, "after is 1 to 1024 bytes"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MemoryRecordStore().find("user", "u", 0.0, **arguments)


def test_a_value_that_is_no_json_is_explained() -> None:
    with pytest.raises(RecordValueError, match="has to be JSON: Object of type set is not JSON serializable"):
        MemoryRecordStore().write("a", {"tags": {1}}, 0.0, version=0)
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(100_000):
        inner["a"] = inner = {}
    with pytest.raises(RecordValueError, match="has to be JSON"):
        MemoryRecordStore().write("a", deep, 0.0, version=0)
    while deep:
        deep = deep.pop("a")
