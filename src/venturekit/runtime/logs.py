"""Structured logs: one line a record, JSON or text, with the ids of the invocation that runs.

Source: seed 001, ``Logger``, ``createLogger``, ``logger``; the levels of ``logLevel``; AWS Lambda Developer Guide,
"Log and monitor Python Lambda functions", for the names of the fields and the form of text lines.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ
from venturekit.runtime.context import BaseContext, RequestContext, current_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "silent": 99}
REDACTED: Final = "[redacted]"
SECRETS: Final = frozenset(
    {
        *("password", "passwd", "pwd", "secret", "token", "authorization", "cookie", "setcookie", "apikey", "xapikey"),
        *("accesstoken", "refreshtoken", "idtoken", "clientsecret", "privatekey", "secretkey", "secretaccesskey"),
        *("sessiontoken", "creditcard", "cardnumber", "cvv", "ssn"),
    }
)
"""Names whose values are not written, compared without case, hyphens and underscores."""
_DEPTH_LIMIT: Final = 8

# The text of a second is made once: it is the greater part of making a timestamp.
_second: tuple[int, str] = (-1, "")


class Logger:
    """Writes records: ``logger.info("order placed", {"orderId": order.id})``, message first, then fields.

    A message may be a function that makes it, and so may be the values of fields: neither is called for a record whose
    level is not written. Records carry ``requestId``, ``traceId`` and ``tenantId`` of the invocation that runs, and the
    fields of ``child()``. Values under names like ``password`` are replaced; ``redact`` adds names.

    ``min_level`` is ``trace``, ``debug``, ``info``, ``warn``, ``error``, ``fatal`` or ``silent``; without it
    ``VENTURE_LOG_LEVEL`` decides, then ``AWS_LAMBDA_LOG_LEVEL``, then it is ``info``. ``format`` is ``JSON`` or
    ``Text``, without it as ``AWS_LAMBDA_LOG_FORMAT`` says. ``write`` takes each line, without its end; by default it
    goes to the standard output.

    Raises ValueError for a level or format there is not.
    """

    __slots__ = ("_fields", "_format", "_level", "_secrets", "_write")

    def __init__(
        self,
        fields: Mapping[str, Any] | None = None,
        *,
        min_level: str | None = None,
        format: str | None = None,
        redact: Iterable[str] = (),
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._level = level_number(min_level or environ.log_level())
        self._format = format or environ.log_format()
        if self._format not in ("JSON", "Text"):
            raise ValueError(f"{format!r} is no log format: JSON and Text are")
        self._fields = dict(fields or {})
        self._secrets = SECRETS | {_normal(name) for name in redact}
        self._write = write

    @property
    def level(self) -> str:
        """The least level that is written."""
        return next(name for name, number in LEVELS.items() if number == self._level)

    def is_enabled(self, level: str) -> bool:
        """Whether records of a level are written."""
        return LEVELS[level] >= self._level

    def child(self, fields: Mapping[str, Any] | None = None, *, min_level: str | None = None, **more: Any) -> Logger:
        """A logger that adds fields to every record, or has another level."""
        made = Logger.__new__(Logger)
        made._fields = {**self._fields, **(fields or {}), **more}
        made._format, made._secrets, made._write = self._format, self._secrets, self._write
        made._level = self._level if min_level is None else level_number(min_level)
        return made

    def trace(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """The finest detail."""
        if self._level <= 5:
            self._record("TRACE", message, fields, more)

    def debug(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """For whoever looks for a fault."""
        if self._level <= 10:
            self._record("DEBUG", message, fields, more)

    def info(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """What happened."""
        if self._level <= 20:
            self._record("INFO", message, fields, more)

    def warn(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """What should not happen, and was dealt with."""
        if self._level <= 30:
            self._record("WARN", message, fields, more)

    warning = warn

    def error(
        self,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None = None,
        *,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """What went wrong; ``error`` adds type, message and stack trace of an exception."""
        if self._level <= 40:
            self._record("ERROR", message, fields, more, error)

    def exception(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """The same for the exception that is being handled."""
        if self._level <= 40:
            self._record("ERROR", message, fields, more, sys.exc_info()[1])

    def fatal(
        self,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None = None,
        *,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """What ends everything."""
        if self._level <= 50:
            self._record("FATAL", message, fields, more, error)

    def _record(
        self,
        level: str,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None,
        more: Mapping[str, Any],
        error: BaseException | None = None,
    ) -> None:
        record: dict[str, Any] = {"timestamp": timestamp(time.time()), "level": level}
        record["message"] = message() if callable(message) else message
        ctx = current_context()
        if ctx is not None:
            _add_ids(record, ctx)
        for given in (self._fields, fields, more):
            if given:
                for name, value in given.items():
                    self._add(record, name, value)
        if error is not None:
            _add_error(record, error)
        line = _json(record) if self._format == "JSON" else _text(record)
        if self._write is not None:
            self._write(line)
        else:
            stdout = sys.stdout
            stdout.write(line + "\n")
            stdout.flush()

    def _add(self, record: dict[str, Any], name: str, value: Any) -> None:
        if _normal(name) in self._secrets:
            value = REDACTED
        elif callable(value) and not isinstance(value, type):
            value = value()
        if isinstance(value, dict | list | tuple):
            value = self._redacted(value, 0)
        # A field does not pass for what the logger itself knows.
        record[f"{name}_" if name in record else name] = value

    def _redacted(self, value: Any, depth: int) -> Any:
        if depth > _DEPTH_LIMIT:
            return "..."
        if isinstance(value, dict):
            return {
                name: REDACTED if _normal(str(name)) in self._secrets else self._redacted(item, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._redacted(item, depth + 1) for item in value]
        return value

    def __repr__(self) -> str:
        return f"Logger({self.level})"


def create_logger(
    fields: Mapping[str, Any] | None = None,
    *,
    min_level: str | None = None,
    format: str | None = None,
    redact: Iterable[str] = (),
    write: Callable[[str], None] | None = None,
) -> Logger:
    """A new logger (seed 001): ``log = create_logger({"service": "orders"}, min_level="debug")``"""
    return Logger(fields, min_level=min_level, format=format, redact=redact, write=write)


class _DefaultLogger(Logger):
    """The logger that is there without being made: its settings are read when it first writes.

    By then the environment is complete, and importing this module has read nothing.
    """

    __slots__ = ()

    def __init__(self) -> None:
        """Everything is done by ``__getattr__``, when the first attribute is missing."""

    def __getattr__(self, name: str) -> Any:
        if name not in Logger.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        Logger.__init__(self)
        return getattr(self, name)


logger: Final = _DefaultLogger()
"""The logger of whoever needs no other: ``logger.info("started")`` (seed 001)."""


def level_number(level: str) -> int:
    """The number of a level, as in the standard library's ``logging``. Raises ValueError."""
    try:
        return LEVELS[level.lower()]
    except KeyError:
        raise ValueError(f"{level!r} is no log level: {', '.join(LEVELS)} are") from None


