"""An authority that nobody knows, certificates that it has signed, and servers and proxies that use them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.unit.client.scripted_server import BOUND_SECONDS, Peer, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """Signs certificates, in a folder; ``bundle`` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, ...], ssl.SSLContext] = {}
        self.bundle = str(folder / "authority.pem")
        self._run("req", "-x509", *KEY, "-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=authority")

    def server(self, name: str = "IP:127.0.0.1,DNS:localhost", *, days: str = "2") -> ssl.SSLContext:
        """What a server of a certificate needs that was signed for these names."""
        if (name, days) not in self._made:
            self._made[name, days] = self._signed(name, days)
        return self._made[name, days]

    def _signed(self, name: str, days: str) -> ssl.SSLContext:
        (self._folder / "names").write_text(f"subjectAltName={name}\n")
        authority = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names")
        self._run("req", *KEY, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=server")
        self._run("x509", "-req", "-in", "own.csr", *authority, "-out", "own.pem", "-days", days)
        return self._context()

    def self_signed(self) -> ssl.SSLContext:
        """The same of a certificate that vouches for itself."""
        if () not in self._made:
            self._made[()] = self._of_itself()
        return self._made[()]

    def _of_itself(self) -> ssl.SSLContext:
        names = ("-addext", "subjectAltName=IP:127.0.0.1")
        self._run("req", "-x509", *KEY, "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=server", *names)
        return self._context()

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "own.pem", self._folder / "own.key")
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True, timeout=60)


class TlsServer(ScriptedServer):
    """A server that answers everything, over TLS. ``failures`` of the handshake are not its own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(self._answer)
        self.url = f"https://127.0.0.1:{self.port}"

    def _answer(self, peer: Peer) -> None:
        with suppress(ssl.SSLError):
            peer.socket = self._context.wrap_socket(peer.socket, server_side=True)
            while True:
                peer.answer(b'"by TLS"')


class HttpProxy(ScriptedServer):
    """A proxy: for tunnels (CONNECT), and for whole addresses. ``user`` is ``name:password``, or everybody may ask."""

    def __init__(self, user: str | None = None) -> None:
        self._user = user
        self.asked: list[str] = []
        super().__init__(self._relay)

    def _relay(self, peer: Peer) -> None:
        while True:
            request = peer.request()
            self.asked.append(f"{request.method} {request.target}")
            given = request.headers.get("proxy-authorization", "Basic ")
            if self._user is not None and b64decode(given.removeprefix("Basic ")).decode() != self._user:
                peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            elif request.method == "CONNECT":
                host, _, port = request.target.rpartition(":")
                self._tunnel(peer, socket.create_connection((host.strip("[]"), int(port)), BOUND_SECONDS))
                return
            else:
                authority, _, path = request.target.removeprefix("http://").partition("/")
                host, _, port = authority.rpartition(":")
                kept = {name: text for name, text in request.headers.items() if not name.startswith("proxy-")}
                lines = [f"POST /{path} HTTP/1.1", *(f"{name}: {text}" for name, text in kept.items()), "", ""]
                with socket.create_connection((host.strip("[]"), int(port)), BOUND_SECONDS) as server:
                    server.sendall("\r\n".join(lines).encode() + request.body)
                    peer.send(server.recv(65_536))

    def _tunnel(self, peer: Peer, server: socket.socket) -> None:
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_copy, args=(server, peer.socket), daemon=True)
        back.start()
        _copy(peer.socket, server)
        back.join(BOUND_SECONDS)
        server.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
