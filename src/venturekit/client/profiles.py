"""The profiles of AWS's tools: ``~/.aws/config`` and ``~/.aws/credentials``, read when first asked.

Source: AWS SDKs and Tools Reference Guide, "Format of the configuration and credential files".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Profile:
    """The settings of one profile; of both files, those of the file of credentials count more.

    Asking raises ClientConfigError for a file that cannot be read, and for a profile that was named and is not there.
    """

    def __init__(self, name: str | None, known: Mapping[str, str]) -> None:
        named = name or environ.profile(known)
        self.name = named or "default"
        self._must_exist = named is not None
        self._files = environ.config_files(known)
        self._settings: Mapping[str, str] | None = None
        self._sections: Mapping[str, Mapping[str, str]] = {}

    def get(self, setting: str) -> str | None:
        """A setting, None if the profile does not have it."""
        return self.settings().get(setting) or None

    def service_endpoint(self, service: str) -> str | None:
        """The endpoint that the profile's section ``[services ...]`` names for a service."""
        named = self.get("services")
        if named is None:
            return None
        text = self._sections.get(f"services {named}", {}).get(service, "")
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "endpoint_url":
                return value.strip() or None
        return None

    def settings(self) -> Mapping[str, str]:
        """All settings of the profile."""
        if self._settings is None:
            self._settings = self._read()
        return self._settings

    def _read(self) -> Mapping[str, str]:
        config, credentials = (_sections_of(path) for path in self._files)
        self._sections = config
        section = config.get(f"profile {self.name}")
        if section is None and self.name == "default":
            section = config.get("default")
        own = credentials.get(self.name)
        if section is None and own is None:
            if self._must_exist:
                raise ClientConfigError(f"there is no profile {self.name!r} in {' or '.join(self._files)}")
            return {}
        return {**(section or {}), **(own or {})}


def _sections_of(path: str) -> dict[str, dict[str, str]]:
    from configparser import Error, RawConfigParser

    parser = RawConfigParser(interpolation=None, default_section="\0", strict=False)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, Error) as error:
        # The text of a parser's error shows lines of the file, which may be secrets.
        raise ClientConfigError(f"{path} cannot be read as a file of profiles: {type(error).__name__}") from None
    return {" ".join(name.split()).replace('"', ""): dict(parser[name]) for name in parser.sections()}
