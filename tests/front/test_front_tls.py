"""The front process's trust in the service's own certificate, whoever has signed it."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.front.config import Configuration
from venturekit.front.process import _trusting

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def certified(folder: Path) -> Path:
    """A certificate with its key in one file, signed by an authority that nobody knows."""
    authority = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial")
    openssl(folder, "req", "-x509", *KEY, "-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=authority")
    openssl(folder, "req", *KEY, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=lambda.example")
    openssl(folder, "x509", "-req", "-in", "own.csr", *authority, "-out", "own.pem", "-days", "2")
    return whole(folder)


def self_signed(folder: Path) -> Path:
    openssl(
        folder, "req", "-x509", *KEY, "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=localhost", "-days", "2"
    )
    return whole(folder)


def whole(folder: Path) -> Path:
    file = folder / "whole.pem"
    file.write_bytes((folder / "own.pem").read_bytes() + (folder / "own.key").read_bytes())
    return file


def shake_hands(client: ssl.SSLContext, certificate: Path) -> None:
    """A handshake in memory. Raises ssl.SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(side.version() for side in sides)


def trusting(certificate: Path) -> ssl.SSLContext:
    given: dict[str, Any] = dict.fromkeys(Configuration.__dataclass_fields__)
    return _trusting(Configuration(**given | {"tls_certificate": str(certificate)}))


@pytest.mark.parametrize("make", [certified, self_signed])
def test_the_services_own_certificate_is_trusted_and_no_other(make: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own, other = make(tmp_path), self_signed(tmp_path / "other")
    shake_hands(trusting(own), own)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(trusting(own), other)
