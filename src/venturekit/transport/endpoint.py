"""Where requests go, and by which proxy."""

from __future__ import annotations

from typing import NamedTuple

from venturekit.transport.errors import EndpointError


class Endpoint(NamedTuple):
    """Scheme, host and port of a server, and what its paths begin with."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as the header ``Host`` has them."""
        usual = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The same as an address."""
        return f"{self.scheme}://{self.authority}{self.path}"


class Proxy(NamedTuple):
    """An HTTP proxy. ``authorization`` is the value of ``Proxy-Authorization``, which is a secret."""

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def parse_endpoint(url: str) -> Endpoint:
    """An endpoint of its address. Raises EndpointError, a ValueError, without what may be a password."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    shown = repr(url[:200]) if "@" not in url else "what was given"
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.query or parts.fragment:
        raise EndpointError(f"{shown} is no address of an endpoint: http://host:port or https://host is")
    if parts.username is not None or parts.password is not None:
        raise EndpointError(f"the endpoint {host!r} holds a user: Lambda APIs know access keys only")
    if not _is_legal(url) or not _is_host(host):
        raise EndpointError(f"{shown} is no address of an endpoint: it holds what no address holds")
    return Endpoint(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/"))


def parse_proxy(url: str) -> Proxy:
    """A proxy of its address, ``http://user:password@host:port``. Raises EndpointError, without the password."""
    from urllib.parse import unquote, urlsplit

    try:
        # An address without a scheme is taken as other tools take it.
        parts = urlsplit(url if "://" in url else f"http://{url.removeprefix('//')}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("http:")
    if parts.scheme != "http":
        known = parts.scheme if parts.scheme in _PROXY_SCHEMES else "its own"
        raise EndpointError(f"a proxy of the scheme {known} is not served: http://host:port is")
    if not host or port == 0 or not _is_host(host) or not _is_legal(url):
        raise EndpointError("the address of the proxy cannot be read: http://host:port is one")
    authorization = None
    if parts.username is not None:
        from binascii import b2a_base64

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b2a_base64(pair.encode(), newline=False).decode()
    return Proxy(host, port or 80, authorization)


_PROXY_SCHEMES = ("https", "socks", "socks4", "socks4a", "socks5", "socks5h")


def _is_legal(url: str) -> bool:
    """Whether nothing in it would tear the head of a request."""
    return url.isascii() and url.isprintable() and " " not in url


def _is_host(host: str) -> bool:
    """Whether it is a name or an address, of which no character means something else in a request."""
    from re import ASCII, fullmatch

    return fullmatch(r"[\w.-]+|[0-9a-f:.]+(?:%25[\w.-]+)?", host, ASCII) is not None
