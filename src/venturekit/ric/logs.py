"""A function's log: where records go and how they are written (AWS: "Using Lambda advanced logging controls").

`logging` is configured when the environment starts: a function may use it in the first line of its module.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

_FRAME_VARIABLE = "_LAMBDA_TELEMETRY_LOG_FD"
_JSON_TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
_TEXT_TIMESTAMP = "%Y-%m-%dT%H:%M:%S"
_TEXT_RECORD = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
# Frame types: a base per format, and the level in the lowest byte (4 for each step from TRACE = 4 to FATAL = 24).
_TEXT_FRAME = 0xA55A0003
_JSON_FRAME = 0xA55A0002
_PLAIN_TEXT_FRAME = _TEXT_FRAME.to_bytes(4, "big")
# Everything a log record carries by itself: the rest came with `extra=` and belongs into a JSON record.
_RECORD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) - {"taskName"}
_OWN_RECORD_FIELDS = _RECORD_FIELDS | {"aws_request_id", "tenant_id", "_frame_type"}


def _rounded_level(level_number: int) -> int:
    return min(logging.CRITICAL, max(0, level_number)) // 10 * 10


def _frame_type(base: int, level_number: int) -> bytes:
    step = _rounded_level(level_number) // 10
    return (base | ((step + 1) * 4 if step else 0)).to_bytes(4, "big")


class StandardOutputSink:
    """Log records as text on standard output. Lines of one error are kept together by carriage returns."""

    __slots__ = ()

    def log(self, message: str, frame_type: bytes | None = None) -> None:
        sys.stdout.write(message)

    def log_error(self, lines: list[str], frame_type: bytes) -> None:
        text = "\r".join(lines) + "\n"
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


class FramedSink:
    """Log records as frames on a file descriptor: type, length, microseconds since 1970, message (all big-endian)."""

    __slots__ = ("_file_descriptor",)

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor

    def log(self, message: str, frame_type: bytes | None = None) -> None:
        encoded = message.encode("utf-8", "backslashreplace")
        timestamp_us = time.time_ns() // 1000
        head = (frame_type or _PLAIN_TEXT_FRAME) + len(encoded).to_bytes(4, "big") + timestamp_us.to_bytes(8, "big")
        frame = head + encoded
        while frame:
            frame = frame[os.write(self._file_descriptor, frame) :]

    def log_error(self, lines: list[str], frame_type: bytes) -> None:
        self.log("\n".join(lines), frame_type)


def open_sink(environ: MutableMapping[str, str]) -> StandardOutputSink | FramedSink:
    """The sink the environment asks for; the variable that names the descriptor is removed, as AWS's client does."""
    file_descriptor = environ.pop(_FRAME_VARIABLE, None)
    return StandardOutputSink() if file_descriptor is None else FramedSink(int(file_descriptor))


class InvocationFilter(logging.Filter):
    """Gives every record the request id and the tenant of the invocation it was written in."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id: str | None = None
        self.tenant_id: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id or ""
        record.tenant_id = self.tenant_id
        return True


class LambdaLogHandler(logging.Handler):
    """Writes records to the sink; `frame_base` is None where frames carry no level."""

    def __init__(self, log_sink: StandardOutputSink | FramedSink, frame_base: int | None) -> None:
        super().__init__()
        self.log_sink = log_sink
        self._frame_base = frame_base

    def emit(self, record: logging.LogRecord) -> None:
        frame_type = None if self._frame_base is None else _frame_type(self._frame_base, record.levelno)
        self.log_sink.log(self.format(record), frame_type)


class JsonFormatter(logging.Formatter):
    """One JSON object per record; values that have no JSON form are written as their text."""

    def __init__(self) -> None:
        super().__init__(datefmt=_JSON_TIMESTAMP)
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": logging.getLevelName(_rounded_level(record.levelno)),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            "stackTrace": None,
            "errorType": None,
            "errorMessage": None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": None,
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["stackTrace"] = traceback.format_tb(record.exc_info[2])
            fields["errorType"] = record.exc_info[0].__name__
            fields["errorMessage"] = str(record.exc_info[1])
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        fields["tenantId"] = getattr(record, "tenant_id", None)
        for name, value in record.__dict__.items():
            if name not in _OWN_RECORD_FIELDS:
                fields.setdefault(name, value)
        return self._encode({name: value for name, value in fields.items() if value is not None}) + "\n"


class FunctionLog:
    """The log of one execution environment: the root logger's set-up and the records of unhandled errors."""

    __slots__ = ("_error_frame", "invocation", "is_json", "sink")

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self.sink = open_sink(environ)
        self.invocation = InvocationFilter()
        self.is_json = environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        base = _JSON_FRAME if self.is_json else _TEXT_FRAME
        self._error_frame = _frame_type(base, logging.ERROR)
        level = environ.get("AWS_LAMBDA_LOG_LEVEL", "")
        level = "DEBUG" if level == "TRACE" else level.upper()
        self._configure_root(base if self.is_json or level else None, level)

    def _configure_root(self, frame_base: int | None, level: str) -> None:
        # A setting of the class: loggers a function makes for itself show UTC as well.
        logging.Formatter.converter = time.gmtime
        handler = LambdaLogHandler(self.sink, frame_base)
        handler.setFormatter(JsonFormatter() if self.is_json else logging.Formatter(_TEXT_RECORD, _TEXT_TIMESTAMP))
        handler.addFilter(self.invocation)
        root = logging.getLogger()
        if isinstance(logging.getLevelName(level), int):
            root.setLevel(level)
        root.addHandler(handler)

    def write_error(self, lines: list[str]) -> None:
        """Write the record of an unhandled error: text lines, or one line of JSON."""
        self.sink.log_error(lines, self._error_frame)

    def timestamp(self) -> str:
        """Now, as JSON records have it."""
        return time.strftime(_JSON_TIMESTAMP, logging.Formatter.converter(time.time()))
