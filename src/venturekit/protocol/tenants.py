"""How the Runtime API tells for which tenant an invocation is."""

from __future__ import annotations


def tenant_header(tenant_id: str) -> bytes:
    """The line ``Lambda-Runtime-Aws-Tenant-Id`` of the next event; nothing for the empty text, which is no tenant.

    Source: AWS page "Using the Lambda runtime API". A tenant id is ASCII and has no line breaks: the service model's
    pattern for it has been checked.
    """
    return b"Lambda-Runtime-Aws-Tenant-Id: %b\r\n" % tenant_id.encode("ascii") if tenant_id else b""
