"""The variables that the framework reads, each in one function: the only place in it that knows the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LOCALE: Final = "en"
DEFAULT_RATE_LIMIT_TABLE: Final = "venturekit-rate-limits"
LEVELS: Final = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "silent")


class EnvironmentVariableError(ValueError):
    """A variable has a value that cannot be used; the text says which, and what it should be."""


def log_format() -> str:
    """``JSON`` or ``Text``, as ``AWS_LAMBDA_LOG_FORMAT`` says; JSON outside of Lambda."""
    return "Text" if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "JSON").lower() == "text" else "JSON"


def log_level() -> str:
    """The least level that is written: ``VENTURE_LOG_LEVEL``, else ``AWS_LAMBDA_LOG_LEVEL``, else ``info``.

    Raises EnvironmentVariableError.
    """
    for variable in ("VENTURE_LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL"):
        level = os.environ.get(variable)
        if level:
            if level.lower() not in LEVELS:
                raise EnvironmentVariableError(f"{variable} is {level!r}: one of {', '.join(LEVELS)} is expected")
            return level.lower()
    return "info"


def trace_header() -> str | None:
    """The trace of the invocation, which Lambda's runtimes put into ``_X_AMZN_TRACE_ID`` before each."""
    return os.environ.get("_X_AMZN_TRACE_ID") or None


def function_name() -> str:
    """The name of this Lambda function; empty outside of one."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")


def is_lambda() -> bool:
    """Whether this runs in an execution environment of Lambda, AWS's or ours."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


def is_local() -> bool:
    """Whether the dev server runs this: ``VENTURE_LOCAL=true``."""
    return os.environ.get("VENTURE_LOCAL", "").lower() in ("true", "1")


def project_name() -> str | None:
    """The project, ``VENTURE_PROJECT_NAME``, which the names of functions begin with."""
    return os.environ.get("VENTURE_PROJECT_NAME") or None


def stage() -> str | None:
    """The stage, ``VENTURE_STAGE``: ``dev``, ``prod``."""
    return os.environ.get("VENTURE_STAGE") or None


def region() -> str | None:
    """The region of AWS."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def lambda_endpoint() -> str | None:
    """Where the Lambda API is if not at AWS: ``AWS_ENDPOINT_URL_LAMBDA``, else ``AWS_ENDPOINT_URL``."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get("AWS_ENDPOINT_URL_LAMBDA") or os.environ.get("AWS_ENDPOINT_URL") or None


def credentials() -> tuple[str, str, str | None] | None:
    """Access key, secret key and session token of the environment, None when it has none."""
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        return None
    return access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None


def local_urls() -> Mapping[str, str]:
    """Dev servers by project: ``VENTURE_LOCAL_URLS="app=http://localhost:3000,billing=http://localhost:3001"``.

    Raises EnvironmentVariableError.
    """
    urls: dict[str, str] = {}
    for entry in os.environ.get("VENTURE_LOCAL_URLS", "").split(","):
        if not entry.strip():
            continue
        project, _, url = (part.strip() for part in entry.partition("="))
        if not project or not url.startswith(("http://", "https://")):
            raise EnvironmentVariableError(
                f"VENTURE_LOCAL_URLS has the entry {entry.strip()!r}: project=http://host:port is expected"
            )
        urls[project] = url.rstrip("/")
    return urls


def rate_limit_table() -> str | None:
    """The DynamoDB table that rate limiters count in if they are not told otherwise; None for memory.

    In a Lambda function: ``VENTURE_RATE_LIMIT_TABLE``; without it on AWS itself the usual table, and none where another
    service stands in for Lambda, or in the dev server.
    """
    if not is_lambda():
        return None
    named = os.environ.get("VENTURE_RATE_LIMIT_TABLE")
    if named:
        return named
    return None if is_local() or lambda_endpoint() else DEFAULT_RATE_LIMIT_TABLE


def record_table(kind: str) -> str | None:
    """The DynamoDB table for records of a kind (``sagas``) if nobody says otherwise; None for none.

    The same decision as for rate limiters: in a Lambda function ``VENTURE_SAGAS_TABLE``; without it on AWS itself
    ``venturekit-sagas``, and none where another service stands in for Lambda, or in the dev server.
    """
    if not is_lambda():
        return None
    named = os.environ.get(f"VENTURE_{kind.upper()}_TABLE")
    if named:
        return named
    return None if is_local() or lambda_endpoint() else f"venturekit-{kind}"


def records_directory() -> str | None:
    """Where SQLite files with records are; None where records stay in memory or are in DynamoDB.

    In the dev server, and in a function of a service that stands in for Lambda: ``VENTURE_RECORDS_DIRECTORY``, else the
    folder of the user for what programs keep, ``$XDG_STATE_HOME/venturekit`` or ``~/.local/state/venturekit``.
    Elsewhere only where ``VENTURE_RECORDS_DIRECTORY`` names one.
    """
    named = os.environ.get("VENTURE_RECORDS_DIRECTORY")
    if named:
        return os.path.expanduser(named)
    if not is_local() and not (is_lambda() and lambda_endpoint()):
        return None
    kept = os.environ.get("XDG_STATE_HOME") or os.path.expanduser(os.path.join("~", ".local", "state"))
    return os.path.join(kept, "venturekit")


def intent_outputs() -> dict[str, Any]:
    """``VENTURE_INTENT_OUTPUTS``, a JSON object that the dev server and deploy set. Raises EnvironmentVariableError."""
    text = os.environ.get("VENTURE_INTENT_OUTPUTS")
    if not text:
        return {}
    import json

    try:
        outputs = json.loads(text)
    except ValueError as problem:
        raise EnvironmentVariableError(f"VENTURE_INTENT_OUTPUTS is no JSON: {problem}") from None
    if not isinstance(outputs, dict):
        raise EnvironmentVariableError("VENTURE_INTENT_OUTPUTS must be a JSON object")
    return outputs


def locales() -> tuple[tuple[str, ...], str]:
    """Supported locales and the default one: ``VENTURE_LOCALES="en,de-AT"``, the first of which is the default."""
    given = tuple(filter(None, (part.strip() for part in os.environ.get("VENTURE_LOCALES", "").split(","))))
    return (given, given[0]) if given else ((DEFAULT_LOCALE,), DEFAULT_LOCALE)


def new_request_id() -> str:
    """An id for a request that came without one: a version 4 UUID, without the module that takes long to import."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
