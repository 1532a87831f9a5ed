"""Subscriptions to the Telemetry and Logs APIs: what they may say. Pure.

Source: AWS pages "Lambda Telemetry API reference" and "Accessing real-time telemetry data for extensions". Of the
ranges, on which AWS's pages differ, those that its examples keep are used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from venturekit.service.environments.extensions.roster import RefusedError

HOSTS: Final = frozenset({"sandbox.localdomain", "sandbox"})
TYPES: Final = ("platform", "function", "extension")
PROTOCOLS: Final = ("HTTP", "TCP")
BUFFERING: Final = {"maxItems": (1000, 10_000, 10_000), "maxBytes": (262_144, 1_048_576, 262_144)}
TIMEOUT_MS: Final = (25, 30_000, 1000)
"""Least, most, default."""
PORTS: Final = range(1, 65_536)


@dataclass(frozen=True, slots=True)
class Api:
    """One of the two APIs: its name, its word in the log, the event that tells of a subscription, its schemas."""

    name: str
    word: str
    event: str
    schemas: tuple[str, ...]
    usual_schema: str | None = None


TELEMETRY: Final = Api(
    "Telemetry", "TELEMETRY", "platform.telemetrySubscription", ("2025-01-29", "2022-12-13", "2022-07-01")
)
LOGS: Final = Api("Logs", "LOGS", "platform.logsSubscription", ("2021-03-18", "2020-08-15"), "2020-08-15")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one extension wants: where to, how much at once, and of what. ``path`` and ``method`` are HTTP's."""

    api: Api
    schema: str
    types: tuple[str, ...]
    protocol: str
    port: int
    path: str = "/"
    method: str = "POST"
    max_items: int = BUFFERING["maxItems"][2]
    max_bytes: int = BUFFERING["maxBytes"][2]
    timeout_ms: int = TIMEOUT_MS[2]


def parse_subscription(api: Api, body: bytes | bytearray) -> Subscription:
    """A subscription from the body of its request. Raises RefusedError, which names everything that is wrong."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid([f"the body is not JSON: {error}"]) from None
    if not isinstance(given, dict):
        raise _invalid(["the body has to be an object"])
    problems: list[str] = []
    schema = given.get("schemaVersion", api.usual_schema)
    if schema not in api.schemas:
        problems.append(f"schemaVersion has to be one of {', '.join(api.schemas)}")
    types = _types(given.get("types"), problems)
    buffering = _buffering(given.get("buffering"), problems)
    protocol, port, path, method = _destination(given.get("destination"), problems)
    if problems:
        raise _invalid(problems)
    return Subscription(api, str(schema), types, protocol, port, path, method, *buffering)


def _invalid(problems: list[str]) -> RefusedError:
    return RefusedError("ValidationError", "; ".join(problems), status=400)


def _types(given: Any, problems: list[str]) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        problems.append("types should not be empty")
        return ()
    problems += [f"there is no type {name!r}: there are {', '.join(TYPES)}" for name in given if name not in TYPES]
    return tuple(name for name in TYPES if name in given)


def _buffering(given: Any, problems: list[str]) -> tuple[int, int, int]:
    values: dict[str, Any] = given if isinstance(given, dict) else {}
    if given is not None and not isinstance(given, dict):
        problems.append("buffering has to be an object")
    found = []
    for name, (least, most, usual) in (*BUFFERING.items(), ("timeoutMs", TIMEOUT_MS)):
        value = values.get(name, usual)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            problems.append(f"buffering.{name} has to be a whole number from {least} to {most}")
            value = usual
        found.append(value)
    return found[0], found[1], found[2]


def _destination(given: Any, problems: list[str]) -> tuple[str, int, str, str]:
    unknown = ("", 0, "", "")
    if not isinstance(given, dict):
        problems.append("destination is not provided")
        return unknown
    protocol = given.get("protocol")
    if protocol not in PROTOCOLS:
        problems.append(f"destination.protocol has to be one of {', '.join(PROTOCOLS)}")
        return unknown
    if given.get("encoding", "JSON") != "JSON":
        problems.append("destination.encoding has to be JSON")
    method = given.get("method", "POST")
    if method not in ("POST", "PUT"):
        problems.append("destination.method has to be POST or PUT")
    if protocol == "TCP" and "port" in given:
        port, path = given["port"], "/"
        if isinstance(port, bool) or not isinstance(port, int) or port not in PORTS:
            problems.append("destination.port has to be a port number")
    else:
        port, path = _address(protocol, given.get("URI"), problems)
    return protocol, port, path, method


def _address(protocol: str, uri: Any, problems: list[str]) -> tuple[int, str]:
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri:
        problems.append("destination.URI has to be like http://sandbox.localdomain:8080/path")
        return 0, ""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", *(("tcp",) if protocol == "TCP" else ())):
        problems.append(f"the scheme of destination.URI has to be http, not {parts.scheme!r}")
    if parts.hostname not in HOSTS:
        problems.append(f"the host of destination.URI has to be sandbox.localdomain, not {parts.hostname!r}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        problems.append("URI port is not provided")
    elif port not in PORTS:
        problems.append("the port of destination.URI is no port number")
    return port or 0, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