def timestamp(seconds: float) -> str:
    """``2026-11-21T10:00:00.123Z``, of epoch seconds."""
    global _second
    whole = int(seconds)
    known, text = _second
    if known != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = whole, text
    return f"{text}.{int((seconds - whole) * 1000):03}Z"


def _add_ids(record: dict[str, Any], ctx: BaseContext) -> None:
    record["requestId"] = ctx.request_id
    trace_id = ctx.trace_id
    if trace_id is not None:
        record["traceId"] = trace_id
    # Not asked of the context when nobody has: finding out would cost more than the record.
    tenant = ctx._tenant if isinstance(ctx, RequestContext) and not ctx.is_internal else ctx.tenant
    identifier = getattr(tenant, "id", None)
    if identifier is not None:
        record["tenantId"] = identifier


def _add_error(record: dict[str, Any], error: BaseException) -> None:
    from traceback import format_exception

    record["errorType"] = type(error).__name__
    record["errorMessage"] = str(error)
    record["stackTrace"] = "".join(format_exception(error)).rstrip("\n").split("\n")


def _json(record: dict[str, Any]) -> str:
    from venturekit.runtime.encoding import NotSerializableError, to_json

    try:
        return to_json(record)
    except NotSerializableError:
        # A record must not be lost for a value that is not JSON.
        return to_json({name: _shown(value) for name, value in record.items()})


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int) or value is None else repr(value)


def _text(record: dict[str, Any]) -> str:
    fixed = ("timestamp", "level", "message", "requestId", "stackTrace")
    line = f"[{record['level']}]\t{record['timestamp']}\t{record.get('requestId', '')}\t{record['message']}"
    for name, value in record.items():
        if name not in fixed:
            line += f" {name}={value if isinstance(value, str) else _json_value(value)}"
    if "stackTrace" in record:
        line += "\n" + "\n".join(record["stackTrace"])
    # As AWS's own runtime does it: a carriage return keeps the record one.
    return line.replace("\n", "\r")


def _json_value(value: Any) -> str:
    from venturekit.runtime.encoding import NotSerializableError, to_json

    try:
        return to_json(value)
    except NotSerializableError:
        return repr(value)


def _normal(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
