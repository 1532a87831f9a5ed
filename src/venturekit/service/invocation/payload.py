"""Whether an Invoke payload is JSON, at next to no cost for one that is.

A good payload costs one ``orjson.loads``; only what orjson refuses, or what could exceed one of the limits of the
parser that Lambda uses, is read by the scanner of :mod:`venturekit.service.invocation.json_scanner`.
"""

from __future__ import annotations

import re

import orjson

from venturekit.service.invocation.json_limits import MAX_DEPTH, MAX_NAME_BYTES, MAX_NUMBER_DIGITS

_QUOTE, _BACKSLASH = b'"\\'
_DIGITS = b"0123456789"
# A number beyond the limit has at least this many digits in its whole, its fraction or its exponent.
_LONG_DIGITS = b"0" * (MAX_NUMBER_DIGITS // 3 + 1)
# Every such run of digits meets so many samples of this stride.
_STRIDE = 33
_SAMPLED = b"0" * (len(_LONG_DIGITS) // _STRIDE)
_TO_ZEROS = bytes(ord("0") if byte in _DIGITS else ord(" ") for byte in range(256))
_TEXT_RUN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+){0,1000}')
_COLON_NEXT = re.compile(rb"[ \t\n\r]*+:")


def is_json(payload: bytes | bytearray | memoryview) -> bool:
    """Whether Lambda takes ``payload`` for JSON.

    An empty payload is legal for Invoke but no JSON: the caller decides about it first. Source: Invoke API page.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _is_json_to_the_scanner(payload)
    if len(payload) <= MAX_NUMBER_DIGITS:
        return True  # too short for any of the limits
    data = bytes(payload) if isinstance(payload, memoryview) else payload
    return not _may_exceed_a_limit(data, value) or _is_json_to_the_scanner(data)


def _is_json_to_the_scanner(payload: bytes | bytearray | memoryview) -> bool:
    # Only odd payloads need the scanner: it is not part of a start of the service.
    from venturekit.service.invocation.json_scanner import fault_of

    return fault_of(payload) is None


def _may_exceed_a_limit(data: bytes | bytearray, value: object) -> bool:
    """Whether ``data``, which orjson read as ``value``, has to be scanned too. A few passes in C."""
    return (
        (_has_many_openers(data) and not _is_shallow(value))
        or (_SAMPLED in data[::_STRIDE].translate(_TO_ZEROS) and _LONG_DIGITS in data.translate(_TO_ZEROS))
        or (len(data) > MAX_NAME_BYTES and _may_have_a_long_name(data))
    )


def _has_many_openers(data: bytes | bytearray) -> bool:
    """Whether ``data`` has more opening brackets than levels are allowed; faster than counting them all."""
    found = 0
    for opener in (b"[", b"{"):
        at = data.find(opener)
        while at >= 0:
            found += 1
            if found > MAX_DEPTH:
                return True
            at = data.find(opener, at + 1)
    return False


def _is_shallow(value: object) -> bool:
    # orjson reads 1024 levels but writes only 254, and writing is the cheapest walk through a value.
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _may_have_a_long_name(data: bytes | bytearray) -> bool:
    """Whether a name in ``data``, which is JSON, may exceed the limit: only long strings are looked at closely."""
    window = MAX_NAME_BYTES // 2  # a name beyond the limit fills at least one of the windows
    at = 0
    while (quote := data.find(b'"', at)) >= 0:
        if data[quote - 1] == _BACKSLASH:
            # The window may begin within an escape: go back to where the backslashes begin.
            quote = at
            while data[quote - 1] == _BACKSLASH:
                quote -= 1
            while data[quote] != _QUOTE:
                run = _TEXT_RUN.match(data, quote)
                quote = run.end() if run else quote
        elif quote < at + window:
            at += window
            continue
        if _COLON_NEXT.match(data, quote + 1):
            return True
        at = quote + 1
    return False
