"""The profiles of AWS's tools: ``~/.aws/config`` and ``~/.aws/credentials``, read when first asked.

Sources: AWS SDKs and Tools Reference Guide, "Format of the configuration and credential files"; botocore's reading of
both files, as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError

if TYPE_CHECKING:
    from venturekit.client.environ import Variables

    Sections = dict[str, dict[str, str]]


class Profile:
    """The settings of one profile; of both files, those of the file of credentials count more.

    Asking raises ClientConfigError for a file that cannot be read, and for a profile that was named and is not there.
    The settings are not in the repr: some are secrets.
    """

    def __init__(self, name: str | None, known: Variables) -> None:
        named = name or environ.profile(known)
        self.name = named or "default"
        self._must_exist = named is not None
        self._files = environ.config_files(known)
        self._is_read = False
        self._config: Sections = {}
        self._shared: Sections = {}

    def get(self, setting: str) -> str | None:
        """A setting, None if the profile does not have it."""
        self._read()
        return self._shared_section().get(setting) or self._config_section().get(setting) or None

    def switch(self, setting: str) -> bool:
        """Whether a setting is ``true``."""
        return (self.get(setting) or "").lower() == "true"

    def shared_keys(self) -> tuple[str, str | None, str | None] | None:
        """Access key, secret key and session token of the file of credentials, as far as they are there."""
        self._read()
        return _keys_of(self._shared_section())

    def config_keys(self) -> tuple[str, str | None, str | None] | None:
        """The same of the file of configurations. Keys of one file are never used with those of the other."""
        self._read()
        return _keys_of(self._config_section())

    def service_endpoint(self, service: str) -> str | None:
        """The endpoint that the profile's section ``[services ...]`` names for a service."""
        named = self.get("services")
        if named is None:
            return None
        section = self._sections_named("services", named)
        if section is None:
            raise ClientConfigError(
                f"the profile {self.name!r} has services = {named[:80]}, and {self._files[0]} has no section "
                f"[services {named[:80]}]"
            )
        for line in section.get(service, "").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "endpoint_url":
                return value.strip() or None
        return None

    def check(self) -> None:
        """Read the files. Raises ClientConfigError."""
        self._read()

    def _read(self) -> None:
        if self._is_read:
            return
        self._config, self._shared = _sections_of(self._files[0]), _sections_of(self._files[1])
        if self._must_exist and not self._exists():
            raise ClientConfigError(f"there is no profile {self.name!r} in {' or '.join(self._files)}")
        self._is_read = True

    def _exists(self) -> bool:
        return self.name in self._shared or self._of_config() is not None

    def _shared_section(self) -> dict[str, str]:
        return self._shared.get(self.name, {})

    def _config_section(self) -> dict[str, str]:
        return self._of_config() or {}

    def _of_config(self) -> dict[str, str] | None:
        return self._sections_named("profile", self.name)

    def _sections_named(self, kind: str, name: str) -> dict[str, str] | None:
        """The last section of a kind and name: ``[profile x]``, ``[profile "x y"]``, and ``[default]`` besides."""
        found = None
        for title, section in self._config.items():
            is_default = kind == "profile" and title == name == "default"
            if is_default or (title.startswith(kind) and _name_in(title) == name):
                found = section
        return found

    def __repr__(self) -> str:
        return f"Profile({self.name!r})"


def _name_in(title: str) -> str | None:
    """The name in the title of a section; None if it has none."""
    from shlex import split

    try:
        words = split(title)
    except ValueError:
        return None
    return words[1] if len(words) == 2 else None


def _keys_of(section: dict[str, str]) -> tuple[str, str | None, str | None] | None:
    key_id = section.get("aws_access_key_id")
    if not key_id:
        return None
    token = section.get("aws_security_token") or section.get("aws_session_token")
    return key_id, section.get("aws_secret_access_key") or None, token or None


def _sections_of(path: str) -> Sections:
    """The sections of a file, none if there is no such file. Raises ClientConfigError."""
    import os

    if os.path.isdir(path):
        raise ClientConfigError(f"{path} is a folder: a file of profiles is wanted")
    if not os.path.isfile(path):
        return {}
    found, trouble = _parsed(path)
    if trouble is not None:
        raise ClientConfigError(f"{path} cannot be read as a file of profiles: {trouble}")
    return found


def _parsed(path: str) -> tuple[Sections, str | None]:
    """The sections of a file, and what is wrong with it. Not a word of its text: it may be a secret."""
    from configparser import DuplicateOptionError, DuplicateSectionError, Error, ParsingError, RawConfigParser

    parser = RawConfigParser()
    try:
        # Editors of Windows begin files with a mark of the encoding.
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file)
    except DuplicateSectionError as error:
        return {}, f"line {error.lineno} begins a section a second time"
    except DuplicateOptionError as error:
        return {}, f"line {error.lineno} has a setting a second time"
    except ParsingError as error:
        # A line before the first section is an error of its own, with a number of its own.
        lineno = getattr(error, "lineno", None) or (error.errors[0][0] if error.errors else 0)
        return {}, f"line {lineno} is neither [section] nor name = value"
    except UnicodeDecodeError:
        return {}, "it is not UTF-8"
    except Error as error:
        return {}, type(error).__name__
    except OSError as error:
        return {}, error.strerror or type(error).__name__
    return {name: dict(parser[name]) for name in parser.sections()}, None
