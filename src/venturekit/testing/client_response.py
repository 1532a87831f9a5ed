"""What a client of a handler gets back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from venturekit.protocol.http_response import HttpResponse
    from venturekit.testing.lambda_context import FakeLambdaContext

Bytes = bytes


class ClientResponse:
    """A response as it would reach a client.

    ``headers`` have names in lower case; ``cookies`` are name and value of every ``Set-Cookie``, ``set_cookies`` all of
    it. ``pieces`` are what a streamed response came in, empty for one that was not streamed. ``event`` is what the
    handler was called with, ``context`` its second argument; both are None where no route was found.
    """

    def __init__(
        self,
        response: HttpResponse,
        *,
        event: dict[str, Any] | None = None,
        context: FakeLambdaContext | None = None,
        pieces: list[Bytes] | None = None,
        is_head: bool = False,
    ) -> None:
        self.status_code = response.status
        self.headers: dict[str, str] = dict(response.headers)
        self.set_cookies = list(response.cookies)
        self.pieces = pieces or []
        self.event = event
        self.context = context
        self._body = b"" if is_head else response.body

    @property
    def cookies(self) -> dict[str, str]:
        """Values of the cookies by their names."""
        pairs = (cookie.partition(";")[0].partition("=") for cookie in self.set_cookies)
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def bytes(self) -> Bytes:
        """The body as it came."""
        return self._body

    @property
    def text(self) -> str:
        """The body as text, in the character set that its content type names, else UTF-8."""
        _, _, found = self.headers.get("content-type", "").lower().partition("charset=")
        charset = found.partition(";")[0].strip(" \"'") or "utf-8"
        try:
            return self._body.decode(charset, "replace")
        except LookupError:
            return self._body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The value of the body. Raises ValueError, with the body in its text, for what is no JSON."""
        try:
            return json.loads(self._body)
        except ValueError as problem:
            raise ValueError(
                f"the body of this {self.status_code} is no JSON ({problem}): {self.text[:500]!r}"
            ) from None

    @property
    def data(self) -> Any:
        """What the handler returned: ``data`` of ``{"data": ...}``; None in an error. Raises ValueError."""
        value = self.json() if self._body else None
        return value.get("data") if isinstance(value, dict) else None

    @property
    def error(self) -> Any:
        """``error`` of ``{"error": {"code", "message", "details"}}``, None in any other response. Raises ValueError."""
        value = self.json() if self._body else None
        return value.get("error") if isinstance(value, dict) else None

    def __repr__(self) -> str:
        return f"<ClientResponse {self.status_code}: {self.text[:200]!r}>"
