"""The ``X-Amz-Client-Context`` header: base64 of a JSON object; the runtime gets the JSON. Pure."""

from __future__ import annotations

import base64
import binascii
import json


class ClientContextError(ValueError):
    """The header is not base64 of a JSON object; the text is AWS's."""

    def __init__(self) -> None:
        super().__init__("Client context must be a valid Base64-encoded JSON object.")


def decode_client_context(header: bytes) -> bytes:
    """The JSON text on one line, in ASCII, fit for a header. Raises ClientContextError."""
    try:
        value = json.loads(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise ClientContextError from None
    if not isinstance(value, dict):
        raise ClientContextError
    return json.dumps(value, separators=(",", ":")).encode("ascii")
