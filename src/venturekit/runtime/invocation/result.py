"""What a call gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from venturekit.runtime.boundary import field_names
from venturekit.runtime.invocation.errors import InvokeError
from venturekit.runtime.responses import is_status

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class InvokeResult(Generic[T]):
    """``result.data`` is what the other function returned: a route's data, a function's result.

    ``status_code`` is the route's HTTP status (200 for functions, 202 for calls that nobody waits for), ``headers`` the
    route's, names in lower case. A status of 400 to 499 is a result too: ``error`` is then the error object, and
    ``data`` None. ``is_fallback`` tells that the target did not answer. Source: seeds 000 and 001, ``invoke()``.
    """

    __slots__ = ("data", "error", "headers", "is_fallback", "status_code", "target")

    def __init__(
        self,
        data: T,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        error: Any = None,
        target: str = "",
        is_fallback: bool = False,
    ) -> None:
        self.data = data
        self.status_code = status_code
        self.headers: dict[str, str] = dict(headers or {})
        self.error = error
        self.target = target
        self.is_fallback = is_fallback

    @property
    def ok(self) -> bool:
        """Whether it went well: a status below 400."""
        return self.status_code < 400

    def raise_for_status(self) -> InvokeResult[T]:
        """Itself, or InvokeError for a status of 400 and above."""
        if self.ok:
            return self
        told = self.error.get("message") if isinstance(self.error, dict) else None
        if told and (fields := field_names(self.error.get("details"))):
            told = f"{told} ({', '.join(fields)})"
        raise InvokeError(
            f"{self.target} answered {self.status_code}{f': {told}' if told else ''}",
            target=self.target,
            status_code=self.status_code,
            details=self.error,
        )

    def __repr__(self) -> str:
        return f"InvokeResult({self.status_code}, {self.data!r})"


def fallback_result(fallback: Any, target: str) -> InvokeResult[Any]:
    """The result that somebody has given for when the target is unavailable.

    An InvokeResult, a dictionary with ``statusCode`` or ``status_code`` (the seed's form; ``data`` and ``headers`` may
    be left out), or any other value, which becomes the data of a 503. Raises ValueError for a status that is none.
    """
    made: InvokeResult[Any]
    if isinstance(fallback, InvokeResult):
        made = InvokeResult(fallback.data, fallback.status_code, fallback.headers, error=fallback.error)
    elif isinstance(fallback, dict) and ("statusCode" in fallback or "status_code" in fallback):
        given: dict[str, Any] = fallback
        status_code = given["status_code"] if "status_code" in given else given["statusCode"]
        if not is_status(status_code):
            raise ValueError(f"the status of the fallback is {status_code!r}, and no HTTP status")
        made = InvokeResult(given.get("data"), int(status_code), given.get("headers"), error=given.get("error"))
    else:
        made = InvokeResult(fallback, 503)
    made.target, made.is_fallback = target, True
    return made
