"""JSON in and out, by the rules of AWS's client for Python.

Results follow the rules of the `simplejson` encoder that AWS's client uses: objects with `_asdict()` (named tuples)
become objects, bytes inside a value become text, a Decimal is written with all its digits, NaN and the infinities are
allowed. The standard encoder does the work whenever the value holds nothing but plain types, which `marshal` finds out
in C.
"""

from __future__ import annotations

import json
import sys
from json.encoder import c_make_encoder, encode_basestring, encode_basestring_ascii  # type: ignore[attr-defined]
from marshal import dumps as _dump_plain

from .faults import MARSHAL_ERROR, UNMARSHAL_ERROR, FaultError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# From Python 3.12 on AWS's runtimes send non-ASCII text as it is.
_RUNTIMES_WITH_UNICODE = ("3.12", "3.13", "3.14", "3.15")
# Version 2 of the format keeps no table of references, which makes it the fast one.
_MARSHAL_VERSION = 2
_INFINITY = float("inf")
PLAIN_TYPES = frozenset((dict, list, str, int, float, bool, type(None), bytes, tuple))
"""What handlers return as a rule: nothing that has to be awaited or taken piece by piece."""


class Marshaller:
    """Encodes results and decodes events for one execution environment."""

    __slots__ = ("_decode", "_encode_plain", "_encode_text")

    def __init__(self, execution_environment: str | None) -> None:
        """`execution_environment` is the variable AWS_EXECUTION_ENV."""
        version = (execution_environment or "").rpartition("AWS_Lambda_python")[2]
        self._encode_text: Callable[[str], str] = (
            encode_basestring if version in _RUNTIMES_WITH_UNICODE else encode_basestring_ascii
        )
        self._encode_plain = _plain_encoder(self._encode_text)
        self._decode = json.JSONDecoder(parse_constant=_refuse_constant).decode

    def parse_event(self, body: bytes | bytearray, content_type: str | None) -> Any:
        """The event: raw bytes unless it is declared as JSON, or as nothing.

        Raises FaultError for text that is not JSON.
        """
        if content_type != "application/json" and content_type is not None:
            return bytes(body)
        try:
            text = body.decode("utf-8")
            # A byte order mark is allowed; a blank in its place keeps the positions in complaints.
            return self._decode(" " + text[1:] if text[:1] == "\ufeff" else text)
        except json.JSONDecodeError as error:
            from .json_errors import reason_in_aws_words

            reason = reason_in_aws_words(error)
        except _ConstantError:
            from .json_errors import reason_for_constant

            reason = reason_for_constant(text)
        except RecursionError as error:
            reason = str(error).replace("a unicode string", "a string")
        except Exception as error:
            reason = str(error)
        raise FaultError(UNMARSHAL_ERROR, f"Unable to unmarshal input: {reason}")

    def serialize_result(self, value: Any) -> bytes:
        """A handler's result as JSON. Raises FaultError for a value that has no JSON form."""
        try:
            return self.serialize(value)
        except RecursionError:
            # One wording for all interpreters, which differ in where they notice.
            reason = "maximum recursion depth exceeded while encoding a JSON object"
        except Exception as error:
            reason = str(error)
        raise FaultError(MARSHAL_ERROR, f"Unable to marshal response: {reason}")

    def serialize(self, value: Any) -> bytes:
        """`value` as JSON in UTF-8. Raises whatever the encoding raises."""
        text = self.serialize_text(value)
        try:
            return text.encode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8 form, but it has an escape.
            parts: list[str] = []
            _write(value, parts.append, encode_basestring_ascii, set())
            return "".join(parts).encode()

    def serialize_text(self, value: Any) -> str:
        """`value` as JSON text. Raises whatever the encoding raises."""
        try:
            _dump_plain(value, _MARSHAL_VERSION)
            return "".join(self._encode_plain(value, 0))
        except Exception:
            parts: list[str] = []
            _write(value, parts.append, self._encode_text, set())
            return "".join(parts)


class _ConstantError(Exception):
    pass


def _refuse_constant(_name: str) -> Any:
    raise _ConstantError


def _refuse_value(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _plain_encoder(encode_text: Callable[[str], str]) -> Callable[[Any, int], Any]:
    if c_make_encoder is None:
        ascii_only = encode_text is encode_basestring_ascii
        encoder = json.JSONEncoder(ensure_ascii=ascii_only, check_circular=False, default=_refuse_value)
        return lambda value, _indent: encoder.iterencode(value)
    # Kept for the life of the environment: json.dumps would build one for every call. Cycles never get here.
    return c_make_encoder(None, _refuse_value, encode_text, None, ": ", ", ", False, False, True)  # type: ignore[no-any-return]


def _write(value: Any, emit: Callable[[str], object], encode_text: Callable[[str], str], open_ids: set[int]) -> None:
    scalar = _scalar_text(value, encode_text)
    if scalar is not None:
        emit(scalar)
        return
    as_dict = getattr(value, "_asdict", None)
    if callable(as_dict):
        fields = as_dict()
        if not isinstance(fields, dict):
            raise TypeError(f"_asdict() must return a dict, not {type(fields).__name__}")
        value = fields
    elif not isinstance(value, (list, tuple, dict)):
        emit(_decimal_text(value))
        return
    if id(value) in open_ids:
        raise ValueError("Circular reference detected")
    open_ids.add(id(value))
    if isinstance(value, dict):
        separator = "{"
        for key, item in value.items():
            emit(separator + encode_text(_key_text(key)) + ": ")
            _write(item, emit, encode_text, open_ids)
            separator = ", "
        emit("}" if separator == ", " else "{}")
    else:
        separator = "["
        for item in value:
            emit(separator)
            _write(item, emit, encode_text, open_ids)
            separator = ", "
        emit("]" if separator == ", " else "[]")
    open_ids.discard(id(value))


def _scalar_text(value: Any, encode_text: Callable[[str], str]) -> str | None:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, bytes):
        return encode_text(value.decode("utf-8"))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float_text(value)
    return None


def _float_text(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (_INFINITY, -_INFINITY):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if isinstance(key, (int, float)) or key is None:
        text = _scalar_text(key, encode_basestring_ascii)
        assert text is not None
        return text
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def _decimal_text(value: Any) -> str:
    # Whoever made a Decimal has imported the module; a function that never did need not pay for it.
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return "NaN" if value.is_nan() else str(value)
    return str(_refuse_value(value))
