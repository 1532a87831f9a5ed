"""Queued events over HTTP, below ``/_venturekit/events``: who may see and change which, and what requests say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

from venturekit.service.api.errors import ApiError
from venturekit.service.events.inspection import DROPPABLE, FILTERS, REDRIVABLE, invalid, one_of
from venturekit.service.store.errors import StoreUnavailableError
from venturekit.service.store.event_documents import FAILED, QUEUED
from venturekit.service.store.event_views import UNDELIVERED, EventFilter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.access_control import Caller
    from venturekit.service.events.inspection import Change, Inspection
    from venturekit.service.store.event_views import StoredEvent

EVENTS: Final = "/_venturekit/events"
LIST: Final = "ListEvents"
GET: Final = "GetEvent"
REDRIVE: Final = "RedriveEvent"
DROP: Final = "DropEvent"
PAGE_EVENTS: Final = 100
LARGEST_PAGE: Final = 500

Parameters = dict[str, str]


class EventPages:
    """Answers requests about events, each about those of its caller's account."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    def handles(self, path: str) -> bool:
        """Whether a path, still percent-encoded, is one of these."""
        return path == EVENTS or path.startswith(f"{EVENTS}/")

    async def answer(self, method: str, path: str, query: str, caller: Caller) -> dict[str, Any]:
        """The document that answers a request; raises ApiError."""
        parts = [unquote(part) for part in path.removeprefix(EVENTS).split("/")[1:]]
        try:
            match method, parts:
                case "GET", []:
                    return await self._list(query, caller)
                case "DELETE", []:
                    return await self._drop_all(query, caller)
                case "GET", ["counts"]:
                    return await self._counts(query, caller)
                case "POST", ["redrive"]:
                    return await self._redrive_all(query, caller)
                case "GET", [reference]:
                    return await self._show(reference, query, caller)
                case "DELETE", [reference]:
                    parsed(query)
                    return await self._change_one(DROP, self._inspection.dropping(), reference, caller)
                case "POST", [reference, "redrive"]:
                    only = is_true(parsed(query, "deliveries"), "deliveries")
                    change = self._inspection.redriving(deliveries_only=only)
                    return await self._change_one(REDRIVE, change, reference, caller)
        except StoreUnavailableError as error:
            raise ApiError("ServiceUnavailableException", f"The store: {error}", status=503) from error
        if len(parts) > 2 or (len(parts) == 2 and parts[1] != "redrive"):
            raise ApiError("NotFoundException", f"the service has no {path}", status=404)
        raise ApiError("MethodNotAllowedException", f"{path} is not served for {method}", status=405)

    # --- looking ------------------------------------------------------------------------------------------------

    async def _list(self, query: str, caller: Caller) -> dict[str, Any]:
        given = parsed(query, "state", "function", "limit", "marker", "order")
        wanted = _filter(given, caller, FILTERS)
        order = one_of("order", given.get("order", "newest"), ("newest", "oldest"))
        limit = _limit(given)
        caller.authorize_events(LIST, wanted.function_name)
        return await self._inspection.page(
            wanted, limit=limit, marker=given.get("marker", ""), oldest_first=order == "oldest"
        )

    async def _counts(self, query: str, caller: Caller) -> dict[str, Any]:
        wanted = _filter(parsed(query, "function"), caller, ())
        caller.authorize_events(LIST, wanted.function_name)
        return await self._inspection.counts(wanted.account_id, wanted.function_name)

    async def _show(self, reference: str, query: str, caller: Caller) -> dict[str, Any]:
        with_payload = is_true(parsed(query, "payload"), "payload")
        event = await self._find(GET, reference, caller)
        return await self._inspection.show(caller.account.account_id, event, with_payload=with_payload)

    # --- changing -----------------------------------------------------------------------------------------------

    async def _change_one(self, action: str, change: Change, reference: str, caller: Caller) -> dict[str, Any]:
        event = await self._find(action, reference, caller)
        return await self._inspection.change(change, caller.account.account_id, event)

    async def _redrive_all(self, query: str, caller: Caller) -> dict[str, Any]:
        given = parsed(query, "state", "function", "all", "marker")
        wanted = _filter(given, caller, REDRIVABLE, default=FAILED)
        change = self._inspection.redriving(deliveries_only=wanted.state == UNDELIVERED)
        return await self._change_all(REDRIVE, change, wanted, given, caller)

    async def _drop_all(self, query: str, caller: Caller) -> dict[str, Any]:
        given = parsed(query, "state", "function", "all", "marker")
        wanted = _filter(given, caller, DROPPABLE, default=QUEUED)
        return await self._change_all(DROP, self._inspection.dropping(), wanted, given, caller)

    async def _change_all(
        self, action: str, change: Change, wanted: EventFilter, given: Parameters, caller: Caller
    ) -> dict[str, Any]:
        if bool(wanted.function_name) is is_true(given, "all"):
            raise invalid("say which events: those of a function (function=NAME), or of all functions (all=true)")
        caller.authorize_events(action, wanted.function_name)
        return await self._inspection.change_all(
            change,
            wanted,
            marker=given.get("marker", ""),
            permit=lambda name: caller.authorize_events(action, name),
        )

    # --- who may ------------------------------------------------------------------------------------------------

    async def _find(self, action: str, reference: str, caller: Caller) -> StoredEvent:
        """The event, if the caller may do that to it. Who may not does not learn whether there is one."""
        try:
            event = await self._inspection.find(caller.account.account_id, reference)
            caller.authorize_events(action, event.function_name)
        except ApiError:
            caller.authorize_events(action, "")
            raise
        return event


def parsed(query: str, *names: str) -> Parameters:
    """The parameters of a query, each of which must be one of ``names`` and given once; raises ApiError.

    Those of a presigned request are not among them.
    """
    found = parse_qs(query, keep_blank_values=True)
    found = {name: values for name, values in found.items() if not name.lower().startswith("x-amz-")}
    for name, values in found.items():
        if name not in names:
            known = f"there are {', '.join(names)}" if names else "there is none here"
            raise invalid(f"there is no parameter {name[:100]!r}: {known}")
        if len(values) > 1:
            raise invalid(f"the parameter {name} was given {len(values)} times")
    return {name: values[0] for name, values in found.items() if values[0]}


def is_true(given: Mapping[str, str], name: str) -> bool:
    """The value of a parameter that is true or false, false without it; raises ApiError."""
    return one_of(name, given.get(name, "false"), ("true", "false")) == "true"


def _limit(given: Mapping[str, str]) -> int:
    text = given.get("limit", str(PAGE_EVENTS))
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= LARGEST_PAGE:
        raise invalid(f"limit must be 1 to {LARGEST_PAGE}, not {text[:100]!r}")
    return int(text)


def _filter(given: Mapping[str, str], caller: Caller, states: Sequence[str], *, default: str = "") -> EventFilter:
    account = caller.account
    name = ""
    if "function" in given:
        address = account.functions.address(given["function"])
        if address.qualifier is not None:
            raise invalid(f"function must be the name of a function: leave ':{address.qualifier}' out")
        name = address.name
    state = one_of("state", given["state"], states) if "state" in given else default
    return EventFilter(account_id=account.account_id, function_name=name, state=state)
