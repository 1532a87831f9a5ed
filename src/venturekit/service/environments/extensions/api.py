"""The HTTP side of the Extensions, Telemetry and Logs APIs, on the address of the Runtime API."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.extensions import messages
from venturekit.service.environments.extensions.group import Extensions
from venturekit.service.environments.extensions.roster import RefusedError, Stage
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.telemetry.subscription import LOGS, TELEMETRY, parse_subscription
from venturekit.service.wire.answers import answer

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.extensions.roster import Extension
    from venturekit.service.wire.exchange import Exchange

EXTENSION: Final = b"/2020-01-01/extension/"
REGISTER: Final = EXTENSION + b"register"
NEXT: Final = EXTENSION + b"event/next"
INIT_ERROR: Final = EXTENSION + b"init/error"
EXIT_ERROR: Final = EXTENSION + b"exit/error"
SUBSCRIPTIONS: Final = {b"/2022-07-01/telemetry": TELEMETRY, b"/2020-08-15/logs": LOGS}
METHODS: Final = {REGISTER: b"POST", NEXT: b"GET", INIT_ERROR: b"POST", EXIT_ERROR: b"POST"}
JSON: Final = (b"Content-Type", b"application/json")
ACCEPTED: Final = answer(202, [JSON], b'{"status":"OK"}\n')
BODY_LIMIT_BYTES: Final = 262_144
_IDENTIFIER: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def answers(target: bytes) -> bool:
    """Whether a path belongs to one of these APIs."""
    return target.startswith(EXTENSION) or target.rstrip(b"/") in SUBSCRIPTIONS


def call(environment: Environment, exchange: Exchange, target: bytes) -> None:
    """Answer a request to one of these APIs; ``target`` is its path."""
    target = target.rstrip(b"/")
    try:
        method = METHODS.get(target, b"PUT" if target in SUBSCRIPTIONS else b"")
        if not method:
            raise RefusedError("NotFound", f"the Extensions API has no {target.decode('latin-1')}", status=404)
        if exchange.method != method:
            message = f"{target.decode()} takes {method.decode()}, not {exchange.method.decode('latin-1')}"
            raise RefusedError("MethodNotAllowed", message, status=405)
        if exchange.too_large or len(exchange.body) > BODY_LIMIT_BYTES:
            raise RefusedError("RequestEntityTooLarge", f"a body has at most {BODY_LIMIT_BYTES} bytes", status=413)
        _call(environment, exchange, target)
    except RefusedError as error:
        body = json.dumps({"errorMessage": str(error), "errorType": error.error_type}, separators=(",", ":")).encode()
        allow = [(b"Allow", METHODS.get(target, b"PUT"))] if error.status == 405 else []
        exchange.respond(answer(error.status, [JSON, *allow], body, close=not exchange.complete))


def _call(environment: Environment, exchange: Exchange, target: bytes) -> None:
    if target == REGISTER:
        _register(environment, exchange)
        return
    extension = _caller(environment, exchange)
    group = environment.extensions
    assert group is not None  # it has registered there
    if target == NEXT:
        group.next(extension, exchange)
    elif target in SUBSCRIPTIONS:
        api = SUBSCRIPTIONS[target]
        if group.roster.is_closed:
            message = f"{extension.name} subscribes too late: the init phase is over"
            raise RefusedError(f"{api.name}.ServiceClosed", message)
        group.telemetry.subscribe(extension.name, parse_subscription(api, exchange.body))
        exchange.respond(answer(200, [JSON], b'"OK"'))
    else:
        error_type = _header(exchange, b"lambda-extension-function-error-type")
        if not error_type:
            message = "the header Lambda-Extension-Function-Error-Type is missing"
            raise RefusedError("Extension.MissingHeader", message)
        report = group.init_error if target == INIT_ERROR else group.exit_error
        report(extension, error_type, lambda: exchange.respond(ACCEPTED))


def _register(environment: Environment, exchange: Exchange) -> None:
    name = _header(exchange, b"lambda-extension-name")
    features = _header(exchange, b"lambda-extension-accept-feature")
    events = messages.wanted_events(exchange.body)
    group = environment.extensions
    if group is None:
        group = Extensions(environment, runtime_lives=True)
        # A runtime that has asked for an event has no extensions any more.
        group.roster.is_closed = environment.state is not State.STARTING
    extension = group.register(name, events, str(uuid.UUID(environment.host.new_token())))
    if environment.extensions is None:
        # Only now: a runtime may ask in vain as often as it likes.
        environment.extensions = group
        group.telemetry.begin()
    answered = messages.registered(environment.spec, with_account="accountId" in re.split(r"[ ,]+", features))
    identifier = (b"Lambda-Extension-Identifier", extension.identifier.encode())
    exchange.respond(answer(200, [JSON, identifier], answered))
    group.released()


def _caller(environment: Environment, exchange: Exchange) -> Extension:
    identifier = _header(exchange, b"lambda-extension-identifier")
    if not identifier:
        message = "the header Lambda-Extension-Identifier is missing"
        raise RefusedError("Extension.MissingExtensionIdentifier", message)
    if not _IDENTIFIER.fullmatch(identifier):
        raise RefusedError("Extension.InvalidExtensionIdentifier", f"{identifier!r} is no UUID")
    group = environment.extensions
    extension = group.roster.find(identifier.lower()) if group is not None else None
    if extension is None or extension.stage is Stage.GONE:
        raise RefusedError("Extension.UnknownExtensionIdentifier", f"no extension here has the identifier {identifier}")
    return extension


def _header(exchange: Exchange, name: bytes) -> str:
    return exchange.headers.get(name, b"").decode("latin-1").strip()
