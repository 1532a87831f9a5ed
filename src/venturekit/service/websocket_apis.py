"""The WebSocket APIs of all accounts: what they are, what of a definition is refused, and where they are kept."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import function_arn
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.store.errors import NotStoredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.functions.registry import FunctionRegistry
    from venturekit.service.store import Store
    from venturekit.service.url_table import UrlTable

KIND: Final = "websocket"
ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH: Final = 10
APIS_LIMIT: Final = 600
"""APIs of one account (API Gateway Developer Guide, "Quotas": APIs per Region)."""
ROUTES_LIMIT: Final = 300
IDLE_TIMEOUT_SECONDS: Final = 600
LONGEST_IDLE_SECONDS: Final = 7200
STAGE: Final = "dev"
SELECTION: Final = "$request.body.action"
PREDEFINED: Final = ("$connect", "$disconnect", "$default")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SELECTION: Final = re.compile(r"\$request\.body(\.[A-Za-z0-9_-]{1,64}){1,8}")
_MEMBERS: Final = ("stage", "routeSelectionExpression", "routes", "routeResponses", "idleTimeoutSeconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketApi:
    """One API. ``routes`` are functions (name, or name:qualifier) by route key.

    ``route_responses`` are the keys of those routes whose functions' answers are sent to the client.
    """

    account_id: str
    name: str
    id: str
    stage: str
    selection: str
    routes: Mapping[str, str]
    route_responses: tuple[str, ...]
    idle_timeout_seconds: int

    def document(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "name": self.name,
            "apiId": self.id,
            "stage": self.stage,
            "routeSelectionExpression": self.selection,
            "routes": dict(self.routes),
            "routeResponses": list(self.route_responses),
            "idleTimeoutSeconds": self.idle_timeout_seconds,
        }

    @classmethod
    def of(cls, account_id: str, document: Mapping[str, Any]) -> WebSocketApi:
        """The API that was stored."""
        return cls(
            account_id=account_id,
            name=document["name"],
            id=document["apiId"],
            stage=document["stage"],
            selection=document["routeSelectionExpression"],
            routes=document["routes"],
            route_responses=tuple(document["routeResponses"]),
            idle_timeout_seconds=document["idleTimeoutSeconds"],
        )

    def entry(self, region: str) -> dict[str, Any]:
        """As the front process gets it."""
        arns = {}
        for key, function in self.routes.items():
            name, _, qualifier = function.partition(":")
            arns[key] = function_arn(region, self.account_id, name, qualifier or None)
        return {
            "kind": KIND,
            "id": self.id,
            "accountId": self.account_id,
            "stage": self.stage,
            "routeSelectionExpression": self.selection,
            "routes": arns,
            "routeResponses": list(self.route_responses),
            "idleTimeoutSeconds": self.idle_timeout_seconds,
        }


class WebSocketApis:
    """All of them. ``draw_id`` gives an id that nobody guesses; ``table`` is what the front process reads.

    ``changed`` is called when there is something new in it.
    """

    def __init__(
        self,
        store: Store,
        table: UrlTable,
        *,
        region: str,
        draw_id: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._table = table
        self._region = region
        self._draw_id = draw_id
        self._changed = changed
        self._apis: dict[tuple[str, str], WebSocketApi] = {}
        self._ids: dict[str, WebSocketApi] = {}
        # Changes are carried out one after the other: two that make one name would draw two ids.
        self._changing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._apis)

    async def load(self) -> None:
        """Take over what the store holds."""
        for account_id, _, document in await self._store.load_websocket_apis():
            self._keep(WebSocketApi.of(account_id, document))

    def find(self, account_id: str, name: str) -> WebSocketApi:
        """An account's API by its name or id. Raises ApiError, 404."""
        found = self._apis.get((account_id, name)) or self._ids.get(name)
        if found is None or found.account_id != account_id:
            raise ApiError("ResourceNotFoundException", f"there is no WebSocket API {name[:128]!r}", status=404)
        return found

    def find_id(self, api_id: str) -> WebSocketApi | None:
        """The API with this id, of any account, or None."""
        return self._ids.get(api_id)

    def of_account(self, account_id: str) -> list[WebSocketApi]:
        """All of an account, by name."""
        return [api for _, api in sorted(self._apis.items()) if api.account_id == account_id]

    async def put(self, functions: FunctionRegistry, name: str, given: object) -> WebSocketApi:
        """Make an API, or change the one of that name, which keeps its id.

        Raises ApiError for a definition that is refused, and what the store raises.
        """
        account_id = functions.account_id
        definition = check_definition(functions, name, given)
        async with self._changing:
            former = self._apis.get((account_id, name))
            if former is None and len(self.of_account(account_id)) >= APIS_LIMIT:
                raise api_error("InvalidParameterValueException", f"an account has {APIS_LIMIT} WebSocket APIs at most")
            api_id = self._new_id() if former is None else former.id
            api = WebSocketApi.of(account_id, {"name": name, "apiId": api_id, **definition})
            await self._store.of_account(account_id).put_websocket_api(name, api.document())
            self._keep(api)
        return api

    async def delete(self, account_id: str, name: str) -> WebSocketApi:
        """Take an API away; its clients are sent away, too. Raises ApiError, 404, and what the store raises."""
        async with self._changing:
            api = self.find(account_id, name)
            try:
                await self._store.of_account(account_id).delete_websocket_api(api.name)
            except NotStoredError:
                pass
            del self._apis[account_id, api.name]
            del self._ids[api.id]
            self._table.remove(api.id)
        return api

    def _keep(self, api: WebSocketApi) -> None:
        self._apis[api.account_id, api.name] = api
        self._ids[api.id] = api
        self._table.put(api.entry(self._region))
        self._changed()

    def _new_id(self) -> str:
        while (drawn := self._draw_id()) in self._ids:
            pass
        return drawn


