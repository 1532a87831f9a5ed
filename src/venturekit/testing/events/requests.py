"""The HTTP request inside the events of front doors: path, query, headers, body, as a client would have sent them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from venturekit.protocol.http_event import HttpRequest
from venturekit.runtime.encoding import to_json
from venturekit.testing.events.common import trace_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]
    Query = Mapping[str, Any] | str

SOURCE_IP: Final = "127.0.0.1"
USER_AGENT: Final = "venturekit-testing"
_PATH_CHARACTERS: Final = "/%:@!$&'()*+,;=~-._"


def http_request(
    method: str,
    path: str,
    *,
    query: Query | None,
    headers: Headers | None,
    cookies: Mapping[str, str] | None,
    body: Any,
    form: Mapping[str, Any] | None,
    source_ip: str,
    host: str,
    time_epoch_ms: int,
    port: int = 443,
) -> HttpRequest:
    """The request that arrives at the function, with the headers that clients and front doors add.

    Raises TypeError for headers that are no texts and for two bodies, ValueError for two queries.
    """
    raw_path, _, given_query = path.partition("?")
    if given_query and query is not None:
        raise ValueError(f"the path {path!r} has a query, and there is query= too: give one of them")
    data, content_type = encoded_body(body, form)
    given = header_pairs(headers)
    if cookies:
        given.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    usual = {"accept": "*/*"}
    if data:
        usual |= {"content-length": str(len(data)), "content-type": content_type}
    usual |= {
        "host": host,
        "user-agent": USER_AGENT,
        "x-amzn-trace-id": trace_header(time_epoch_ms),
        "x-forwarded-for": source_ip,
        "x-forwarded-port": str(port),
        "x-forwarded-proto": "https" if port == 443 else "http",
    }
    names = {name.lower() for name, _ in given}
    pairs = [*((name, value) for name, value in usual.items() if name not in names), *given]
    return HttpRequest(
        method.upper(),
        "/" + quote(raw_path.lstrip("/"), safe=_PATH_CHARACTERS),
        given_query or query_text(query),
        tuple(pairs),
        data,
        source_ip,
    )


def encoded_body(body: Any, form: Mapping[str, Any] | None = None) -> tuple[bytes, str]:
    """A body as it is sent, and its content type.

    Bytes are sent as they are, a text as text, a form as browsers do it, any other value as JSON; None is no body.
    Raises TypeError for a body and a form, NotSerializableError for what JSON cannot hold.
    """
    if form is not None:
        if body is not None:
            raise TypeError("a request has one body: give body= or form=")
        return query_text(form).encode(), "application/x-www-form-urlencoded"
    if body is None:
        return b"", ""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return to_json(body).encode(), "application/json"


def query_text(query: Query | None) -> str:
    """A query as it stands in a URL. Of a list every item is sent, None is left out, a text is taken as it is."""
    if query is None or isinstance(query, str):
        return (query or "").lstrip("?")
    pairs = []
    for name, value in query.items():
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, _text(item)) for item in values if item is not None]
    return urlencode(pairs)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def header_pairs(headers: Headers | None) -> list[tuple[str, str]]:
    """Headers one by one; a name may have several values. Raises TypeError for what is no text."""
    if headers is None:
        return []
    pairs: list[tuple[str, str]] = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        values = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
        for item in values:
            if not isinstance(name, str) or not isinstance(item, str):
                raise TypeError(f"the header {name!r} is {item!r}: names and values of headers are texts")
            pairs.append((name, item))
    return pairs
