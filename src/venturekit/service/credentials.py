"""The key pairs that functions get: minted per function, accepted by this service alone."""

from __future__ import annotations

import base64
import hashlib
import hmac

from venturekit.protocol.sigv4 import Credentials


class FunctionCredentials:
    """Derives key pairs from ``secret`` (random bytes) and the function's name: nothing has to be kept."""

    __slots__ = ("_minted", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._minted: dict[str, Credentials] = {}

    def mint(self, function_name: str) -> Credentials:
        """The credentials of a function; the same ones every time."""
        credentials = self._derive(function_name)
        self._minted[credentials.access_key_id] = credentials
        return credentials

    def _derive(self, function_name: str) -> Credentials:
        digest = hmac.digest(self._secret, function_name.encode(), hashlib.sha512)
        return Credentials(
            access_key_id="ASIA" + base64.b32encode(digest[:10]).decode(),
            secret_access_key=base64.b64encode(digest[10:40]).decode(),
            session_token=base64.b64encode(digest[40:]).decode(),
        )

    def forget(self, function_name: str) -> None:
        """The function is deleted: its credentials are accepted no more."""
        self._minted.pop(self._derive(function_name).access_key_id, None)

    def find(self, access_key_id: str) -> Credentials | None:
        """The credentials of a minted access key, or None."""
        return self._minted.get(access_key_id)
