"""What a handler, a task and their middleware know of the invocation they serve.

Source: seed 001, ``BaseContext``, ``RequestContext``, ``TaskContext``, ``UserContext``, ``TenantContext``.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from venturekit.runtime.logs import Logger
    from venturekit.runtime.request_event import RequestEvent

_current: ContextVar[BaseContext] = ContextVar("venturekit_context")
_UNSET: Final[Any] = object()
NO_DEADLINE_MS: Final = 2**31 - 1
"""The remaining time of what no Lambda ends: more than anything takes."""


def current_context() -> BaseContext | None:
    """The context of the invocation that runs, in this thread or task; None outside of one."""
    return _current.get(None)


class UserContext:
    """Who asks. ``id`` is the ``sub`` of the token, under that name as well.

    ``email`` is None where the token has none, ``claims`` is all of it. Source: seed 001, ``UserContext``.
    """

    __slots__ = ("claims", "email", "id", "scopes")

    def __init__(
        self,
        id: str,
        email: str | None = None,
        scopes: Sequence[str] = (),
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.email = email
        self.scopes = list(scopes)
        self.claims: dict[str, Any] = dict(claims or {})

    @property
    def sub(self) -> str:
        """The same as ``id``, in the word of seed 000."""
        return self.id

    def has_scopes(self, *scopes: str) -> bool:
        """Whether every one of these is granted."""
        return all(scope in self.scopes for scope in scopes)

    def __repr__(self) -> str:
        return f"UserContext(id={self.id!r}, scopes={self.scopes!r})"


class TenantContext:
    """For whom: the customer whose data this is. Source: seed 001, ``TenantContext``."""

    __slots__ = ("id", "metadata", "slug")

    def __init__(self, id: str, slug: str | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        self.id = id
        self.slug = slug
        self.metadata: dict[str, Any] = dict(metadata or {})

    def __repr__(self) -> str:
        return f"TenantContext(id={self.id!r}, slug={self.slug!r})"


class BaseContext:
    """What all kinds of handlers share, so that a middleware can serve them all.

    ``request_id`` is the id of the request, ``raw_context`` AWS's context object (None where there is none), ``tx`` the
    transaction of a transactional handler, ``state`` a dictionary in which middleware leave things for one another.
    Source: seed 001, ``BaseContext``.
    """

    __slots__ = (
        "_intent_outputs",
        "_logger",
        "_tenant",
        "_timestamp",
        "_trace",
        "_trace_id",
        "_user",
        "raw_context",
        "request_id",
        "state",
        "tx",
    )

    def __init__(self, request_id: str, raw_context: Any = None) -> None:
        self.request_id = request_id
        self.raw_context = raw_context
        self.tx: Any = None
        self.state: dict[str, Any] = {}
        self._logger: Logger | None = None
        self._timestamp: datetime | None = None
        self._intent_outputs: dict[str, Any] | None = None
        self._trace: Any = _UNSET
        self._trace_id: Any = _UNSET
        self._tenant: Any = _UNSET
        self._user: Any = _UNSET

    @property
    def logger(self) -> Logger:
        """The handler's logger; what it writes has the ids of this invocation."""
        if self._logger is None:
            from venturekit.runtime.logs import logger

            self._logger = logger
        return self._logger

    @property
    def timestamp(self) -> datetime:
        """When the request arrived at the front door, else when the handler was called. Aware, UTC."""
        if self._timestamp is None:
            from datetime import UTC, datetime

            epoch_ms = self._epoch_ms()
            self._timestamp = datetime.now(UTC) if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)
        return self._timestamp

    def _epoch_ms(self) -> int | None:
        return None

    @property
    def intent_outputs(self) -> dict[str, Any]:
        """What the project's infrastructure is called where this runs: names of tables, addresses of queues.

        Comes from the variable ``VENTURE_INTENT_OUTPUTS``, a JSON object.
        """
        if self._intent_outputs is None:
            self._intent_outputs = environ.intent_outputs()
        return self._intent_outputs

    @intent_outputs.setter
    def intent_outputs(self, value: dict[str, Any]) -> None:
        self._intent_outputs = value

    @property
    def trace(self) -> str | None:
        """The whole trace header, X-Ray's or else W3C's ``traceparent``; None when nothing is traced."""
        if self._trace is _UNSET:
            self._trace = self._find_trace()
        return self._trace  # type: ignore[no-any-return]

    @trace.setter
    def trace(self, value: str | None) -> None:
        self._trace, self._trace_id = value, _UNSET

    def _find_trace(self) -> str | None:
        return environ.trace_header()

    @property
    def trace_id(self) -> str | None:
        """The id that all parts of the trace share: X-Ray's root, or W3C's 32 digits."""
        # Every record of the log asks for it.
        if self._trace_id is _UNSET:
            self._trace_id = trace_id_of(self.trace)
        return self._trace_id  # type: ignore[no-any-return]

    @property
    def tenant(self) -> TenantContext | None:
        """For whom this is done; None until a middleware or a call from another function says so."""
        if self._tenant is _UNSET:
            self._tenant = self._find_tenant()
        return self._tenant  # type: ignore[no-any-return]

    @tenant.setter
    def tenant(self, value: TenantContext | None) -> None:
        self._tenant = value

    @property
    def user(self) -> UserContext | None:
        """Who asks; None when nobody has identified themselves."""
        if self._user is _UNSET:
            self._user = self._find_user()
        return self._user  # type: ignore[no-any-return]

    @user.setter
    def user(self, value: UserContext | None) -> None:
        self._user = value

    def _find_tenant(self) -> TenantContext | None:
        tenant_id = self._propagated().get("tenantId")
        return TenantContext(tenant_id) if isinstance(tenant_id, str) and tenant_id else None

    def _find_user(self) -> UserContext | None:
        user_id = self._propagated().get("userId")
        return UserContext(user_id) if isinstance(user_id, str) and user_id else None

    def _propagated(self) -> Mapping[str, Any]:
        """What the calling function passed on."""
        return {}

    @property
    def is_internal(self) -> bool:
        """Whether another function of ours calls, by ``invoke()``. From outside this cannot be claimed."""
        return bool(self._propagated())

    @property
    def invoke_id(self) -> str | None:
        """The id of the call from function to function, None when it is none."""
        invoke_id = self._propagated().get("invokeId")
        return invoke_id if isinstance(invoke_id, str) else None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends this invocation; without a Lambda, more than anything takes."""
        remaining = getattr(self.raw_context, "get_remaining_time_in_millis", None)
        return int(remaining()) if remaining is not None else NO_DEADLINE_MS


class RequestContext(BaseContext):
    """The context of an HTTP request. Source: seed 001, ``RequestContext``.

    ``method`` and ``path`` are the request's, ``headers`` have names in lower case. ``query`` and ``params`` hold what
    the schemas of the handler made of ``query_params`` and ``path_params`` (the same texts where there is no schema).
    ``response_headers`` are added to whatever leaves, errors included.
    """

    __slots__ = (
        "_body",
        "_locale",
        "_max_body_bytes",
        "_query_params",
        "_request",
        "headers",
        "locales",
        "method",
        "params",
        "path",
        "query",
        "response_headers",
    )

    def __init__(
        self, request: RequestEvent, raw_context: Any = None, locales: tuple[Sequence[str], str] | None = None
    ):
        super().__init__(
            request.request_id or getattr(raw_context, "aws_request_id", None) or environ.new_request_id(), raw_context
        )
        self._request = request
        self.method = request.method
        self.path = request.path
        self.headers = request.headers
        self.response_headers: dict[str, str] = {}
        self.locales = locales
        self._body: Any = _UNSET
        self._max_body_bytes: int | None = None
        self._locale: str | None = None
        self.query: Any = None
        self.params: Any = None

    @property
    def raw_event(self) -> dict[str, Any]:
        """The event as the front door made it, less what nobody outside may write."""
        return self._request.event

    @property
    def body(self) -> Any:
        """The body as it was read: JSON as its value, a form as a dictionary, text as text, else bytes; None if empty.

        A middleware may set it: the handler gets that, and its schema checks it.

        Raises BadRequestError, PayloadTooLargeError.
        """
        if self._body is _UNSET:
            from venturekit.runtime.body import MAX_BODY_BYTES, read_body

            limit = MAX_BODY_BYTES if self._max_body_bytes is None else self._max_body_bytes
            self._body = read_body(self._request.event, self.headers, limit)
        return self._body

    @body.setter
    def body(self, value: Any) -> None:
        self._body = value

    @property
    def source_ip(self) -> str:
        """The address of the caller, empty where the event does not tell."""
        return self._request.source_ip

    @property
    def user_agent(self) -> str:
        """What the caller says it is; empty when it says nothing."""
        return self.headers.get("user-agent", "")

    @property
    def query_params(self) -> dict[str, str]:
        """The query as texts; several values of one name are joined by commas, as API Gateway does it."""
        return self._request.query

    @property
    def query_lists(self) -> dict[str, list[str]]:
        """The query with every value of every name."""
        return self._request.query_lists

    @property
    def path_params(self) -> dict[str, str]:
        """The values of the path's parameters, ``{"id": "42"}`` for ``users/{id}``."""
        return self._request.path_parameters

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name; of a name that comes twice the first."""
        found: dict[str, str] = {}
        for cookie in self._request.cookies:
            name, _, value = cookie.partition("=")
            found.setdefault(name.strip(), value.strip())
        return found

    @property
    def locale(self) -> str:
        """The supported language that the caller likes best (``extract_locale``)."""
        if self._locale is None:
            from venturekit.runtime.locale import best_locale

            supported, fallback = self.locales or environ.locales()
            self._locale = best_locale(self.headers.get("accept-language", ""), supported, fallback)
        return self._locale

    @locale.setter
    def locale(self, value: str) -> None:
        self._locale = value

    def _epoch_ms(self) -> int | None:
        return self._request.time_epoch_ms

    def _find_trace(self) -> str | None:
        headers = self.headers
        return headers.get("x-amzn-trace-id") or environ.trace_header() or headers.get("traceparent")

    def _find_user(self) -> UserContext | None:
        if self._request.marker is not None:
            return super()._find_user()
        claims = self._request.claims
        if claims is None:
            return None
        from venturekit.runtime.identity import user_of_claims

        return user_of_claims(claims)

    def _propagated(self) -> Mapping[str, Any]:
        return self._request.marker or {}

    @property
    def is_internal(self) -> bool:
        """Whether another function of ours calls, by ``invoke()``. From outside this cannot be claimed."""
        return self._request.marker is not None

    def __repr__(self) -> str:
        return f"RequestContext({self.method} {self.path}, request_id={self.request_id!r})"


class TaskContext(BaseContext):
    """The context of a task. ``event`` is what it was called with, as its schema made it.

    Source: seed 001, ``TaskContext``.
    """

    __slots__ = ("_marker", "event", "function_name")

    def __init__(self, event: Any, raw_context: Any = None) -> None:
        super().__init__(getattr(raw_context, "aws_request_id", None) or environ.new_request_id(), raw_context)
        self.event = event
        self.function_name: str = getattr(raw_context, "function_name", None) or environ.function_name()
        self._marker: Mapping[str, Any] | None = None

    def _propagated(self) -> Mapping[str, Any]:
        if self._marker is None:
            custom = getattr(getattr(self.raw_context, "client_context", None), "custom", None)
            marker = custom.get("venturekit") if isinstance(custom, dict) else None
            self._marker = marker if isinstance(marker, dict) else {}
        return self._marker

    def __repr__(self) -> str:
        return f"TaskContext({self.function_name}, request_id={self.request_id!r})"


def trace_id_of(trace: str | None) -> str | None:
    """The root id in a trace header, X-Ray's or W3C's; None when there is none."""
    if not trace:
        return None
    for field in trace.split(";"):
        name, _, value = field.strip().partition("=")
        if name.lower() == "root":
            return value
    parts = trace.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None
