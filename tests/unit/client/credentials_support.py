"""Profiles with keys, and servers that look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.client.resolution_support import Case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.client.scripted_server import Peer, ScriptedServer

SHARED = "[default]\naws_access_key_id = AKIDS\naws_secret_access_key = s-secret\n"
CONFIG = "[default]\naws_access_key_id = AKIDC\naws_secret_access_key = c-secret\naws_session_token = c-token\n"
PROCESS = "[default]\ncredential_process = sh {home}/process\n"
PROCESS_GIVES = '{"Version": 1, "AccessKeyId": "AKIDP", "SecretAccessKey": "p-secret", "SessionToken": "p-token"}'


def case_at(case: Case, home: Path) -> Case:
    (home / "process").write_text(f"echo '{PROCESS_GIVES}'\n")
    config = None if case.config is None else case.config.replace("{home}", str(home))
    return Case(case.env, config, case.shared, case.options)


def keys_of(server: ScriptedServer) -> list[str | None]:
    """The access keys of the requests that came."""
    signed = (request.headers.get("authorization") for request in server.requests)
    return [None if text is None else text.partition("Credential=")[2].partition("/")[0] for text in signed]


def always(peer: Peer) -> None:
    while True:
        peer.answer()
