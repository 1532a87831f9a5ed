"""The key pairs that functions get: minted per version of a function, accepted by this service alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.protocol.sigv4_signer import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

# Access keys tell at a glance whether they are of the service's own account, which nearly all are.
OWN_PREFIX: Final = "ASIAV"
OTHER_PREFIX: Final = "ASIAX"
VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def credentials_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables with AWS credentials among those of a process."""
    return {name: environ[name] for name in VARIABLES if name in environ}


@dataclass(frozen=True, slots=True)
class Minted:
    """The credentials of one version of a function, ``$LATEST`` or a number: it acts with the role of that version."""

    credentials: Credentials
    function_arn: str
    version: str

    @property
    def account_id(self) -> str:
        """The account of the function."""
        return self.function_arn.split(":")[4]

    @property
    def function_name(self) -> str:
        """The name of the function."""
        return self.function_arn.rpartition(":")[2]


class FunctionCredentials:
    """Mints key pairs from random bytes, which ``entropy(size)`` gives, and knows those of versions that exist.

    ``account_id`` is the service's own account.
    """

    __slots__ = ("_account_id", "_by_function", "_by_key", "_entropy")

    def __init__(self, entropy: Callable[[int], bytes], account_id: str) -> None:
        self._entropy = entropy
        self._account_id = account_id
        self._by_key: dict[str, Minted] = {}
        self._by_function: dict[str, dict[str, Minted]] = {}

    def mint(self, function_arn: str, version: str) -> Credentials:
        """The credentials of a version; the same ones as long as it exists."""
        versions = self._by_function.setdefault(function_arn, {})
        minted = versions.get(version)
        if minted is None:
            prefix = OWN_PREFIX if function_arn.split(":")[4] == self._account_id else OTHER_PREFIX
            minted = versions[version] = Minted(self._new(prefix), function_arn, version)
            self._by_key[minted.credentials.access_key_id] = minted
        return minted.credentials

    def variables(self, function_arn: str, version: str) -> dict[str, str]:
        """The environment variables by which AWS's SDKs find the credentials of a version."""
        minted = self.mint(function_arn, version)
        values = (minted.access_key_id, minted.secret_access_key, minted.session_token or "")
        return dict(zip(VARIABLES, values, strict=True))

    def pair(self) -> Credentials:
        """A key pair for a process of the service's own, which is no function's; without a session token."""
        made = self._new(OTHER_PREFIX)
        return Credentials(made.access_key_id, made.secret_access_key)

    def keep_only(self, function_arn: str, versions: Collection[str]) -> None:
        """The other versions of the function are gone: their credentials are accepted no more."""
        known = self._by_function.get(function_arn, {})
        for version in [version for version in known if version not in versions]:
            del self._by_key[known.pop(version).credentials.access_key_id]
        if not known:
            self._by_function.pop(function_arn, None)

    def find(self, access_key_id: str) -> Minted | None:
        """What was minted under an access key, or None."""
        return self._by_key.get(access_key_id)

    def _new(self, prefix: str) -> Credentials:
        digits = self._entropy(70)
        return Credentials(
            access_key_id=prefix + base64.b32encode(digits[:10]).decode()[:15],
            secret_access_key=base64.b64encode(digits[10:40]).decode(),
            session_token=base64.b64encode(digits[40:]).decode(),
        )
