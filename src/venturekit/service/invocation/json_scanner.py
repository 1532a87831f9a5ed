"""Where a payload stops being JSON, in the words of the service.

Lambda parses payloads with Jackson and repeats Jackson's error in its answer. The scanner follows Jackson's parser for
bytes: the same things are faults, they are found in the same order, and columns count bytes. It is linear in time and
far dearer than asking whether a payload is JSON (:mod:`venturekit.service.invocation.payload`).

Chosen here, because no recording shows it: UTF-16 and UTF-32 are refused, ill-formed UTF-8 is refused by the rules of
RFC 3629 (no surrogates, no overlong forms), and so is anything but white space after the first value.

Source: Invoke API page (InvalidRequestContentException), recorded answers of Invoke.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from venturekit.service.invocation.json_limits import MAX_DEPTH, MAX_NAME_BYTES, MAX_NUMBER_DIGITS

# Jackson's StreamReadConstraints and ErrorReportConfiguration, as they are by default.
_MAX_TOKEN_CHARACTERS = 256

_BOM = b"\xef\xbb\xbf"
_QUOTE, _PLUS, _COMMA, _MINUS, _PERIOD, _SLASH, _ZERO, _COLON, _BRACKET, _BACKSLASH = b'"+,-./0:[\\'
_DIGITS, _HEX_DIGITS, _CLOSERS = b"0123456789", b"0123456789abcdefABCDEF", b"]}"
_CLOSER_OF = {ord("["): ord("]"), ord("{"): ord("}")}
_KIND_OF = {ord("["): "Array", ord("{"): "Object"}

_A_VALUE = "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_A_COMMENT = (
    "maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)"
)

# Rounds of a group are bounded, because the engine remembers each: whoever needs more matches again.
_SPACE = rb"[ \t\n\r]*+"
_PLAIN = rb'[^"\\\x00-\x1f]'
_ESCAPE = rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_STRING = _PLAIN + rb"*+(?:" + _ESCAPE + _PLAIN + rb"*+)"
_SPACE_RUN = re.compile(_SPACE)
_DIGIT_RUN = re.compile(rb"[0-9]*+")
_STRING_RUN = re.compile(_STRING + rb"{0,1000}")
_LITERAL = re.compile(rb"true|false|null")
_NON_NUMERIC = re.compile(rb"NaN|[-+]?Infinity|[-+]INF")
_ONE_ESCAPE = re.compile(rb"\\(?:u(.{4})|.)")
_TEXT_RUN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+){0,1000}')
# 10000 bytes and 16 times 1006 stay below the limit together.
_NAME = rb'"' + _PLAIN + rb"{0,10000}+(?:" + _ESCAPE + _PLAIN + rb'{0,1000}+){0,16}"' + _SPACE + rb":" + _SPACE
_FIRST_NAME = re.compile(_SPACE + _NAME)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first fault of a payload: Jackson's sentence, and the line and the column (in bytes) it names, both from 1.

    The column is 0 for a payload that has no value at all.
    """

    detail: str
    line: int
    column: int


def fault_of(payload: bytes | bytearray | memoryview) -> Fault | None:
    """The first fault of ``payload`` as Jackson words it; None exactly where ``is_json`` holds.

    Linear in time and without recursion, but far dearer than ``is_json``: meant for payloads which that refused.
    """
    try:
        _Scanner(bytes(payload)).run()
    except _FaultError as found:
        return Fault(*found.args)
    return None


def fault_message(fault: Fault) -> str:
    """The whole message of the InvalidRequestContentException. Source: recorded answers of Invoke."""
    return (
        "Could not parse request body into json: Could not parse payload into json: "
        f"{fault.detail}\n at {_source(fault.line, fault.column)}"
    )


def _passed(pattern: re.Pattern[bytes], data: bytes | bytearray, at: int) -> int:
    """The offset behind a match at ``at``, which is ``at`` if there is none."""
    found = pattern.match(data, at)
    return found.end() if found else at


