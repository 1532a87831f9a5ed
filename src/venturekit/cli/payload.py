"""Events as the command line gives them."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Final

from venturekit.cli.exits import USAGE, CommandError

LIMIT_BYTES: Final = 6 * 1024 * 1024
"""The largest event of a synchronous invocation. A byte more is read: the service refuses it in its own words."""


def read_payload(given: str | None) -> bytes:
    """The bytes of an event: JSON text, ``@`` and the name of a file, ``-`` for standard input, None for none.

    Raises CommandError when the file cannot be read.
    """
    if given is None:
        return b""
    if given == "-":
        return sys.stdin.buffer.read(LIMIT_BYTES + 1)
    if given.startswith("@"):
        try:
            with Path(given[1:]).expanduser().open("rb") as file:
                return file.read(LIMIT_BYTES + 1)
        except OSError as error:
            raise CommandError(f"--payload {given}: {error.strerror}", USAGE) from error
    return os.fsencode(given)


def read_client_context(given: str | None) -> str | None:
    """The value of the header ``X-Amz-Client-Context``: JSON text is encoded, anything else taken as base64."""
    if given is None:
        return None
    if given.lstrip().startswith("{"):
        return base64.b64encode(os.fsencode(given)).decode()
    if not given.isascii() or not given.isprintable():
        raise CommandError("--client-context must be a JSON object, or base64 of one", USAGE)
    return given


def read_filters(given: list[str]) -> list[str]:
    """Filter patterns: JSON text, or ``@`` and the name of a file. Raises CommandError for what is no JSON object."""
    found = []
    for item in given:
        pattern = item
        if item.startswith("@"):
            try:
                pattern = Path(item[1:]).expanduser().read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise CommandError(f"--filter {item}: {getattr(error, 'strerror', error)}", USAGE) from error
        try:
            is_object = isinstance(json.loads(pattern), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise CommandError(f'--filter {item}: must be a JSON object, such as {{"body": ["refresh"]}}', USAGE)
        found.append(pattern.strip())
    return found


def read_tenant_id(given: str | None) -> str | None:
    """The value of the header ``X-Amz-Tenant-Id``; the service says which characters it takes."""
    if given is not None and not (given.isascii() and given.isprintable()):
        raise CommandError("--tenant-id must be 1 to 256 letters, digits, blanks and . _ : / = + - @", USAGE)
    return given


def read_variables(given: list[str] | None) -> dict[str, str]:
    """Environment variables from ``NAME=VALUE``. Raises CommandError for anything else."""
    found = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise CommandError(f"--env {item!r}: must be NAME=VALUE", USAGE)
        found[name] = value
    return found
