"""``vk`` in an interpreter that starts for it says what it says in the forked processes of the other tests."""

from __future__ import annotations

import pytest

from tests.cli.conftest import run_process


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["functions", "get", "app"], b""),
        (["functions", "get", "nobody", "--json"], b""),
        (["functions", "create", "x", "missing.py"], b""),
        (["invoke", "app", "-p", "-"], '{"wörter": ["日本", "🎉"]}'.encode()),
        (["invoke", "app", "-p", "ö"], b""),
        (["invoke", "--help"], b""),
        (["no-such-command"], b""),
        (["serve", "--port", "many"], b""),
        (["--version"], b""),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_forked_command_is_as_one_of_its_own(service, arguments, stdin):
    env = {"AWS_ENDPOINT_URL_LAMBDA": service.url, "PYTHONUTF8": "1"}
    alone = run_process(*arguments, cwd=service.folder, env=env, stdin=stdin)
    assert service.vk(*arguments, env=env, stdin=stdin) == alone
