"""Structured logs: one line a record, JSON or text, with the ids of the invocation that runs.

Source: seed 001, ``Logger``, ``createLogger``, ``logger``; the levels of ``logLevel``; AWS Lambda Developer Guide,
"Log and monitor Python Lambda functions", for the names of the fields and the form of text lines.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ
from venturekit.runtime._process import state
from venturekit.runtime.context import BaseContext, RequestContext, current_context
from venturekit.runtime.encoding import NotSerializableError, plain, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "silent": 99}
REDACTED: Final = "[redacted]"
SECRETS: Final = frozenset(
    {
        *("password", "passwd", "pwd", "secret", "token", "authorization", "cookie", "setcookie", "apikey", "xapikey"),
        *("accesstoken", "refreshtoken", "idtoken", "clientsecret", "privatekey", "secretkey", "secretaccesskey"),
        *("sessiontoken", "securitytoken", "xamzsecuritytoken", "authtoken", "creditcard", "cardnumber", "cvv", "ssn"),
    }
)
"""Names whose values are not written, compared without case, hyphens and underscores; see ``_SECRET_ENDS`` as well."""
_SECRET_ENDS: Final = ("password", "passwd", "passphrase", "secret", "apikey", "privatekey", "accesstoken")
_DEPTH_LIMIT: Final = 8
_NODES_LIMIT: Final = 10_000
_QUOTED: Final = frozenset(' ="')
_PLAIN: Final = frozenset((str, int, bool, type(None)))


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

    @property
    def level_number(self) -> int:
        """The same as a number of the standard library's ``logging``."""
        return self._level

    def is_enabled(self, level: str) -> bool:
        """Whether records of a level are written."""
        return level_number(level) >= self._level

    def child(self, fields: Mapping[str, Any] | None = None, /, *, min_level: str | None = None, **more: Any) -> Logger:
        """A logger that adds fields to every record, or has another level."""
        made = Logger.__new__(Logger)
        made._fields = {**self._fields, **(fields or {}), **more}
        made._format, made._secrets, made._write = self._format, self._secrets, self._write
        made._level = self._level if min_level is None else level_number(min_level)
        return made

    def trace(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """The finest detail."""
        if self._level <= 5:
            self._record("TRACE", message, fields, more)

    def debug(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """For whoever looks for a fault."""
        if self._level <= 10:
            self._record("DEBUG", message, fields, more)

    def info(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """What happened."""
        if self._level <= 20:
            self._record("INFO", message, fields, more)

    def warn(self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """What should not happen, and was dealt with."""
        if self._level <= 30:
            self._record("WARN", message, fields, more)

    warning = warn

    def error(
        self,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """What went wrong; ``error`` adds type, message and stack trace of an exception."""
        if self._level <= 40:
            self._record("ERROR", message, fields, more, error)

    def exception(
        self, message: str | Callable[[], str], fields: Mapping[str, Any] | None = None, /, **more: Any
    ) -> None:
        """The same for the exception that is being handled."""
        if self._level <= 40:
            self._record("ERROR", message, fields, more, sys.exc_info()[1])

    def fatal(
        self,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """What ends everything."""
        if self._level <= 50:
            self._record("FATAL", message, fields, more, error)

    def log(
        self,
        level: str,
        message: str | Callable[[], str],
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        error: BaseException | None = None,
        **more: Any,
    ) -> None:
        """A record of any level: ``log("warn", "slow", {"seconds": 3})``. Raises ValueError for no level."""
        number = level_number(level)
        if self._level <= number < LEVELS["silent"]:
            self._record("WARN" if number == LEVELS["warn"] else level.upper(), message, fields, more, error)

    def _record(
        self,
        level: str,
        message: Any,
        fields: Any,
        more: Mapping[str, Any],
        error: object = None,
    ) -> None:
        record: dict[str, Any] = {"timestamp": timestamp(time.time()), "level": level}
        record["message"] = message if type(message) is str else _message(message)
        ctx = current_context()
        if ctx is not None:
            _add_ids(record, ctx)
        for given in (self._fields, fields, more):
            if given:
                # What is no mapping is a mistake that must not cost the request it is made in.
                for name, value in given.items() if hasattr(given, "items") else (("fields", given),):
                    self._add(record, name, value)
        if isinstance(error, BaseException):
            _add_error(record, error)
        elif error is not None:
            self._add(record, "error", error)
        self._emit(_json(record) if self._format == "JSON" else _text(record))

    def _emit(self, line: str) -> None:
        if self._write is not None:
            self._write(line)
            return
        stdout = sys.stdout
        try:
            try:
                stdout.write(line + "\n")
            except UnicodeEncodeError:
                # A standard output that is not UTF-8.
                stdout.write(line.encode("ascii", "backslashreplace").decode() + "\n")
            stdout.flush()
        except (OSError, ValueError, AttributeError):
            # Nobody is there to read it: closed, or a pipe without its reader. That is no fault of the request.
            return

    def _add(self, record: dict[str, Any], name: Any, value: Any) -> None:
        name = str(name)
        if _is_secret(name, self._secrets):
            value = REDACTED
        elif callable(value) and not isinstance(value, type):
            value = _called(value)
        if type(value) not in _PLAIN:
            value = self._redacted(value, 0, [_NODES_LIMIT])
        # A field does not pass for what the logger itself knows.
        while name in record:
            name += "_"
        record[name] = value

    def _redacted(self, value: Any, depth: int, left: list[int]) -> Any:
        """A value as JSON can hold it, without secrets; what is too deep or too much is cut off."""
        if type(value) in _PLAIN:
            return value
        if type(value) is float:
            return value if value - value == 0 else repr(value)
        left[0] -= 1
        if depth > _DEPTH_LIMIT or left[0] < 0:
            return "..."
        if isinstance(value, dict):
            return {
                str(name): REDACTED if _is_secret(str(name), self._secrets) else self._redacted(item, depth + 1, left)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._redacted(item, depth + 1, left) for item in value]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, float):
            return float(value) if value - value == 0 else repr(value)
        if isinstance(value, BaseException):
            return _safely(str, value) or _safely(repr, value)
        if hasattr(value, "__next__"):
            # Reading it would take it from whoever it is meant for, and may have no end.
            return _safely(repr, value)
        try:
            made = plain(value)
        except Exception:
            return _safely(repr, value)
        return self._redacted(made, depth + 1, left) if type(made) is not type(value) else _safely(repr, value)

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

    def _forget(self) -> None:
        """Read the settings again when it next writes: what a test has set must not stay for the next one."""
        for name in Logger.__slots__:
            try:
                delattr(self, name)
            except AttributeError:
                # It has not written yet.
                return


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
    whole = int(seconds)
    known, text = state.log_second
    if known != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        state.log_second = whole, text
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
    record["errorMessage"] = _safely(str, error)
    try:
        record["stackTrace"] = "".join(format_exception(error)).rstrip("\n").split("\n")
    except Exception:
        # An exception that cannot be shown, or one of its causes.
        record["stackTrace"] = []


def _message(message: Any) -> str:
    made = _called(message) if callable(message) else message
    return made if type(made) is str else _safely(str, made)


def _called(function: Callable[[], Any]) -> Any:
    """What a lazy value is; that it failed is written instead of it, for a record is not worth a request."""
    try:
        return function()
    except Exception as error:
        return f"<not known: {type(error).__name__}: {_safely(str, error)}>"


def _safely(show: Callable[[Any], str], value: Any) -> str:
    try:
        return str(show(value))
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _json(record: dict[str, Any]) -> str:
    try:
        return to_json(record)
    except NotSerializableError:
        # What Python itself does not write, like a number of five thousand digits.
        return to_json({name: value if _is_json(value) else _safely(repr, value) for name, value in record.items()})


def _is_json(value: Any) -> bool:
    try:
        to_json(value)
    except NotSerializableError:
        return False
    return True


def _text(record: dict[str, Any]) -> str:
    fixed = ("timestamp", "level", "message", "requestId", "stackTrace")
    line = f"[{record['level']}]\t{record['timestamp']}\t{record.get('requestId', '')}\t{record['message']}"
    for name, value in record.items():
        if name not in fixed:
            # In quotes where it could pass for the next field, or for another record.
            bare = isinstance(value, str) and value.isprintable() and not _QUOTED.intersection(value)
            line += f" {name}={value if bare else _json_value(value)}"
    if "stackTrace" in record:
        line += "\n" + "\n".join(record["stackTrace"])
    # As AWS's own runtime does it: a carriage return keeps the record one.
    return line.replace("\n", "\r")


def _json_value(value: Any) -> str:
    try:
        return to_json(value)
    except NotSerializableError:
        return _safely(repr, value)


@lru_cache(maxsize=1024)
def _compared(name: str) -> tuple[str, bool]:
    """A name as names are compared, and whether it ends as names of secrets do. A program has few, again and again."""
    normal = _normal(name)
    return normal, normal.endswith(_SECRET_ENDS)


def _is_secret(name: str, secrets: frozenset[str]) -> bool:
    normal, is_one = _compared(name)
    return is_one or normal in secrets


def _normal(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
