"""Making a connection: to the server itself, or by a proxy, with TLS where it belongs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.http1 import HEAD_LIMIT_BYTES, HttpError, parse_head
from venturekit.transport.errors import ConnectError

if TYPE_CHECKING:
    import socket

    from venturekit.transport.endpoint import Endpoint, Proxy

_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 4))
"""Probes of the system, in seconds: a function may run for 15 minutes, networks forget silent connections earlier."""


def dial(endpoint: Endpoint, proxy: Proxy | None, tls: Any, seconds: float) -> socket.socket:
    """A connection to the endpoint, made within so many seconds. Raises ConnectError."""
    import socket

    deadline = time.monotonic() + seconds
    host, port = (endpoint.host, endpoint.port) if proxy is None else (proxy.host, proxy.port)
    connection = None
    try:
        connection = socket.create_connection((host, port), timeout=_left(deadline))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if endpoint.scheme != "https":
            return connection
        if proxy is not None:
            _tunnel(connection, endpoint, proxy, deadline)
        connection.settimeout(_left(deadline))
        return tls.wrap_socket(connection, server_hostname=endpoint.host)  # type: ignore[no-any-return]
    except (OSError, UnicodeError, HttpError) as problem:
        if connection is not None:
            connection.close()
        is_timeout = isinstance(problem, TimeoutError)
        why = f"no connection within {seconds:.3g} s" if is_timeout else failure_text(problem)
        by = f" by the proxy {host}:{port}" if proxy is not None else ""
        raise ConnectError(
            f"{endpoint.url} cannot be reached{by}: {why}", reason=why, is_timeout=is_timeout
        ) from problem


def usual_tls() -> Any:
    """The TLS context of the system's certificate authorities."""
    import ssl

    return ssl.create_default_context()


def failure_text(problem: BaseException) -> str:
    """What an error says, its name if it says nothing; of TLS, what can be done about it."""
    verified = getattr(problem, "verify_message", None)
    if verified is not None:
        advice = _CERTIFICATE_ADVICE.get(getattr(problem, "verify_code", 0), _AUTHORITY_ADVICE)
        return f"its certificate is not accepted ({verified.rstrip('.')}): {advice}"
    if getattr(problem, "reason", None) in _NO_TLS:
        return f"it does not speak TLS ({problem.reason}): is its address one of http://?"  # type: ignore[attr-defined]
    return str(problem) or type(problem).__name__


_AUTHORITY_ADVICE: Final = "name the certificates of its authority (ca_bundle, AWS_CA_BUNDLE)"
_HOST_ADVICE: Final = "the address has to name the host as the certificate does"
_CERTIFICATE_ADVICE: Final = {10: "it has to be renewed", 62: _HOST_ADVICE, 64: _HOST_ADVICE}
"""By the numbers that OpenSSL gives to what it finds: expired, another host, another address (``x509_vfy.h``)."""
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _tunnel(connection: socket.socket, endpoint: Endpoint, proxy: Proxy, deadline: float) -> None:
    """Ask the proxy for a way to the endpoint (RFC 9110, "CONNECT")."""
    connection.sendall(_connect_request(endpoint, proxy))
    received = b""
    # Byte by byte: what follows the answer belongs to TLS.
    while not received.endswith(b"\r\n\r\n"):
        connection.settimeout(_left(deadline))
        byte = connection.recv(1)
        if not byte:
            raise HttpError("the proxy closed the connection")
        received += byte
        if len(received) > HEAD_LIMIT_BYTES:
            raise HttpError("the proxy's answer has no end")
    status = parse_head(received[:-4]).status
    if not 200 <= status < 300:
        raise HttpError(proxy_refusal(status))


def proxy_refusal(status: int) -> str:
    """What a proxy says that opens no tunnel."""
    advice = ": it wants a user and his password (http://user:password@host:port)" if status == 407 else ""
    return f"the proxy answered {status}{advice}"


def _connect_request(endpoint: Endpoint, proxy: Proxy) -> bytes:
    # Not a variable of who sends it: the frames of a failure may be shown, and the password with them.
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = [f"CONNECT {host}:{endpoint.port} HTTP/1.1", f"Host: {host}:{endpoint.port}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