def _source(line: int, column: int) -> str:
    reason = "`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled"
    return f"[Source: REDACTED ({reason}); line: {line}, column: {column}]"


def _described(unit: int) -> str:
    """A UTF-16 unit as Jackson shows it."""
    if unit < 0x20 or 0x7F <= unit < 0xA0:
        return f"(CTRL-CHAR, code {unit})"
    # Java writes a surrogate that stands alone as a question mark.
    character = "?" if 0xD800 <= unit < 0xE000 else chr(unit)
    return f"'{character}' (code {unit} / 0x{unit:x})" if unit > 0xFF else f"'{character}' (code {unit})"


def _starts_identifier(unit: int) -> bool:
    """``Character.isJavaIdentifierStart``."""
    category = unicodedata.category(chr(unit))
    return category[0] == "L" or category in {"Nl", "Sc", "Pc"}


def _continues_identifier(unit: int) -> bool:
    """``Character.isJavaIdentifierPart``, which holds for most control characters too."""
    if unit <= 0x08 or 0x0E <= unit <= 0x1B or 0x7F <= unit < 0xA0:
        return True
    return _starts_identifier(unit) or unicodedata.category(chr(unit)) in {"Nd", "Mn", "Mc", "Cf"}


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1], 16)).encode("utf-8", "surrogatepass") if escape[1] else b"_"


class _FaultError(Exception):
    """Carries the members of a fault out of the scanner."""


# How many levels of containers an entry may have that is passed in a run, and how many entries each of them.
_RUN_LEVELS = 3
_RUN_ROUNDS = 50
_INNER_ROUNDS = 8


@cache
def _run(opener: int, levels: int) -> re.Pattern[bytes]:
    """What passes plain entries of a container in one step, from behind its opener or behind another entry.

    The group takes part if the next value is a container too big for that; the match then ends right before it.
    """
    # Three parts of 300 digits stay below the limit together.
    number = rb"-?(?:0|[1-9][0-9]{0,299}+)(?:\.[0-9]{1,300}+)?(?:[eE][-+]?[0-9]{1,300}+)?"
    scalar = rb'(?:"' + _STRING + rb'{0,16}"|(?:' + number + rb"|true|false|null)(?=[ \t\n\r,\]}]))"
    to_element = rb"(?:(?<=\[)|(?<!\[)" + _SPACE + rb",)" + _SPACE
    to_member = rb"(?:(?<=\{)|(?<!\{)" + _SPACE + rb",)" + _SPACE + _NAME
    rounds = rb"{0,%d}" % _INNER_ROUNDS + _SPACE
    value = scalar
    for _ in range(levels):
        array = rb"\[(?:" + to_element + value + rb")" + rounds + rb"\]"
        value = rb"(?:" + scalar + rb"|" + array + rb"|\{(?:" + to_member + value + rb")" + rounds + rb"\})"
    to_value = to_element if opener == _BRACKET else to_member
    return re.compile(rb"(?:" + to_value + value + rb"){0,%d}" % _RUN_ROUNDS + rb"(" + to_value + rb"(?=[\[{]))?")


