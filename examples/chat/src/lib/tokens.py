"""Tokens that say who somebody is: a JWT, signed with a key that only the functions know (HS256).

A real application has them from its identity provider, and verifies them with a library.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from venturekit.runtime.ws import TokenError

LIFE_SECONDS = 3600


def make_token(user: str, *, seconds: float = LIFE_SECONDS) -> str:
    """A token for a user, good for so many seconds."""
    signed = f"{HEAD}.{_encoded({'sub': user, 'exp': int(time.time() + seconds)})}"
    return f"{signed}.{_signature(signed)}"


def user_of(token: str) -> dict[str, Any]:
    """Whose token it is. Raises TokenError, of which the client is told the reason, and nothing else."""
    signed, _, signature = token.rpartition(".")
    head, _, claims = signed.partition(".")
    # Before anything in it is read. What another head says, such as "alg": "none", is not asked.
    if head != HEAD or not hmac.compare_digest(signature.encode(), _signature(signed).encode()):
        raise TokenError("invalid_token")
    found = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    if found["exp"] <= time.time():
        raise TokenError("expired_token")
    return {"user_id": found["sub"]}


def _signature(signed: str) -> str:
    return _text(hmac.digest(os.environ["CHAT_KEY"].encode(), signed.encode("utf-8", "replace"), hashlib.sha256))


def _encoded(value: Any) -> str:
    return _text(json.dumps(value).encode())


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


HEAD = _encoded({"alg": "HS256", "typ": "JWT"})
