"""What the members of inputs may be. A check gives what is wrong as one sentence, None for what may be sent.

Sources: the patterns and lengths of the botocore model ``lambda/2015-03-31``; AWS Lambda API reference, page "Invoke"
and "Lambda quotas".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import FUNCTION_NAME_PATTERN, NAMESPACED_FUNCTION_NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check = Callable[[Any], str | None]

SYNCHRONOUS_LIMIT_BYTES: Final = 6_291_456
"""The largest payload of a synchronous invocation."""
EVENT_LIMIT_BYTES: Final = 1_048_576
"""The largest payload of an asynchronous one (1 MB since October 2025)."""
INVOKE_ASYNC_LIMIT_BYTES: Final = 262_144
"""The largest payload of the old operation InvokeAsync."""
CLIENT_CONTEXT_LIMIT_BYTES: Final = 3583
"""The longest client context, as base64."""
DESTINATION_LIMIT_CHARACTERS: Final = 350
"""The longest ARN of a destination."""
_SHOWN: Final = 80
_NAME_FORMS: Final = (
    "a name (my-function), a name with a version or alias (my-function:prod), account:function:name, or an ARN "
    "(arn:aws:lambda:region:account:function:name) is one"
)
_NAMESPACED: Final = re.compile(NAMESPACED_FUNCTION_NAME_PATTERN, re.ASCII)
_FUNCTION: Final = re.compile(FUNCTION_NAME_PATTERN, re.ASCII)
_UNQUALIFIED: Final = re.compile(FUNCTION_NAME_PATTERN.removesuffix(r"(:(\$LATEST|[a-zA-Z0-9-_]+))?"), re.ASCII)
_QUALIFIER: Final = re.compile(r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+", re.ASCII)
_TENANT: Final = re.compile(r"[a-zA-Z0-9\._:\/=+\-@ ]+", re.ASCII)
_EXECUTION_NAME: Final = re.compile(r"[a-zA-Z0-9-_]+", re.ASCII)
_DESTINATION: Final = re.compile(
    r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
    r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)",
    re.ASCII,
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


def function_name(value: Any) -> str | None:
    """A function as the invoke operations take it, 1 to 256 characters."""
    return _function_name(value) if isinstance(value, str) else _no_text(value)


@lru_cache(maxsize=1024)
def _function_name(value: str) -> str | None:
    return _name_problem(value, _NAMESPACED, 256)


def unqualified_name(value: Any) -> str | None:
    """A function without version or alias, 1 to 140 characters."""
    if not isinstance(value, str):
        return _no_text(value)
    problem = _name_problem(value, _UNQUALIFIED, 140)
    if problem is not None and _name_problem(value, _FUNCTION, 140) is None:
        return f"is {value!r}, and this operation takes no version or alias"
    return problem


def _no_text(value: Any) -> str:
    return f"must be a text, and not {type(value).__name__}"


def _name_problem(value: str, pattern: re.Pattern[str], longest: int) -> str | None:
    if not value:
        return f"is empty: {_NAME_FORMS}"
    if len(value) > longest:
        return f"has {len(value)} characters, and may have {longest}"
    if pattern.fullmatch(value) is None:
        return f"is {value[:_SHOWN]!r}, which is no name of a function: {_NAME_FORMS}"
    return None


def matching(pattern: re.Pattern[str], longest: int, what: str) -> Check:
    """A text of a pattern, 1 to ``longest`` characters."""

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return _no_text(value)
        if not 1 <= len(value) <= longest:
            return f"has {len(value)} characters, and must have 1 to {longest}"
        return None if pattern.fullmatch(value) else f"is {value[:_SHOWN]!r}, and must be {what}"

    return check


qualifier: Final = matching(_QUALIFIER, 128, "a version ('7', '$LATEST') or the name of an alias")
tenant_id: Final = matching(_TENANT, 256, "letters, digits, blanks and . _ : / = + - @")
execution_name: Final = matching(_EXECUTION_NAME, 64, "letters, digits, '-' and '_'")


def one_of(values: Iterable[str]) -> Check:
    """One of a few texts."""
    allowed = frozenset(values)
    listed = ", ".join(sorted(allowed))

    def check(value: Any) -> str | None:
        # A dictionary or list cannot be looked up.
        if isinstance(value, str) and value in allowed:
            return None
        return f"is {repr(value)[:_SHOWN]}, and must be one of {listed}"

    return check


def number(least: int, most: int) -> Check:
    """A whole number within limits."""

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, and not {type(value).__name__}"
        return None if least <= value <= most else f"is {value}, and must be {least} to {most}"

    return check


def text(value: Any) -> str | None:
    """A text that UTF-8 can hold."""
    if not isinstance(value, str):
        return _no_text(value)
    return _unencodable(value)


def client_context(value: Any) -> str | None:
    """The base64 of a JSON object, 3,583 bytes at most."""
    if not isinstance(value, str):
        return f"must be the base64 of a JSON object as a text, and not {type(value).__name__}"
    if len(value) > CLIENT_CONTEXT_LIMIT_BYTES:
        return f"has {len(value)} bytes of base64, and may have {CLIENT_CONTEXT_LIMIT_BYTES}"
    if _BASE64.fullmatch(value) is None or len(value) % 4:
        return "is not base64: base64.b64encode(json.dumps(context).encode()).decode() is"
    return None


def payload(value: Any) -> str | None:
    """Bytes, or a text, which is sent as UTF-8."""
    if isinstance(value, bytes | bytearray):
        return None
    if isinstance(value, memoryview):
        is_plain = value.contiguous and value.ndim == 1 and value.itemsize == 1
        return None if is_plain else "is a memoryview of something else than bytes: value.cast('B') makes one of bytes"
    if isinstance(value, str):
        return _unencodable(value)
    return f"must be bytes or a text, and not {type(value).__name__}: json.dumps() makes one, client.invoke() does so"


def _unencodable(value: str) -> str | None:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        return "is a text with half a character in it, which no UTF-8 can hold"
    return None


def destination_config(value: Any) -> str | None:
    """A mapping of OnSuccess and OnFailure, each a mapping of Destination."""
    if not isinstance(value, Mapping):
        return f"must be a DestinationConfig or a dictionary, and not {type(value).__name__}"
    for name, target in value.items():
        if name not in ("OnSuccess", "OnFailure"):
            return f"has {name!r}: OnSuccess and OnFailure are what it may have"
        problem = None if target is None else _target(target)
        if problem is not None:
            return f"{name}{problem}"
    return None


def _target(value: Any) -> str | None:
    if not isinstance(value, Mapping) or set(value) - {"Destination"}:
        return " must have Destination and nothing else"
    found = value.get("Destination")
    if found is None:
        return None
    if not isinstance(found, str) or len(found) > DESTINATION_LIMIT_CHARACTERS:
        return f".Destination must be an ARN of {DESTINATION_LIMIT_CHARACTERS} characters at most"
    if _DESTINATION.fullmatch(found) is None:
        return f".Destination is {found[:_SHOWN]!r}, and must be an ARN, or kafka:// and a topic; '' takes it away"
    return None


def recursion_config(value: Any) -> str | None:
    """A mapping of RecursiveLoop."""
    if not isinstance(value, Mapping) or set(value) != {"RecursiveLoop"}:
        return "must be a RecursionConfig or a dictionary, with RecursiveLoop and nothing else"
    problem = recursive_loop(value["RecursiveLoop"])
    return None if problem is None else f"RecursiveLoop {problem}"


recursive_loop: Final = one_of(("Allow", "Terminate"))