class _Scanner:
    """Reads one document and raises its first fault. Methods take an offset and return the one behind what they read.

    The checks come in the order of Jackson's UTF8StreamJsonParser, since it decides which fault is the first.
    """

    __slots__ = ("_data", "_ill_formed", "_open", "_well_formed")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._open: list[int] = []  # offsets of the openers around the current place
        self._ill_formed: UnicodeDecodeError | None = None
        self._well_formed = len(data)  # how many bytes come before the first ill-formed one
        try:
            data.decode()
        except UnicodeDecodeError as error:
            self._ill_formed, self._well_formed = error, error.start

    def run(self) -> None:
        data = self._data
        at = self._space(len(_BOM) if data.startswith(_BOM) and len(data) > len(_BOM) else 0)
        if at == len(data):
            raise _FaultError("No content to map due to end-of-input", 1, 0)
        at = self._root_value(at)
        while self._open:
            at = self._entry(at)
        at = self._space(at)
        if at < len(data):
            self._root_value(at)
            self._unexpected(at, "was expecting end-of-input after the root-level value")

    def _root_value(self, at: int) -> int:
        return self._close(at) if self._data[at] in _CLOSERS else self._value(at)

    def _entry(self, at: int) -> int:
        """Reads on in the innermost container: a run of entries, and what comes behind it."""
        data, opener = self._data, self._open[-1]
        run = _run(data[opener], min(_RUN_LEVELS, MAX_DEPTH - len(self._open)))
        found = run.match(data, at, self._well_formed)
        at = found.end() if found else at
        if found and found.lastindex:
            return self._enter(at)
        is_first = at == opener + 1
        at = self._space(at)
        if at == len(data):
            marker = _source(*self._place(opener))
            self._end_of_input(f": expected close marker for {_KIND_OF[data[opener]]} (start marker at {marker})")
        if data[at] in _CLOSERS:
            return self._close(at)
        if not is_first:
            if data[at] != _COMMA:
                self._unexpected(at, f"was expecting comma to separate {_KIND_OF[data[opener]]} entries")
            at = self._space_within(at + 1)
        return self._value(at if data[opener] == _BRACKET else self._name(at))

    def _name(self, start: int) -> int:
        """Reads a name and its colon."""
        data = self._data
        if data[start] != _QUOTE:
            unit, end = self._decode(start)
            wanted = "was expecting double-quote to start field name"
            self._fail(f"Unexpected character ({_described(unit)}): {wanted}", end - 1)
        end = self._string(start, is_name=True)
        name = data[start + 1 : end - 1]
        if len(name) > MAX_NAME_BYTES and (size := len(_ONE_ESCAPE.sub(_unescaped, name))) > MAX_NAME_BYTES:
            self._exceeds("Name length", size, MAX_NAME_BYTES, "getMaxNameLength", end)
        at = self._space_within(end)
        if data[at] != _COLON:
            self._unexpected(at, "was expecting a colon to separate field name and value")
        return self._space_within(at + 1)

    def _value(self, at: int) -> int:
        """Reads a scalar, or enters a container."""
        data, byte = self._data, self._data[at]
        if byte == _QUOTE:
            return self._string(at, is_name=False)
        if byte == _MINUS or byte in _DIGITS:
            return self._number(at)
        if byte in _CLOSER_OF:
            return self._enter(at)
        literal = _LITERAL.match(data, at)
        if literal is None or not self._ends_token(literal.end()):
            self._no_value(at)
        return literal.end()

    def _enter(self, at: int) -> int:
        """Enters a container, and with it those that are each the first thing in the one before."""
        data = self._data
        while True:
            self._open.append(at)
            if len(self._open) > MAX_DEPTH:
                self._exceeds("Document nesting depth", len(self._open), MAX_DEPTH, "getMaxNestingDepth", at + 1)
            inner = at + 1
            if data[at] != _BRACKET:
                found = _FIRST_NAME.match(data, inner, self._well_formed)
                inner = found.end() if found else inner
            if inner == len(data) or data[inner] not in _CLOSER_OF:
                return at + 1
            at = inner

    def _close(self, at: int) -> int:
        """Leaves the innermost container, and with it those that end right behind it."""
        data, opened = self._data, self._open
        opener = opened[-1] if opened else None
        if opener is None or data[at] != _CLOSER_OF[data[opener]]:
            kind, place = ("root", (1, 0)) if opener is None else (_KIND_OF[data[opener]], self._place(opener))
            wanted = f"expected '{'}' if data[at] == ord(']') else ']'}' (for {kind} starting at {_source(*place)})"
            self._fail(f"Unexpected close marker '{chr(data[at])}': {wanted}", at)
        while opened and at < len(data) and data[at] == _CLOSER_OF[data[opened[-1]]]:
            opened.pop()
            at += 1
        return at

    def _string(self, start: int, *, is_name: bool) -> int:
        data, at, before = self._data, start + 1, -1
        while True:
            at = _passed(_STRING_RUN, data, at)
            # A name is decoded when the whole of it was read, any other string while it is read.
            if at > self._well_formed and not is_name:
                self._invalid_utf8()
            if at == len(data):
                self._end_of_input(" in field name" if is_name else ": was expecting closing quote for a string value")
            if data[at] == _QUOTE:
                break
            if data[at] != _BACKSLASH:
                where = f"has to be escaped using backslash to be included in {'name' if is_name else 'string value'}"
                self._fail(f"Illegal unquoted character ({_described(data[at])}): {where}", at)
            if at == before:
                self._invalid_escape(at)
            before = at
        if at > self._well_formed:
            self._invalid_utf8()
        return at + 1

    def _number(self, start: int) -> int:
        data = self._data
        at = start + (data[start] == _MINUS)
        if at == len(data):
            self._end_of_input(" in a Number value")
        if data[at] not in _DIGITS:
            self._no_value(start)
        end = _passed(_DIGIT_RUN, data, at)
        if data[at] == _ZERO and end > at + 1:
            self._fail("Invalid numeric value: Leading zeroes not allowed", at + 1)
        digits = end - at
        if data.startswith(b".", end):
            at = end + 1
            end = _passed(_DIGIT_RUN, data, at)
            if end == at:
                self._unexpected(min(at, len(data) - 1), "Decimal point not followed by a digit", " in numeric value")
            digits += end - at
        if data.startswith((b"e", b"E"), end):
            at = end + 1 + data.startswith((b"-", b"+"), end + 1)
            if at == len(data):
                self._end_of_input(" in a Number value")
            end = _passed(_DIGIT_RUN, data, at)
            if end == at:
                self._unexpected(at, "Exponent indicator not followed by a digit", " in numeric value")
            digits += end - at
        if not self._open and end < len(data) and data[end] not in b" \t\n\r":
            self._unexpected(end, "Expected space separating root-level values")
        if digits > MAX_NUMBER_DIGITS:
            self._exceeds("Number value length", digits, MAX_NUMBER_DIGITS, "getMaxNumberLength", end)
        return end

    def _space(self, at: int) -> int:
        data = self._data
        if at < len(data) and data[at] <= 0x20:
            at = _passed(_SPACE_RUN, data, at)
        if at < len(data) and data[at] == _SLASH:
            self._unexpected(at, _A_COMMENT)
        if at < len(data) and data[at] < 0x20:
            allowed = r"only regular white space (\r, \n, \t) is allowed between tokens"
            self._fail(f"Illegal character ({_described(data[at])}): {allowed}", at)
        return at

    def _space_within(self, at: int) -> int:
        """Skips white space where the innermost container cannot end."""
        at = self._space(at)
        if at == len(self._data):
            self._end_of_input(f" within/between {_KIND_OF[self._data[self._open[-1]]]} entries")
        return at

    def _ends_token(self, at: int) -> bool:
        """Whether what begins at ``at`` cannot belong to the token in front of it."""
        data = self._data
        if at == len(data) or data[at] < _ZERO or data[at] in _CLOSERS:
            return True
        return not _continues_identifier(self._decode(at)[0])

    def _decode(self, at: int) -> tuple[int, int]:
        """The character at ``at``, cut down to 16 bits as Jackson does, and the offset behind it."""
        data, lead = self._data, self._data[at]
        if lead < 0x80:
            return lead, at + 1
        size = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 0
        if not size:
            self._fail(f"Invalid UTF-8 start byte 0x{lead:x}", at + 1)
        unit = lead & (0x7F >> size)
        for offset in range(at + 1, at + size):
            if offset == len(data):
                self._end_of_input(" in a value")
            if data[offset] & 0xC0 != 0x80:
                self._fail(f"Invalid UTF-8 middle byte 0x{data[offset]:x}", offset + 1, line_of=at)
            unit = unit << 6 | data[offset] & 0x3F
        return unit & 0xFFFF, at + size

    def _no_value(self, at: int) -> NoReturn:
        """Says what is wrong with a value that is no string, no number, no container and no literal."""
        data, byte = self._data, self._data[at]
        found = _NON_NUMERIC.match(data, at)
        if found and self._ends_token(found.end()):
            feature = "enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"
            self._fail(f"Non-standard token '{found[0].decode()}': {feature}", found.end())
        if byte == _MINUS and data[at + 1] != _PERIOD:
            wanted = "expected digit (0-9) to follow minus sign, for valid numeric value"
            self._unexpected(at + 1, wanted, " in numeric value")
        if byte == _PLUS:
            if at + 1 == len(data):
                self._end_of_input(" in a Number value")
            feature = "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow"
            self._unexpected(at, f"JSON spec does not allow numbers to have plus signs: {feature}", " in numeric value")
        in_array = bool(self._open) and data[self._open[-1]] == _BRACKET
        if byte in b",}" or (byte == ord("]") and in_array):
            self._unexpected(at, "expected a value")
        if _starts_identifier(byte):
            self._unrecognized(at)
        self._unexpected(at + (byte == _MINUS), _A_VALUE)

    def _unrecognized(self, start: int) -> NoReturn:
        token, at = chr(self._data[start]), start + 1
        while at < len(self._data):
            unit, at = self._decode(at)
            if not _continues_identifier(unit):
                break  # read all the same: the column is one further than at the end of input
            token += chr(unit)
            if len(token) >= _MAX_TOKEN_CHARACTERS:
                token += "..."
                break
        self._fail(f"Unrecognized token '{token}': was expecting ('true', 'false' or 'null')", at, line_of=start)

    def _invalid_escape(self, at: int) -> NoReturn:
        data = self._data
        if at + 1 == len(data):
            self._end_of_input(" in character escape sequence")
        if data[at + 1] != ord("u"):
            unit, end = self._decode(at + 1)
            self._fail(f"Unrecognized character escape {_described(unit)}", end - 1)
        digit = next((d for d in range(at + 2, len(data)) if data[d] not in _HEX_DIGITS), len(data))
        if digit == len(data):
            self._end_of_input(" in character escape sequence")
        self._unexpected(digit, "expected a hex-digit for character escape sequence")

    def _invalid_utf8(self) -> NoReturn:
        error, data = self._ill_formed, self._data
        assert error is not None
        if error.reason == "invalid start byte":
            self._fail(f"Invalid UTF-8 start byte 0x{data[error.start]:x}", error.start + 1)
        if error.end == len(data):
            self._end_of_input(": was expecting closing quote for a string value")
        self._fail(f"Invalid UTF-8 middle byte 0x{data[error.end]:x}", error.end + 1, line_of=error.start)

    def _exceeds(self, what: str, size: int, most: int, getter: str, at: int) -> NoReturn:
        limit = f"the maximum allowed ({most}, from `StreamReadConstraints.{getter}()`)"
        self._fail(f"{what} ({size}) exceeds {limit}", at)

    def _unexpected(self, at: int, wanted: str, where: str = "") -> NoReturn:
        self._fail(f"Unexpected character ({_described(self._data[at])}){where}: {wanted}", at)

    def _end_of_input(self, where: str) -> NoReturn:
        self._fail(f"Unexpected end-of-input{where}", len(self._data))

    def _fail(self, detail: str, at: int, *, line_of: int | None = None) -> NoReturn:
        raise _FaultError(detail, *self._place(at, line_of))

    def _place(self, at: int, line_of: int | None = None) -> tuple[int, int]:
        """Line and column of ``at``, on the line of ``line_of``: line breaks within a token do not count."""
        data, end = self._data, at if line_of is None else line_of
        breaks = data.count(b"\n", 0, end) + data.count(b"\r", 0, end) - data.count(b"\r\n", 0, end)
        row = max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1
        return 1 + breaks, at - row + 1
