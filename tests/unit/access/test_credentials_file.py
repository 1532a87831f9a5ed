"""The credentials file: what is refused and how it is said, reading it again, writing it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from venturekit.service.access.conditions import SERVED_KEYS, SERVED_OPERATORS
from venturekit.service.access.credentials_file import (
    MAX_SIZE_BYTES,
    CredentialsFile,
    only_editor,
    read_document,
    write_document,
)
from venturekit.service.access.decision import authorize
from venturekit.service.access.faults import CredentialsFileError
from venturekit.service.access.principals import Kind, function

TABLE_ROW = re.compile(r"^\| (\w+) \| (.+) \|$", re.MULTILINE)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "access-control.md"
SECRET, TOKEN = "wJalrXUtnFEMI/K7MDENG", "FQoGZXIvYXdzEXAMPLE/token"
ALLOW = {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}
KEY: dict[str, Any] = {"accessKeyId": "AKIAALICE", "secretAccessKey": SECRET, "user": "alice", "statements": [ALLOW]}
SESSION: dict[str, Any] = KEY | {
    "accessKeyId": "ASIABOB",
    "user": "bob",
    "accountId": "111122223333",
    "sessionToken": TOKEN,
    "expires": "2026-11-21T12:00:00Z",
}
ROLE = "arn:aws:iam::123456789012:role/"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def store(path: Path, document: object) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    path.touch(mode=0o600)
    path.write_text(text)


def load(path: Path, document: object) -> CredentialsFile:
    store(path, document)
    file = CredentialsFile(path, account_id="123456789012")
    file.load()
    return file


def refusal(path: Path, document: object) -> str:
    with pytest.raises(CredentialsFileError) as caught:
        load(path, document)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert SECRET not in text
    assert TOKEN not in text
    return text.removeprefix(f"{path}: ")


# --- what it holds


def test_the_keys_of_a_file(path: Path) -> None:
    file = load(path, {"keys": [KEY, SESSION]})
    alice, bob = file.find("AKIAALICE"), file.find("ASIABOB")
    assert alice is not None
    assert bob is not None
    assert (alice.credentials.secret_access_key, alice.credentials.session_token) == (SECRET, None)
    assert (alice.principal.account_id, alice.principal.kind) == ("123456789012", Kind.USER)
    assert alice.principal.arn == "arn:aws:iam::123456789012:user/alice"
    assert alice.expires_epoch_s is None
    assert bob.credentials.session_token == TOKEN
    assert bob.expires_epoch_s == bob.credentials.expires_epoch_s == 1795262400.0
    assert bob.principal.arn == "arn:aws:iam::111122223333:user/bob"
    assert file.credentials_of("ASIABOB") is bob.credentials
    assert file.find("AKIANOBODY") is file.credentials_of("AKIANOBODY") is None


def test_before_it_is_read_a_file_lets_in_nobody(path: Path) -> None:
    file = CredentialsFile(path)
    assert file.find("AKIAALICE") is None
    assert file.role_statements(ROLE + "any") == ()


def test_an_access_key_of_12_digits_selects_its_account(path: Path) -> None:
    key = {**KEY, "accessKeyId": "111122223333"}
    entry = load(path, {"keys": [key]}).find("111122223333")
    assert entry is not None
    assert entry.principal.account_id == "111122223333"
    assert load(path, {"keys": [{**key, "accountId": "111122223333"}]}).find("111122223333") is not None
    assert "an accessKeyId of 12 digits is an account id, and accountId is another" in refusal(
        path, {"keys": [{**key, "accountId": "123456789012"}]}
    )


@pytest.mark.parametrize("expires", ["2026-11-21T12:00:00+00:00", "2026-11-21T13:00:00+01:00", "2026-11-21 12:00Z"])
def test_times_with_a_zone(path: Path, expires: str) -> None:
    entry = load(path, {"keys": [{**SESSION, "expires": expires}]}).find("ASIABOB")
    assert entry is not None
    assert entry.expires_epoch_s == 1795262400.0


def test_secrets_are_in_no_repr(path: Path) -> None:
    file = load(path, {"keys": [KEY, SESSION]})
    shown = repr([file, file.find("AKIAALICE"), file.find("ASIABOB"), file.credentials_of("ASIABOB")])
    assert SECRET not in shown
    assert TOKEN not in shown


# --- what is refused


def without(name: str) -> dict[str, Any]:
    return {other: value for other, value in KEY.items() if other != name}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "line 1, column 2: Expecting property name enclosed in double quotes"),
        ('{\n  "keys": [}', "line 2, column 12: Expecting value"),
        ("", "line 1, column 1: Expecting value"),
        ("[]", 'must be an object with the member "keys"'),
        ("{}", "the file: keys must be a list"),
        ('{"keys": [], "keys": []}', 'the member "keys" is there twice in one object'),
        ('{"keys": NaN}', "NaN is not JSON"),
        ('{"keys": ' + "1" * 5000 + "}", "holds a number of too many digits"),
        ("[" * 200_000, "is nested too deeply"),
        ({"keys": {}}, "the file: keys must be a list"),
        ({"keys": [], "users": []}, 'the file: unknown member "users"; there are keys, roles'),
        ({"keys": [], "roles": {}}, "the file: roles must be a list"),
        ({"keys": ["x"]}, "key 1: must be an object"),
        ({"keys": [KEY, without("accessKeyId")]}, "key 2: accessKeyId must be a text"),
        ({"keys": [{**KEY, "accessKeyId": "AK/IA"}]}, "key 1: accessKeyId must be 4 to 128 letters, digits, _ or -"),
        ({"keys": [{**KEY, "accessKeyId": SECRET}]}, "key 1: accessKeyId must be 4 to 128 letters, digits, _ or -"),
        (
            {"keys": [{**KEY, "secret": SECRET}]},
            'key AKIAALICE: unknown member "secret"; there are accessKeyId, secret',
        ),
        ({"keys": [without("secretAccessKey")]}, "key AKIAALICE: secretAccessKey must be a text"),
        ({"keys": [{**KEY, "secretAccessKey": 16 * [1]}]}, "key AKIAALICE: secretAccessKey must be a text"),
        (
            {"keys": [{**KEY, "secretAccessKey": "short-secret"}]},
            "key AKIAALICE: secretAccessKey must have at least 16",
        ),
        ({"keys": [{**KEY, "secretAccessKey": SECRET + " "}]}, "all of them ASCII and none a blank"),
        ({"keys": [{**KEY, "secretAccessKey": SECRET + "\ud800"}]}, "all of them ASCII and none a blank"),
        ({"keys": [{**KEY, "sessionToken": "short"}]}, "key AKIAALICE: sessionToken must have at least 16 characters"),
        ({"keys": [without("user")]}, "key AKIAALICE: user must be a text"),
        ({"keys": [{**KEY, "user": "a/b"}]}, 'user must be 1 to 64 letters, digits or +=,.@_-, not "a/b"'),
        ({"keys": [{**KEY, "accountId": "12345678901"}]}, 'accountId must be 12 digits, not "12345678901"'),
        ({"keys": [{**KEY, "accountId": 123456789012}]}, "key AKIAALICE: accountId must be a text"),
        ({"keys": [{**KEY, "expires": "2026-11-21T12:00:00"}]}, "expires must be a time with its zone, such as 2030-"),
        ({"keys": [{**KEY, "expires": "tomorrow"}]}, 'such as 2030-01-31T12:00:00Z, not "tomorrow"'),
        ({"keys": [KEY, {**KEY, "user": "bob"}]}, "key AKIAALICE: is there twice; remove one"),
        ({"keys": [without("statements")]}, "key AKIAALICE: statements must be a list"),
        ({"keys": [{**KEY, "statements": [ALLOW, {}]}]}, "key AKIAALICE: statement 2: Effect must be Allow or Deny"),
        ({"keys": [], "roles": ["x"]}, "role 1: must be an object"),
        (
            {"keys": [], "roles": [{"role": "worker"}]},
            "role 1: role must be the ARN of a role, or a pattern of one, not",
        ),
        ({"keys": [], "roles": [{"role": "*", "statement": []}]}, 'role *: unknown member "statement"; there are role'),
        ({"keys": [], "roles": [{"role": "*"}]}, "role *: statements must be a list"),
        (
            {"keys": [], "roles": [{"role": "arn:*", "statements": [{**ALLOW, "Principal": "*"}]}]},
            "role arn:*: statement 1: unknown member Principal",
        ),
    ],
    ids=range(37),
)
def test_a_document_that_is_refused(path: Path, document: object, message: str) -> None:
    assert message in refusal(path, document)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    store(path, {"keys": []})
    path.chmod(mode)
    with pytest.raises(CredentialsFileError, match=f"Secrets are in it: chmod 600 {path}"):
        CredentialsFile(path).load()


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_is_its_owners_alone_is_taken(path: Path, mode: int) -> None:
    store(path, {"keys": [KEY]})
    path.chmod(mode)
    file = CredentialsFile(path)
    file.load()
    assert file.find("AKIAALICE") is not None


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, message in (("pipe", "is not a regular file"), (".", "is not a regular file"), ("no", "No such file")):
        with pytest.raises(CredentialsFileError, match=message):
            CredentialsFile(tmp_path / name).load()


def test_a_file_that_is_too_large_or_no_text(path: Path) -> None:
    assert "is larger than" in refusal(path, " " * (MAX_SIZE_BYTES + 1))
    path.write_bytes(b'{"keys": ["\xff"]}')
    with pytest.raises(CredentialsFileError, match="is not UTF-8 at byte 11"):
        CredentialsFile(path).load()


# --- roles


def is_allowed(file: CredentialsFile, role: str, action: str, resource: str, account_id: str = "123456789012") -> bool:
    worker = function(account_id, ROLE + role, "worker", file.role_statements(ROLE + role, account_id))
    return authorize(worker, action, resource, resource.split(":")[4] if resource != "*" else account_id) is None


def test_a_function_may_invoke_in_its_own_account_if_nothing_is_said(path: Path) -> None:
    file = load(path, {"keys": []})
    own, other = (f"arn:aws:lambda:eu-west-1:{account}:function:f" for account in ("123456789012", "111122223333"))
    assert is_allowed(file, "any", "lambda:InvokeFunction", own)
    assert is_allowed(file, "any", "lambda:InvokeFunction", own + ":prod")
    assert is_allowed(file, "any", "lambda:InvokeAsync", own)
    assert is_allowed(file, "any", "lambda:InvokeFunction", other, account_id="111122223333")
    assert not is_allowed(file, "any", "lambda:InvokeFunction", other)
    assert not is_allowed(file, "any", "lambda:GetFunction", own)
    assert not is_allowed(file, "any", "lambda:ListFunctions", "*")


def test_the_default_is_for_the_services_account_if_no_other_is_named(path: Path) -> None:
    file = load(path, {"keys": []})
    statements = file.role_statements(ROLE + "any")
    worker = function("123456789012", ROLE + "any", "worker", statements)
    assert (
        authorize(worker, "lambda:InvokeFunction", "arn:aws:lambda:a:123456789012:function:f", "123456789012") is None
    )


def test_a_function_may_do_what_all_entries_for_its_role_say(path: Path) -> None:
    roles = [
        {"role": ROLE + "reader*", "statements": [{**ALLOW, "Action": "lambda:Get*"}]},
        {"role": ROLE + "reader-2", "statements": [{**ALLOW, "Action": "lambda:List*"}]},
    ]
    file = load(path, {"keys": [], "roles": roles})
    own = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    assert is_allowed(file, "reader-1", "lambda:GetFunction", own)
    assert not is_allowed(file, "reader-1", "lambda:ListFunctions", "*")
    assert is_allowed(file, "reader-2", "lambda:GetFunction", own)
    assert is_allowed(file, "reader-2", "lambda:ListFunctions", "*")
    assert not is_allowed(file, "reader-1", "lambda:InvokeFunction", own)
    assert not is_allowed(file, "other", "lambda:InvokeFunction", own)


# --- reading it again


def test_a_changed_file_is_read_again_a_second_later(path: Path) -> None:
    file = load(path, {"keys": [KEY]})
    reports: list[str] = []
    assert not file.refresh(100.0, reports.append)
    write_document(path, {"keys": [SESSION]})
    assert not file.refresh(100.9, reports.append)
    assert file.find("AKIAALICE") is not None
    assert file.refresh(101.0, reports.append)
    assert (file.find("AKIAALICE"), file.find("ASIABOB") is not None) == (None, True)
    assert not file.refresh(102.0, reports.append)
    assert reports == []


def test_a_clock_that_goes_back_does_not_stop_it(path: Path) -> None:
    file = load(path, {"keys": [KEY]})
    reports: list[str] = []
    assert not file.refresh(1000.0, reports.append)
    write_document(path, {"keys": []})
    assert file.refresh(10.0, reports.append)


@pytest.mark.parametrize("broken", ["{", '{"keys": [{}]}', None])
def test_a_broken_file_keeps_the_old_keys_and_says_so_once(path: Path, broken: str | None) -> None:
    file = load(path, {"keys": [KEY]})
    reports: list[str] = []
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    assert not file.refresh(100.0, reports.append)
    assert not file.refresh(101.0, reports.append)
    assert file.find("AKIAALICE") is not None
    assert len(reports) == 1
    assert reports[0].startswith(f"{path}: ")
    assert reports[0].endswith("The keys that were read before stay in force")
    write_document(path, {"keys": []})
    assert file.refresh(102.0, reports.append)
    assert file.find("AKIAALICE") is None
    assert len(reports) == 1


def test_a_mode_that_is_wrong_and_then_right_is_seen(path: Path) -> None:
    file = load(path, {"keys": []})
    reports: list[str] = []
    store(path, {"keys": [KEY]})
    path.chmod(0o644)
    assert not file.refresh(100.0, reports.append)
    assert "chmod 600" in reports[0]
    path.chmod(0o600)
    assert file.refresh(101.0, reports.append)
    assert file.find("AKIAALICE") is not None


# --- writing it


def test_what_is_written_can_be_read_and_is_the_owners_alone(path: Path) -> None:
    previous = os.umask(0)
    try:
        write_document(path, {"keys": [KEY, SESSION]})
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document, _ = read_document(path)
    assert document == {"keys": [KEY, SESSION]}
    assert os.listdir(path.parent) == [path.name]


def test_writing_replaces_the_file_and_keeps_a_link(path: Path, tmp_path: Path) -> None:
    write_document(path, {"keys": []})
    link = tmp_path / "link.json"
    link.symlink_to(path)
    before = path.stat().st_ino
    write_document(link, {"keys": [KEY]})
    assert link.is_symlink()
    assert path.stat().st_ino != before
    assert read_document(path)[0] == {"keys": [KEY]}


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    write_document(path, {"keys": [KEY]})
    with pytest.raises(CredentialsFileError, match=f"{path}: key AKIAALICE: is there twice"):
        write_document(path, {"keys": [KEY, KEY]})
    assert read_document(path)[0] == {"keys": [KEY]}
    assert os.listdir(path.parent) == [path.name]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no" / "keys.json"
    with pytest.raises(CredentialsFileError, match="cannot be written: No such file or directory"):
        write_document(path, {"keys": []})
    with pytest.raises(CredentialsFileError, match="its directory cannot be used: No such"), only_editor(path):
        pass


def test_a_second_editor_is_kept_out(path: Path) -> None:
    kept_out = pytest.raises(CredentialsFileError, match="is being changed by another command; try again")
    with only_editor(path), kept_out, only_editor(path):
        raise AssertionError
    with only_editor(path):
        pass


# --- the page


def test_the_example_of_the_page_can_be_loaded_and_says_what_the_page_says(path: Path) -> None:
    text = PAGE.read_text()
    (example,) = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    file = load(path, example)
    orders = "arn:aws:lambda:us-east-1:123456789012:function:orders"
    alice, partner = (file.find(name) for name in ("AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"))
    assert alice is not None
    assert partner is not None
    assert authorize(alice.principal, "lambda:InvokeFunction", orders, "123456789012") is None
    assert authorize(alice.principal, "lambda:DeleteFunction", orders, "123456789012") is not None
    assert partner.principal.account_id == "111122223333"
    assert is_allowed(file, "orders", "lambda:InvokeFunction", orders.replace("orders", "billing"))
    assert not is_allowed(file, "orders", "lambda:InvokeFunction", orders)


def test_the_page_names_every_operator_and_key() -> None:
    text = PAGE.read_text()
    rows = {title: re.findall(r"`([^`]+)`", row) for title, row in TABLE_ROW.findall(text)}
    assert rows["Operators"] == list(SERVED_OPERATORS)
    assert rows["Keys"] == list(SERVED_KEYS)
