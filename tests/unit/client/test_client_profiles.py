"""The files of profiles: read as botocore reads them, and refused without a word of what they hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.client.environ import Variables
from venturekit.client.errors import ClientConfigError
from venturekit.client.profiles import Profile

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2hunter2"
SETTINGS = ("region", "endpoint_url", "aws_access_key_id", "aws_secret_access_key", "ca_bundle", "a b")

names = st.sampled_from(["default", "p", "p q", "Ünï", "p-1.2_3", "profile"])
words = st.text("abcXYZ019-_./:=#; üß€[]\"'%$", min_size=1, max_size=12).map(str.strip).filter(bool)
blanks = st.sampled_from(["", " ", "  ", "\t"])
ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n# a comment = 1\n", "\n; another\n", "\n   \n"])


@st.composite
def titles(draw: st.DrawFn) -> str:
    name = draw(names)
    quoted = draw(st.sampled_from([f'"{name}"', f"'{name}'", name]))
    return draw(st.sampled_from([f"profile {quoted}", f"profile   {quoted}", f"profile\t{quoted}", name, "services x"]))


@st.composite
def settings_lines(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([*SETTINGS, "REGION", "services"]))
    sign = draw(st.sampled_from(["=", ":"]))
    value = draw(st.sampled_from(["", "x", "eu-west-1"]) | words)
    nested = draw(st.sampled_from(["", "", "\n  more", "\n  lambda = 1\n  endpoint_url = 2"]))
    return f"{name}{draw(blanks)}{sign}{draw(blanks)}{value}{nested}{draw(ends)}"


@st.composite
def files(draw: st.DrawFn) -> str:
    """What people write, and some of it wrong: sections and settings twice, settings without a section."""
    parts = [draw(st.sampled_from(["", "", "", "# first\n", "\n\n"]))]
    for _ in range(draw(st.integers(0, 4))):
        parts.append(f"[{draw(titles())}]{draw(ends)}")
        parts += draw(st.lists(settings_lines(), max_size=4))
    return "".join(parts)


def theirs(config: Path, shared: Path, profile: str) -> dict[str, object]:
    session = Session(profile=profile)
    session.set_config_variable("config_file", str(config))
    session.set_config_variable("credentials_file", str(shared))
    found: dict[str, object] = session.get_scoped_config()
    return found


def ours(config: Path, shared: Path, profile: str) -> Profile:
    known = Variables({"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(shared)})
    found = Profile(profile, known)
    found.check()
    return found


@settings(max_examples=60, deadline=None)
@given(files(), files(), names)
def test_profiles_are_read_as_botocore_reads_them(
    tmp_path_factory: pytest.TempPathFactory, config_text: str, shared_text: str, profile: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "profiles"
    folder.mkdir(exist_ok=True)
    config, shared = folder / "config", folder / "credentials"
    config.write_bytes(config_text.encode())
    shared.write_bytes(shared_text.encode())
    try:
        expected = theirs(config, shared, profile)
    except BotoCoreError as error:
        # It looks into every nested setting, this client only into those that it needs.
        if "ConfigParseError" in type(error).__name__ and "\n  more" in config_text + shared_text:
            return
        with pytest.raises(ClientConfigError):
            ours(config, shared, profile)
        return
    found = ours(config, shared, profile)
    for name in SETTINGS:
        wanted = expected.get(name)
        if isinstance(wanted, dict):
            assert (found.get(name) or "").startswith("\n")
        elif wanted or name not in expected:
            assert found.get(name) == wanted


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), names)
def test_no_file_makes_it_fail_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, profile: str
) -> None:
    config = tmp_path_factory.getbasetemp() / "any"
    config.write_bytes(b"[x]\nsecret = " + content + b"\n" + content)
    text = str(config)
    try:
        ours(config, config, profile)
    except ClientConfigError as error:
        text = str(error)
    assert str(config) in text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"aws_secret_access_key = {SECRET}", "line 1 is neither"),
        (f"[default]\naws_secret_access_key\n  {SECRET}", "line 2 is neither"),
        (f"[default]\n= {SECRET}", "line 2 is neither"),
        (f"[default]\naws_secret_access_key = {SECRET}\naws_secret_access_key = {SECRET}", "line 3 has a setting"),
        (f"[{SECRET}]\n[{SECRET}]", "line 2 begins a section"),
        (f"[default]\naws_secret_access_key = {SECRET}\ud800", "it is not UTF-8"),
    ],
)
@pytest.mark.parametrize("which", ["config", "credentials"])
def test_a_broken_file_is_named_and_not_shown(content: str, text: str, which: str, tmp_path: Path) -> None:
    config, shared = tmp_path / "config", tmp_path / "credentials"
    (tmp_path / which).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ClientConfigError, match=text) as caught:
        ours(config, shared, "default")
    assert str(tmp_path / which) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_mark_of_the_encoding_and_line_ends_of_windows(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes("\ufeff[default]\r\nregion = eu-west-1\r\n\r\n[profile ü]\r\nregion=x\r\n".encode())
    assert ours(config, tmp_path / "none", "default").get("region") == "eu-west-1"
    assert ours(config, tmp_path / "none", "ü").get("region") == "x"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ClientConfigError, match="is a folder: a file of profiles is wanted"):
        ours(tmp_path, tmp_path / "none", "default")


def test_what_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\nx = {SECRET}")

    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ClientConfigError, match=r"config cannot be read as a file of profiles: Permission denied"):
        ours(config, tmp_path / "none", "default")


@pytest.mark.parametrize("path", ["/dev/null", "/proc/self/mem/config", "~nobody-there/config"])
def test_what_is_no_file_is_not_there(path: str) -> None:
    known = Variables({"AWS_CONFIG_FILE": path, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "HOME": "/nonexistent"})
    assert Profile(None, known).get("region") is None
    with pytest.raises(ClientConfigError, match=r"there is no profile 'p' in .* or /dev/null"):
        Profile("p", known).get("region")


def test_a_profile_is_read_once(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = a\n")
    profile = ours(config, tmp_path / "none", "default")
    config.write_text("[default]\nregion = b\n")
    assert profile.get("region") == "a"
    assert repr(profile) == "Profile('default')"


def test_keys_are_never_put_together_from_two_files(tmp_path: Path) -> None:
    config, shared = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[default]\naws_access_key_id = B\naws_secret_access_key = b\naws_session_token = t\n")
    shared.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = a\n")
    profile = ours(config, shared, "default")
    assert (profile.shared_keys(), profile.config_keys()) == (("A", "a", None), ("B", "b", "t"))


def test_nested_settings_of_a_service(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nservices = a\n[services a]\nlambda =\n\tendpoint_url=http://x?a=b\n\t# no\n\tother = 1\n"
        "[profile b]\nservices = b\n[services b]\nlambda = endpoint_url\n[profile c]\nservices = c\n"
    )
    none = tmp_path / "none"
    assert ours(config, none, "default").service_endpoint("lambda") == "http://x?a=b"
    assert ours(config, none, "default").service_endpoint("s3") is None
    assert ours(config, none, "b").service_endpoint("lambda") is None
    with pytest.raises(ClientConfigError, match=r"'c' has services = c, and .* has no section \[services c\]"):
        ours(config, none, "c").service_endpoint("lambda")
