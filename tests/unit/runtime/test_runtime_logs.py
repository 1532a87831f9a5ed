"""The logger: levels, fields, redaction, formats, hostile values, and the bridge from the standard library."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import json
import logging
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from tests.unit.runtime.support import TRACE, Context, Lines, v2
from venturekit.runtime import Logger, bridge_logging, build_context, create_logger, handler, logger
from venturekit.runtime._process import reset
from venturekit.runtime.context import _current
from venturekit.runtime.logs import REDACTED, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


@pytest.mark.parametrize("least", [*LEVELS, "silent"])
def test_levels(least: str, lines: Lines) -> None:
    log = lines.logger(min_level=least)
    for level in LEVELS:
        getattr(log, level)("m")
        log.log(level, "m")
    expected = LEVELS[LEVELS.index(least) :] if least in LEVELS else ()
    assert [record["level"] for record in lines.records] == [level.upper() for level in expected for _ in range(2)]
    assert [level for level in LEVELS if log.is_enabled(level)] == list(expected)
    assert (log.level, repr(log)) == (least, f"Logger({least})")


@pytest.mark.parametrize(
    "make",
    [
        lambda: create_logger(min_level="loud"),
        lambda: create_logger(format="xml"),
        lambda: create_logger().is_enabled("loud"),
        lambda: create_logger().log("loud", "m"),
        lambda: create_logger().child(min_level="loud"),
    ],
)
def test_what_is_no_level_or_format(make: Any) -> None:
    with pytest.raises(ValueError, match="is no log"):
        make()


def test_a_record_has_message_first_and_then_fields(lines: Lines) -> None:
    lines.logger().info("order placed", {"orderId": 7}, total=1.5)
    record = lines.records[0]
    assert list(record) == ["timestamp", "level", "message", "orderId", "total"]
    assert datetime.datetime.fromisoformat(record["timestamp"])
    assert record["timestamp"].endswith("Z")
    assert (record["level"], record["message"], record["orderId"], record["total"]) == ("INFO", "order placed", 7, 1.5)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (0.9999, "1970-01-01T00:00:00.999Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500Z"),
    ],
)
def test_times(seconds: float, expected: str) -> None:
    assert timestamp(seconds) == expected
    assert timestamp(seconds) == expected


def test_children_add_fields_and_levels(lines: Lines) -> None:
    base = lines.logger(fields={"service": "orders"}, redact=["iban"])
    child = base.child({"a": 1}, b=2, min_level="debug")
    child.debug("m", {"c": 3, "IBAN": "x"})
    base.debug("not written")
    assert lines.records[0] | {"timestamp": ""} == {
        "timestamp": "",
        "level": "DEBUG",
        "message": "m",
        "service": "orders",
        "a": 1,
        "b": 2,
        "c": 3,
        "IBAN": REDACTED,
    }
    assert len(lines) == 1


def test_the_ids_of_the_invocation_are_in_every_record(lines: Lines) -> None:
    ctx = build_context(v2(headers={"x-amzn-trace-id": TRACE}, marker={"tenantId": "acme"}))
    token = _current.set(ctx)
    lines.logger().info("m")
    _current.reset(token)
    lines.logger().info("m")
    inside, outside = lines.records
    assert (inside["requestId"], inside["traceId"], inside["tenantId"]) == (
        "request-1",
        "1-5759e988-bd862e3fe1be46a994272793",
        "acme",
    )
    assert "requestId" not in outside


def test_a_field_does_not_pass_for_what_the_logger_knows(lines: Lines) -> None:
    lines.logger().info("m", {"level": "FATAL", "message": "forged", "timestamp": 1, "a": 1}, message="again", a=2)
    record = lines.records[0]
    assert (record["level"], record["message"]) == ("INFO", "m")
    assert (record["level_"], record["message_"], record["message__"], record["timestamp_"]) == (
        "FATAL",
        "forged",
        "again",
        1,
    )
    assert (record["a"], record["a_"]) == (1, 2)


# --- redaction ------------------------------------------------------------------------------------------------------


class Account(pydantic.BaseModel):
    name: str
    password: str


@dataclasses.dataclass
class Card:
    owner: str
    card_number: str


SECRETS = [
    {"password": "s3cret"},
    {"PASSWORD": "s3cret"},
    {"pass_word": "fine", "Access-Token": "s3cret"},
    {"headers": {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "cookie": "s3cret"}},
    {"list": [{"deep": ({"client_secret": "s3cret"},)}]},
    {"account": Account(name="a", password="s3cret")},
    {"accounts": [Account(name="a", password="s3cret")]},
    {"card": Card("a", "s3cret")},
    {"db_password": "s3cret"},
    {"NEW-PASSWORD": "s3cret"},
    {"webhookSecret": "s3cret"},
    {"x-amz-security-token": "s3cret"},
    {"stripe_api_key": "s3cret"},
    {"user_access_token": {"value": "s3cret"}},
]


@pytest.mark.parametrize("fields", SECRETS)
@pytest.mark.parametrize("form", ["JSON", "Text"])
@pytest.mark.parametrize("way", ["fields", "child", "named"])
def test_secrets_are_not_written(fields: Any, form: str, way: str, lines: Lines) -> None:
    log = lines.logger(format=form)
    if way == "fields":
        log.error("m", fields)  # noqa: PLE1205 - a logger of ours
    elif way == "child":
        log.child(fields).error("m")
    else:
        log.error("m", **fields)
    assert "s3cret" not in lines[0]
    assert REDACTED in lines[0]


def test_what_only_sounds_like_a_secret_is_written(lines: Lines) -> None:
    lines.logger().info("m", {"passwordResetAt": "x", "secretary": "x", "tokens": 5, "keyboard": "x"})
    assert REDACTED not in lines[0]


# --- lazy and hostile values ----------------------------------------------------------------------------------------


def test_what_is_not_written_is_not_made(lines: Lines) -> None:
    calls = []

    def lazy() -> str:
        calls.append(1)
        return "made"

    log = lines.logger(min_level="info")
    log.debug(lazy, {"a": lazy})
    assert calls == []
    log.info(lazy, {"a": lazy})
    assert (lines.records[0]["message"], lines.records[0]["a"], len(calls)) == ("made", "made", 2)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Plain:
    def __repr__(self) -> str:
        return "Plain()"


class Text(str):
    __slots__ = ()


class Color(enum.StrEnum):
    RED = "red"


def endless() -> Any:
    while True:
        yield 1


def fails() -> Any:
    raise RuntimeError("lazily")


def circle(width: int) -> Any:
    value: list[Any] = []
    value.extend([value] * width)
    return value


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = {"a": value}
    return value


HOSTILE = {
    "object": (object(), None),
    "plain": (Plain(), "Plain()"),
    "hostile": (Hostile(), "<Hostile that cannot be shown: RuntimeError>"),
    "list of hostile": ([Hostile(), 1], ["<Hostile that cannot be shown: RuntimeError>", 1]),
    "error": (ValueError("m"), "m"),
    "hostile error": (HostileError(), "<HostileError that cannot be shown: RuntimeError>"),
    "bytes": (b"\xff", "b'\\xff'"),
    "nan": (float("nan"), "nan"),
    "inf": ([float("-inf")], ["-inf"]),
    "huge": (10**5000, None),
    "half a pair": ("\ud800", "\ud800"),
    "str subclass": (Text("text"), "text"),
    "enum": (Color.RED, "red"),
    "set": ({1}, [1]),
    "date": (datetime.date(2026, 1, 31), "2026-01-31"),
    "decimal": (decimal.Decimal("1.5"), 1.5),
    "decimal nan": (decimal.Decimal("nan"), "Decimal('NaN')"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "class": (Plain, None),
    "keys": ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
    "lazy that fails": (fails, "<not known: RuntimeError: lazily>"),
    "generator": (endless(), None),
    "circle": (circle(1), None),
    "wide circle": (circle(50), None),
    "deep": (nested(50_000), None),
    "many": (list(range(50_000)), None),
    "exception group": (ExceptionGroup("g", [ValueError("m")]), None),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("form", ["JSON", "Text"])
def test_whatever_is_logged_is_one_line(case: str, form: str, lines: Lines) -> None:
    value, expected = HOSTILE[case]
    lines.logger(format=form).info("m", {"value": value, "after": 1})
    assert len(lines) == 1
    assert "\n" not in lines[0]
    lines[0].encode("utf-8", "strict" if form == "JSON" else "replace")
    if form == "JSON":
        record = lines.records[0]
        assert (record["message"], record["after"]) == ("m", 1)
        if expected is not None:
            assert record["value"] == expected
    else:
        assert lines[0].endswith(" after=1")


@pytest.mark.parametrize("fields", ["text", 5, ["a"], ("a", "b")])
def test_fields_that_are_none_are_written_as_they_are(fields: Any, lines: Lines) -> None:
    lines.logger().info("m", fields)
    assert lines.records[0]["fields"] == (list(fields) if isinstance(fields, tuple) else fields)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a\nb", "a\nb"),
        (5, "5"),
        (None, "None"),
        ("\x1b[31m", "\x1b[31m"),
        (fails, "<not known: RuntimeError: lazily>"),
        (Hostile(), "<Hostile that cannot be shown: RuntimeError>"),
    ],
)
def test_whatever_the_message_is(message: Any, expected: str, lines: Lines) -> None:
    lines.logger().info(message)
    assert lines.records[0]["message"] == expected


def test_errors_have_type_message_and_stack_trace(lines: Lines) -> None:
    log = lines.logger()
    try:
        raise ValueError("wrong")
    except ValueError as error:
        log.error("m", error=error)
        log.exception("m")
        log.fatal("m", error=error)
    for record in lines.records:
        assert (record["errorType"], record["errorMessage"]) == ("ValueError", "wrong")
        assert record["stackTrace"][0] == "Traceback (most recent call last):"
        assert record["stackTrace"][-1] == "ValueError: wrong"
    log.exception("without one")
    log.error("m", error=HostileError())
    assert lines.records[-1]["errorMessage"] == "<HostileError that cannot be shown: RuntimeError>"
    log.error("m", error="a text")  # type: ignore[arg-type]
    assert lines.records[-1]["error"] == "a text"


# --- where and how --------------------------------------------------------------------------------------------------


def test_text_is_one_line_of_aws_s_form(lines: Lines) -> None:
    token = _current.set(build_context(v2()))
    lines.logger(format="Text").info("order placed", {"id": 7, "who": "Alice", "odd": "a b=c", "list": [1]})
    _current.reset(token)
    level, time, request_id, rest = lines[0].split("\t")
    assert (level, request_id) == ("[INFO]", "request-1")
    assert time.endswith("Z")
    assert rest == 'order placed id=7 who=Alice odd="a b=c" list=[1]'


def test_nobody_forges_a_line_or_a_field_of_text(lines: Lines) -> None:
    lines.logger(format="Text").info("m", {"path": "/a\n[INFO]\tforged", "agent": "x level=ERROR", "esc": "\x1b[2J"})
    assert "\n" not in lines[0]
    assert lines[0].endswith(r' path="/a\n[INFO]\tforged" agent="x level=ERROR" esc="\u001b[2J"')


def test_a_stack_trace_in_text_stays_one_record(lines: Lines) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        lines.logger(format="Text").exception("m")
    assert "\n" not in lines[0]
    assert lines[0].split("\r")[-1] == "ValueError: wrong"


def test_the_default_logger_reads_its_settings_when_it_first_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = type(logger)()
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "Text")
    monkeypatch.setenv("VENTURE_LOG_LEVEL", "warn")
    fresh.info("not written")
    fresh.warn("written")
    fresh.child({"a": 1}).warning("too")
    assert isinstance(fresh, Logger)
    assert fresh.level == "warn"
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("[WARN]\t")
    assert second.endswith("too a=1")
    with pytest.raises(AttributeError, match="nothing"):
        fresh.nothing  # type: ignore[attr-defined]


class Output(io.TextIOWrapper):
    """A standard output that can be made unable to write."""


@pytest.mark.parametrize("case", ["ascii", "closed", "gone", "none"])
def test_an_output_that_takes_nothing_is_no_fault_of_the_request(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    output: Any = Output(raw, encoding="ascii" if case == "ascii" else "utf-8")
    if case == "closed":
        output.close()
    if case == "gone":

        def write(text: str) -> int:
            raise BrokenPipeError

        output.write = write
    monkeypatch.setattr(sys, "stdout", None if case == "none" else output)
    create_logger(min_level="info").info("ä€😀")
    assert handler(lambda: 1, logger=create_logger())(v2(), Context())["statusCode"] == 200
    if case == "ascii":
        assert json.loads(raw.getvalue().splitlines()[0].decode("unicode_escape"))["message"] == "ä€😀"


# --- the standard library -------------------------------------------------------------------------------------------


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_records_of_the_standard_library_are_ours(root: logging.Logger, lines: Lines) -> None:
    bridge_logging(lines.logger(min_level="debug"))
    assert len(root.handlers) == 1
    log = logging.getLogger("orders.db")
    token = _current.set(build_context(v2()))
    log.warning("slow %s", "query", extra={"seconds": 3, "password": "s3cret"})
    _current.reset(token)
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("failed")
    log.critical("end")
    log.debug("detail")
    log.log(5, "too fine")
    first, second, third, fourth = lines.records
    assert (first["level"], first["message"], first["logger"], first["seconds"]) == (
        "WARN",
        "slow query",
        "orders.db",
        3,
    )
    assert (first["requestId"], first["password"]) == ("request-1", REDACTED)
    assert "taskName" not in first
    assert (second["level"], second["errorType"]) == ("ERROR", "ValueError")
    assert (third["level"], fourth["level"]) == ("FATAL", "DEBUG")


def test_the_bridge_may_be_built_again(root: logging.Logger, lines: Lines) -> None:
    bridge_logging(lines.logger())
    bridge_logging(lines.logger())
    logging.getLogger("a").info("once")
    assert len(lines) == 1
    bridge_logging()
    assert root.level == 20


def test_a_record_that_cannot_be_made_is_no_error_of_the_function(
    root: logging.Logger, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge_logging(lines.logger())
    logging.getLogger("a").info("%d", "no number")
    assert "no number" in capsys.readouterr().err


def test_what_a_test_sets_does_not_stay_with_the_default_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    for level in ("silent", "debug"):
        monkeypatch.setenv("VENTURE_LOG_LEVEL", level)
        # Once more, when nothing has been written since.
        reset()
        reset()
        assert logger.level == level
    reset()
