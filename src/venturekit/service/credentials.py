"""The key pairs that functions get: minted per function, accepted by this service alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from venturekit.protocol.sigv4 import Credentials

# Access keys tell at a glance whether they are of the service's own account, which nearly all are.
OWN_PREFIX: Final = "ASIAV"
OTHER_PREFIX: Final = "ASIAX"


@dataclass(frozen=True, slots=True)
class Minted:
    """The credentials of one function, which its ARN names."""

    credentials: Credentials
    function_arn: str


class FunctionCredentials:
    """Derives key pairs from ``secret`` (random bytes) and the function's ARN: nothing has to be kept.

    ``account_id`` is the service's own account.
    """

    __slots__ = ("_account_id", "_minted", "_secret")

    def __init__(self, secret: bytes, account_id: str) -> None:
        self._secret = secret
        self._account_id = account_id
        self._minted: dict[str, Minted] = {}

    def mint(self, function_arn: str) -> Credentials:
        """The credentials of a function; the same ones every time."""
        credentials = self._derive(function_arn)
        self._minted[credentials.access_key_id] = Minted(credentials, function_arn)
        return credentials

    def _derive(self, function_arn: str) -> Credentials:
        digest = hmac.digest(self._secret, function_arn.encode(), hashlib.sha512)
        prefix = OWN_PREFIX if f":{self._account_id}:" in function_arn else OTHER_PREFIX
        return Credentials(
            access_key_id=prefix + base64.b32encode(digest[:10]).decode()[:15],
            secret_access_key=base64.b64encode(digest[10:40]).decode(),
            session_token=base64.b64encode(digest[40:]).decode(),
        )

    def forget(self, function_arn: str) -> None:
        """The function is deleted: its credentials are accepted no more."""
        self._minted.pop(self._derive(function_arn).access_key_id, None)

    def find(self, access_key_id: str) -> Minted | None:
        """What was minted under an access key, or None."""
        return self._minted.get(access_key_id)
