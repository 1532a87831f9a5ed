"""``vk credentials`` as a process: keys are made, listed without secrets, removed; and a service that takes them."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest

from venturekit.cli.credentials import new_secrets, summary
from venturekit.service.access.credentials_file import CredentialsFile, read_document, write_document
from venturekit.service.config import ConfigurationError, Settings, check_settings

READING = [
    *("lambda:Get*", "lambda:List*", "logs:Describe*", "logs:FilterLogEvents", "logs:GetLogEvents"),
    *("venturekit:Get*", "venturekit:List*"),
]
NOT_SHOWN_AGAIN = "vk: the secret is not shown again; it is kept in keys.json, which nobody but you can read\n"


def create(vk, *arguments):
    """The new key as the command shows it."""
    done = vk("credentials", "create", "--file", "keys.json", "--json", *arguments)
    assert done.status == 0, done.err
    return done.json


def keys_of(tmp_path):
    return read_document(tmp_path / "keys.json")[0]["keys"]


def granted(tmp_path):
    """What the only key may do: pairs of actions and resource."""
    (key,) = keys_of(tmp_path)
    assert all(statement["Effect"] == "Allow" for statement in key["statements"])
    return [(statement["Action"], statement["Resource"]) for statement in key["statements"]]


# --- create


def test_a_key_is_made_shown_once_and_kept_for_the_owner_alone(vk, tmp_path):
    done = vk("credentials", "create", "--file", "keys.json", "--user", "alice", "--full-access")
    assert (done.status, done.err) == (0, NOT_SHOWN_AGAIN)
    shown = dict(line.split("=", 1) for line in done.out.decode().splitlines())
    assert list(shown) == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    assert shown["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(shown["AWS_ACCESS_KEY_ID"]) == 20
    assert len(shown["AWS_SECRET_ACCESS_KEY"]) == 40
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    (key,) = keys_of(tmp_path)
    assert key == {
        "user": "alice",
        "accessKeyId": shown["AWS_ACCESS_KEY_ID"],
        "secretAccessKey": shown["AWS_SECRET_ACCESS_KEY"],
        "statements": [{"Effect": "Allow", "Action": ["*"], "Resource": "*"}],
    }


def test_a_session_key_has_a_token_and_an_end(vk, tmp_path):
    before = datetime.now(UTC)
    made = create(vk, "--invoke-only", "--session-hours", "3", "--account-id", "111122223333")
    assert set(made) == {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert made["Version"] == 1
    assert made["AccessKeyId"].startswith("ASIA")
    expires = datetime.fromisoformat(made["Expiration"])
    assert timedelta(hours=3, seconds=-2) < expires - before < timedelta(hours=3, minutes=2)
    file = CredentialsFile(tmp_path / "keys.json")
    file.load()
    entry = file.find(made["AccessKeyId"])
    assert entry.credentials.session_token == made["SessionToken"]
    assert entry.expires_epoch_s == expires.timestamp()
    assert entry.principal.arn == "arn:aws:iam::111122223333:user/user"


def test_a_session_key_in_words(vk):
    done = vk("credentials", "create", "--file", "keys.json", "--read-only", "--session-hours", "1")
    names = [line.split("=", 1)[0] for line in done.out.decode().splitlines()]
    assert names == [
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--full-access"], [(["*"], "*")]),
        (["--read-only"], [(READING, "*")]),
        (["--invoke-only"], [(["lambda:InvokeFunction", "lambda:InvokeAsync", "lambda:InvokeFunctionUrl"], "*")]),
        (["--allow", "lambda:GetFunction:*"], [("lambda:GetFunction", "*")]),
        (
            ["--allow", "lambda:Invoke*:arn:aws:lambda:*:*:function:f", "--allow", "lambda:ListTags:*"],
            [("lambda:Invoke*", "arn:aws:lambda:*:*:function:f"), ("lambda:ListTags", "*")],
        ),
        (
            ["--read-only", "--allow", "LAMBDA:tagresource:*"],
            [("LAMBDA:tagresource", "*"), (READING, "*")],
        ),
    ],
)
def test_what_a_key_may_do(vk, tmp_path, arguments, expected):
    create(vk, *arguments)
    assert granted(tmp_path) == expected


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "say what the key may do: --invoke-only, --read-only, --full-access, or --allow ACTION:RESOURCE"),
        (
            ["--allow", "lambda:GetFunction"],
            2,
            "--allow 'lambda:GetFunction' must be an action and a resource, such as",
        ),
        (["--allow", "*:*"], 2, "(--full-access allows everything)"),
        (["--allow", "lambda:Invoke:*"], 2, "there is no action lambda:Invoke, such as lambda:InvokeFunction"),
        (["--allow", "s3:GetObject:*"], 2, "there is no action s3:GetObject"),
        (["--allow", "lambda:GetFunction:orders"], 1, '"orders" is neither * nor an ARN such as'),
        (["--full-access", "--user", "a b"], 1, "user must be 1 to 64 letters"),
        (["--full-access", "--account-id", "12"], 1, 'accountId must be 12 digits, not "12"'),
        (["--full-access", "--session-hours", "0"], 2, "--session-hours"),
        (["--full-access", "--session-hours", "9000"], 2, "--session-hours"),
    ],
)
def test_a_key_that_is_not_made(vk, tmp_path, arguments, status, says):
    done = vk("credentials", "create", "--file", "keys.json", *arguments)
    assert (done.status, done.out) == (status, b"")
    assert says in " ".join(done.err.replace("│", " ").split())
    assert os.listdir(tmp_path) == []


def test_keys_are_added_to_a_file_and_what_it_says_of_roles_is_kept(vk, tmp_path):
    roles = [{"role": "arn:aws:iam::*:role/worker", "statements": []}]
    write_document(tmp_path / "keys.json", {"keys": [], "roles": roles})
    made = [create(vk, "--read-only", "--user", user)["AccessKeyId"] for user in ("alice", "alice", "bob")]
    assert [key["accessKeyId"] for key in keys_of(tmp_path)] == made
    assert len(set(made)) == 3
    assert read_document(tmp_path / "keys.json")[0]["roles"] == roles


def test_a_file_that_others_may_read_is_not_touched(vk, tmp_path):
    path = tmp_path / "keys.json"
    write_document(path, {"keys": []})
    path.chmod(0o644)
    before = path.read_bytes()
    for arguments in (["create", "--full-access"], ["list"], ["remove", "AKIA"]):
        done = vk("credentials", *arguments, "--file", "keys.json")
        assert (done.status, done.out) == (1, b"")
        assert "chmod 600 keys.json" in done.err
    assert path.read_bytes() == before


def test_a_directory_that_is_not_there(vk):
    done = vk("credentials", "create", "--full-access", "--file", "no/keys.json")
    assert (done.status, done.out) == (1, b"")
    assert done.err == "vk: no/keys.json: its directory cannot be used: No such file or directory\n"


def test_secrets_are_made_anew_each_time():
    now = datetime(2026, 11, 21, 12, 0, 0, 999, tzinfo=UTC)
    made = [new_secrets(1, now) for _ in range(50)]
    for name in ("accessKeyId", "secretAccessKey", "sessionToken"):
        assert len({each[name] for each in made}) == 50
    assert {each["expires"] for each in made} == {"2026-11-21T13:00:00Z"}


# --- list


def test_keys_are_listed_without_their_secrets(vk, tmp_path):
    made = [create(vk, "--read-only"), create(vk, "--invoke-only", "--session-hours", "1", "--user", "bob")]
    as_json, as_text = (vk("credentials", "list", "--file", "keys.json", *more) for more in (["--json"], []))
    assert (as_json.status, as_text.status) == (0, 0)
    for done in (as_json, as_text):
        for each in made:
            assert each["AccessKeyId"].encode() in done.out
            assert each["SecretAccessKey"].encode() not in done.out + done.err.encode()
            assert each.get("SessionToken", "no token").encode() not in done.out + done.err.encode()
    assert [set(key) for key in as_json.json] == [
        {"accessKeyId", "user", "statements"},
        {"accessKeyId", "user", "statements", "expires"},
    ]
    first, second = as_text.out.decode().splitlines()
    assert first.split("\t") == [
        made[0]["AccessKeyId"],
        "user",
        "",
        "",
        f"Allow {', '.join(READING)} on *",
    ]
    assert second.split("\t")[:4] == [made[1]["AccessKeyId"], "bob", "", made[1]["Expiration"]]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ({"Effect": "Allow", "Action": "lambda:*", "Resource": ["a", "b"]}, "Allow lambda:* on a, b"),
        ({"Effect": "Deny", "NotAction": ["x", "y"], "NotResource": "a"}, "Deny all but x, y on all but a"),
        (
            {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:username": "x"}}},
            "Deny * on * under conditions",
        ),
        ({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {}}, "Deny * on *"),
    ],
)
def test_a_statement_in_one_line(statement, text):
    assert summary(statement) == text


# --- remove


def test_a_key_is_removed(vk, tmp_path):
    made = [create(vk, "--read-only")["AccessKeyId"] for _ in range(2)]
    done = vk("credentials", "remove", made[0], "--file", "keys.json")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert [key["accessKeyId"] for key in keys_of(tmp_path)] == made[1:]
    done = vk("credentials", "remove", made[0], "--file", "keys.json")
    assert (done.status, done.err) == (1, f"vk: there is no key {made[0]} in keys.json\n")


# --- which file


@pytest.mark.parametrize("arguments", [["list"], ["remove", "AKIA"], ["create", "--full-access"]])
def test_which_file_has_to_be_said(vk, arguments):
    done = vk("credentials", *arguments)
    assert (done.status, done.err) == (2, "vk: say which file: --file FILE, or VENTUREKIT_CREDENTIALS\n")


@pytest.mark.parametrize("arguments", [["list"], ["remove", "AKIA"]])
def test_a_file_that_is_not_there(vk, arguments):
    done = vk("credentials", *arguments, "--file", "keys.json")
    assert (done.status, done.err) == (2, "vk: there is no file keys.json; vk credentials create makes it\n")


def test_the_setting_of_the_service_names_the_file_too(vk, tmp_path):
    done = vk("credentials", "create", "--full-access", env={"VENTUREKIT_CREDENTIALS": str(tmp_path / "other.json")})
    assert done.status == 0
    document = json.loads((tmp_path / "other.json").read_text())
    assert len(document["keys"]) == 1


# --- the service


def test_a_service_takes_the_keys_that_were_made(vk, serve):
    full, reader = create(vk, "--full-access"), create(vk, "--read-only")
    with serve("--credentials", "keys.json") as served:

        def call(key, *arguments):
            env = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
            return served.vk(*arguments, env=env)

        assert call(full, "functions", "--json").json == []
        assert call(reader, "functions", "--json").json == []
        for key in (full, reader):
            assert "not authorized" not in call(key, "logs", "app").err
        refused = call(reader, "functions", "delete", "app")
        assert refused.status == 1
        assert "is not authorized to perform: lambda:DeleteFunction" in refused.err
        stranger = call({"AccessKeyId": "AKIANOBODY", "SecretAccessKey": "any"}, "functions")
        assert "The security token included in the request is invalid." in stranger.err
        assert "does not know this access key, or AWS_SESSION_TOKEN does not belong to it" in stranger.err
        unsigned = served.vk("functions")
        assert (unsigned.status, unsigned.out) == (1, b"")
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that the service knows" in unsigned.err


def test_a_service_does_not_start_with_a_file_that_is_no_good(vk, tmp_path):
    (tmp_path / "keys.json").touch(mode=0o600)
    done = vk("serve", "--port", "0", "--credentials", "keys.json")
    assert done.status == 1
    assert done.err.strip().splitlines()[-1].endswith("keys.json: line 1, column 1: Expecting value")
    assert "Traceback" not in done.err


# --- the setting


def asked_for(**settings):
    """What the service is missing to serve others; nothing, if it would serve them."""
    try:
        check_settings(Settings(host="0.0.0.0", **settings))
    except ConfigurationError as error:
        return str(error)
    return ""


def test_off_loopback_takes_access_keys():
    wanted = "access keys (--credentials, or --access-key-id and --secret-access-key)"
    assert wanted in asked_for()
    assert wanted not in asked_for(credentials="keys.json")
    assert wanted not in asked_for(access_key_id="AKID", secret_access_key="secret")
    short = "a --secret-access-key of 16 characters or more"
    assert short in asked_for(access_key_id="AKID", secret_access_key="15-characters-x")
    assert short not in asked_for(access_key_id="AKID", secret_access_key="16-characters-xx")


def test_a_pair_and_a_file_go_together():
    check_settings(Settings(credentials="keys.json", access_key_id="AKID", secret_access_key="secret"))
