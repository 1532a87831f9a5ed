"""What a handler answers with. Source: seed 001, table of response helpers (names and statuses)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.encoding import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping, Sequence

    from venturekit.runtime.errors import VentureError

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"
_NO_BODY: Final = (204, 304)


class Response:
    """A whole response: ``Response("<h1>hi</h1>", headers={"Content-Type": "text/html"}, cookies=["seen=1"])``.

    ``body`` is a text or bytes as they are, an iterable of texts or bytes that is streamed, None for none, or any other
    value, which becomes JSON. ``cookies`` are ``Set-Cookie`` values. Without a ``Content-Type`` the body says what it
    is. ``enveloped`` tells whether the body is ``{"data": ...}``. Middleware may change all of it.

    Raises ValueError for a status that is none.
    """

    __slots__ = ("body", "cookies", "enveloped", "headers", "raw", "status_code")

    def __init__(
        self,
        body: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
        *,
        enveloped: bool = False,
    ) -> None:
        if not is_status(status_code):
            raise ValueError(f"{status_code!r} is no HTTP status: 100 to 599 are")
        self.status_code = int(status_code)
        self.headers: dict[str, str] = dict(headers) if headers else {}
        self.cookies: list[str] = [cookies] if isinstance(cookies, str) else list(cookies)
        self.body = body
        self.enveloped = enveloped
        self.raw: dict[str, Any] | None = None

    @property
    def is_streamed(self) -> bool:
        """Whether the body is sent piece by piece."""
        return is_stream(self.body)

    def header(self, name: str) -> str | None:
        """The value of a header, whatever the case of its name."""
        wanted = name.lower()
        return next((value for given, value in self.headers.items() if given.lower() == wanted), None)

    def encoded(self) -> tuple[str | bytes, str | None]:
        """The body as it is sent, and the content type that it has by itself.

        Raises NotSerializableError.
        """
        body = self.body
        if body is None or self.status_code in _NO_BODY:
            return "", None
        if isinstance(body, str):
            return body, TEXT
        if isinstance(body, bytes | bytearray | memoryview):
            return bytes(body), BINARY
        return to_json(body), JSON

    def __repr__(self) -> str:
        return f"Response({self.status_code})"


def is_status(value: Any) -> bool:
    """Whether something is a status of HTTP: an integer of three digits, ``http.HTTPStatus`` included."""
    return isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599


def is_stream(value: Any) -> bool:
    """Whether a value comes piece by piece: generators and other iterators, not lists."""
    return (hasattr(value, "__next__") and hasattr(value, "__iter__")) or hasattr(value, "__aiter__")


def stream(
    pieces: Iterable[str | bytes] | AsyncIterable[str | bytes],
    content_type: str = BINARY,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: Sequence[str] = (),
) -> Response:
    """A response that is sent as it comes: ``return stream(lines(), "text/plain")``.

    Where the runtime or the front door cannot stream, it is collected and sent whole.
    """
    body: Any = pieces
    if hasattr(body, "__iter__"):
        body = iter(body)
    return Response(body, status_code, {"Content-Type": content_type, **(headers or {})}, cookies)


def envelope(data: Any, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``{"data": ...}``, with ``meta`` beside it where there is any."""
    return {"data": data} if meta is None else {"data": data, "meta": dict(meta)}


def success(data: Any = None, meta: Mapping[str, Any] | None = None) -> Response:
    """200 with ``{"data": ..., "meta": ...}``: ``return success(users, {"total": 42})``"""
    return Response(envelope(data, meta), 200, enveloped=True)


def created(data: Any = None, meta: Mapping[str, Any] | None = None) -> Response:
    """201 with ``{"data": ..., "meta": ...}``: ``return created(user)``"""
    return Response(envelope(data, meta), 201, enveloped=True)


def no_content(meta: Mapping[str, Any] | None = None) -> Response:
    """204. A response without content has no place for ``meta``: each entry becomes a header ``X-Meta-<name>``."""
    headers = {f"X-Meta-{name}": str(value) for name, value in (meta or {}).items()}
    return Response(None, 204, headers)


def error(status_code: int, body: Any = None) -> Response:
    """Any status with any body, sent as it is: ``return error(418, {"error": "teapot"})``"""
    return Response(body, status_code)


def error_response(error: VentureError, meta: Mapping[str, Any] | None = None) -> Response:
    """The response of an error, as a handler's boundary makes it: ``{"error": {"code", "message", "details"}}``."""
    body: dict[str, Any] = {"error": error.to_dict()}
    if meta is not None:
        body["meta"] = dict(meta)
    return Response(body, error.status_code, error.headers)


def redirect(url: str, status_code: int = 302) -> Response:
    """Look elsewhere: ``return redirect("https://example.com/new", 301)``. Raises ValueError for other statuses."""
    if status_code not in (301, 302, 303, 307, 308):
        raise ValueError(f"{status_code} is no redirection: 301, 302, 303, 307 and 308 are")
    return Response(None, status_code, {"Location": url})