def check_definition(functions: FunctionRegistry, name: str, given: object) -> dict[str, Any]:
    """What of an API its user says, complete. Raises ApiError that says what is wrong and what would be right."""
    if not _NAME.fullmatch(name):
        raise _invalid(f"the name {name[:140]!r} must be 1 to 128 letters, digits, - and _")
    if not isinstance(given, dict):
        raise _invalid("a WebSocket API is described by a JSON object")
    unknown = sorted(str(member) for member in given if member not in _MEMBERS)
    if unknown:
        raise _invalid(f"there is no member {unknown[0][:100]!r}: there are {', '.join(_MEMBERS)}")
    stage = given.get("stage", STAGE)
    if not isinstance(stage, str) or not _NAME.fullmatch(stage):
        raise _invalid("stage must be 1 to 128 letters, digits, - and _")
    selection = given.get("routeSelectionExpression", SELECTION)
    if not isinstance(selection, str) or not _SELECTION.fullmatch(selection):
        raise _invalid(f"routeSelectionExpression must be a property of the message, such as {SELECTION}")
    idle = given.get("idleTimeoutSeconds", IDLE_TIMEOUT_SECONDS)
    if isinstance(idle, bool) or not isinstance(idle, int) or not 1 <= idle <= LONGEST_IDLE_SECONDS:
        raise _invalid(f"idleTimeoutSeconds must be a whole number from 1 to {LONGEST_IDLE_SECONDS}")
    routes = _check_routes(functions, given.get("routes"))
    responses = given.get("routeResponses", [])
    if not isinstance(responses, list) or not all(isinstance(key, str) for key in responses):
        raise _invalid("routeResponses must be an array of route keys")
    for key in responses:
        if key not in routes or key in ("$connect", "$disconnect"):
            raise _invalid(f"routeResponses: there is no route {key[:100]!r} that messages take")
    return {
        "stage": stage,
        "routeSelectionExpression": selection,
        "routes": routes,
        "routeResponses": sorted(set(responses)),
        "idleTimeoutSeconds": idle,
    }


def _check_routes(functions: FunctionRegistry, given: object) -> dict[str, str]:
    if not isinstance(given, dict) or not given:
        raise _invalid('routes must be an object of functions by route key, such as {"$default": "my-function"}')
    if len(given) > ROUTES_LIMIT:
        raise _invalid(f"a WebSocket API has {ROUTES_LIMIT} routes at most")
    routes = {}
    for key, function in given.items():
        if not 1 <= len(key) <= 128 or (key.startswith("$") and key not in PREDEFINED):
            raise _invalid(
                f"the route key {key[:140]!r} must be 1 to 128 characters, of which the first is $ only in "
                f"{', '.join(PREDEFINED)}"
            )
        if not isinstance(function, str):
            raise _invalid(f"the route {key!r} must name a function")
        try:
            address = functions.address(function)
        except ApiError as error:
            raise _invalid(f"the route {key!r}: {error.message or 'its function is of another account'}") from None
        if address.name not in functions:
            raise _invalid(f"the route {key!r}: there is no function {address.name}; create it first")
        routes[key] = address.name if address.qualifier is None else f"{address.name}:{address.qualifier}"
    return routes


def _invalid(message: str) -> ApiError:
    return api_error("InvalidParameterValueException", message)
