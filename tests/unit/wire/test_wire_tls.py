"""The same listener over TLS."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.wire.wire_support import GOOD, bench, chunked, echo, post
from venturekit.service.wire.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

BOUND_SECONDS = 10
# Made for these tests and used nowhere else; valid for a hundred years.
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgY/FGgxhd0+IsrXVU
q7qmuFOhSaGS3Ec1OHy/uzC3bQShRANCAARCtabW4HxxM2zHy5haXxtddQKxPng+
yDfBpUyCiXb4VJRU5YLCQGFBGu2Hi1q9gFtIaX95nnv7SBNADqlkLWxe
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUY7a4I/P5gOmjVPuTfu341GTJQwUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTExNTUzM1oYDzIxMjYxMDI4
MTE1NTMzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARCtabW4HxxM2zHy5haXxtddQKxPng+yDfBpUyCiXb4VJRU5YLCQGFB
Gu2Hi1q9gFtIaX95nnv7SBNADqlkLWxeo2kwZzAdBgNVHQ4EFgQU5MNchEwStkQT
x+bqtBW8qMXDNLUwHwYDVR0jBBgwFoAU5MNchEwStkQTx+bqtBW8qMXDNLUwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgELjjbkFj78zcrdCEY7y/HZYsDJ/V0dlJoNFmQp35FgcCIQCHWhpParUl
J8f0F+aihxV6n2H0vOJbZL1VnvvNw58Ypw==
-----END CERTIFICATE-----
"""
LARGE = bytes(range(256)) * 16_384


async def talk(port: int, trust: ssl.SSLContext, *requests: bytes) -> bytes:
    """Sends requests and reads up to the end of the connection."""
    async with asyncio.timeout(BOUND_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        for data in requests:
            writer.write(data)
            await writer.drain()
        answers = await reader.read()
        writer.close()
        return answers


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    file = tmp_path / "self-signed.pem"
    file.write_text(SELF_SIGNED, encoding="ascii")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def test_requests_over_tls(run: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        server, trust = contexts
        async with bench() as at:
            listener = Listener(at.app, at.clock)
            await listener.start(tls=server)
            last = GOOD.replace(b"Host", b"Connection: close\r\nHost")
            answers = await talk(listener.port, trust, post(LARGE), chunked(b"one", b"two") + GOOD, last)
            assert answers.count(b"HTTP/1.1 200 OK") == 4
            assert [it.body for it in at.app.handled] == [LARGE, b"onetwo", b"", b""]
            assert answers.index(LARGE) < answers.index(b"onetwo")
            refused = await talk(listener.port, trust, b"BAD\r\n\r\n" + GOOD)
            assert refused.startswith(b"HTTP/1.1 400 ")
            assert len(at.app.handled) == 4
            # Plain HTTP to a TLS port never reaches the application.
            plain = await at.connect(listener)
            await plain.send(GOOD)
            await plain.more()
            assert b"HTTP" not in plain.buffer
            assert len(at.app.handled) == 4
            listener.close()

    run(main())


def test_tls_peer_that_leaves_aborts_once(run: Any, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        server, trust = contexts
        async with bench() as at:
            listener = Listener(at.app, at.clock)
            await listener.start(tls=server)
            at.app.on_handle = at.app.keep
            async with asyncio.timeout(BOUND_SECONDS):
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", listener.port, ssl=trust, server_hostname="localhost"
                )
                writer.write(GOOD)
                await at.until(lambda: bool(at.app.pending))
                writer.close()
                await at.until(lambda: bool(at.app.abortions))
            assert at.app.abortions == at.app.pending
            echo(at.app.pending.pop())
            listener.close()

    run(main())
