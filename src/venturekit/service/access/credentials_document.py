"""What a credentials file says: its JSON document, read and checked. Secrets are in no error and no repr."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from venturekit.protocol.sigv4_signer import Credentials
from venturekit.service.access.faults import CredentialsFileError, StatementError, shown
from venturekit.service.access.patterns import PatternSet
from venturekit.service.access.principals import Principal, is_account_id, user
from venturekit.service.access.statements import Statement, parse_statements

DEFAULT_ACCOUNT_ID: Final = "000000000000"
MIN_SECRET_LENGTH: Final = 16
_ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,128}", re.ASCII)
_SECRET: Final = re.compile(r"[!-~]+")
_USER: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)
_DOCUMENT_MEMBERS: Final = ("keys", "roles")
_KEY_MEMBERS: Final = (
    *("accessKeyId", "secretAccessKey", "user", "accountId", "sessionToken", "expires", "statements"),
)
_ROLE_MEMBERS: Final = ("role", "statements")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key: its credentials, whom it makes of its holder, and the epoch seconds at which it expires, if it does."""

    credentials: Credentials
    principal: Principal
    expires_epoch_s: float | None


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """What functions with certain roles may do: their ARNs, or patterns of them, and the statements."""

    roles: PatternSet
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A whole file. ``roles`` is None when it says nothing about functions."""

    keys: dict[str, KeyEntry]
    roles: tuple[RoleEntry, ...] | None

    def statements_of_role(self, role_arn: str) -> tuple[Statement, ...] | None:
        """The statements of all entries that the ARN of a role matches; None when there are no entries to match."""
        if self.roles is None:
            return None
        return tuple(
            statement for entry in self.roles if entry.roles.matches(role_arn) for statement in entry.statements
        )


def parse_json(text: str) -> dict[str, Any]:
    """The document of a file.

    Raises CredentialsFileError with line and column for what is no JSON, and for an object that has a member twice.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise CredentialsFileError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise CredentialsFileError("is nested too deeply") from None
    except CredentialsFileError:
        raise
    except ValueError:
        raise CredentialsFileError("holds a number of too many digits") from None
    if not isinstance(document, dict):
        raise CredentialsFileError('must be an object with the member "keys"')
    return document


def parse_document(document: dict[str, Any], *, account_id: str = DEFAULT_ACCOUNT_ID) -> Entries:
    """The entries of a document. ``account_id`` is the account of keys that name none.

    Raises CredentialsFileError naming the entry.
    """
    _check_members(document, _DOCUMENT_MEMBERS, "the file")
    keys: dict[str, KeyEntry] = {}
    for number, key in enumerate(_list(document, "keys", "the file"), 1):
        entry = _parse_key(key, f"key {number}", account_id)
        access_key_id = entry.credentials.access_key_id
        if access_key_id in keys:
            raise CredentialsFileError(f"key {access_key_id}: is there twice; remove one")
        keys[access_key_id] = entry
    if "roles" not in document:
        return Entries(keys, None)
    roles = _list(document, "roles", "the file")
    return Entries(keys, tuple(_parse_role(role, f"role {number}") for number, role in enumerate(roles, 1)))


def _parse_key(key: object, place: str, account_id: str) -> KeyEntry:
    if not isinstance(key, dict):
        raise CredentialsFileError(f"{place}: must be an object")
    access_key_id = _text(key, "accessKeyId", place)
    if _ACCESS_KEY_ID.fullmatch(access_key_id) is None:
        # Its value may be a secret in the wrong place.
        raise CredentialsFileError(f"{place}: accessKeyId must be 4 to 128 letters, digits, _ or -")
    place = f"key {access_key_id}"
    _check_members(key, _KEY_MEMBERS, place)
    name = _text(key, "user", place)
    if _USER.fullmatch(name) is None:
        raise CredentialsFileError(f"{place}: user must be 1 to 64 letters, digits or +=,.@_-, not {shown(name)}")
    secret = _secret(key, "secretAccessKey", place)
    token = _secret(key, "sessionToken", place) if "sessionToken" in key else None
    expires_epoch_s = _expiry(key, place) if "expires" in key else None
    statements = _statements(key, place)
    return KeyEntry(
        Credentials(access_key_id, secret, token, expires_epoch_s),
        user(_account_of_key(key, access_key_id, place, account_id), name, statements),
        expires_epoch_s,
    )


def _secret(key: dict[str, Any], name: str, place: str) -> str:
    value = _text(key, name, place)
    if len(value) < MIN_SECRET_LENGTH or _SECRET.fullmatch(value) is None:
        raise CredentialsFileError(
            f"{place}: {name} must have at least {MIN_SECRET_LENGTH} characters, all of them ASCII and none a blank"
        )
    return value


def _account_of_key(key: dict[str, Any], access_key_id: str, place: str, account_id: str) -> str:
    selected = access_key_id if is_account_id(access_key_id) else None
    if "accountId" not in key:
        return selected or account_id
    given = _text(key, "accountId", place)
    if not is_account_id(given):
        raise CredentialsFileError(f"{place}: accountId must be 12 digits, not {shown(given)}")
    if selected not in (None, given):
        raise CredentialsFileError(f"{place}: an accessKeyId of 12 digits is an account id, and accountId is another")
    return given


def _parse_role(role: object, place: str) -> RoleEntry:
    if not isinstance(role, dict):
        raise CredentialsFileError(f"{place}: must be an object")
    arn = _text(role, "role", place)
    if arn != "*" and not arn.startswith("arn:"):
        raise CredentialsFileError(f"{place}: role must be the ARN of a role, or a pattern of one, not {shown(arn)}")
    place = f"role {arn}"
    _check_members(role, _ROLE_MEMBERS, place)
    return RoleEntry(PatternSet((arn,)), _statements(role, place))


def _statements(entry: dict[str, Any], place: str) -> tuple[Statement, ...]:
    try:
        return parse_statements(_list(entry, "statements", place), place=place, principal_allowed=False)
    except StatementError as error:
        raise CredentialsFileError(str(error)) from None


def _expiry(key: dict[str, Any], place: str) -> float:
    text = _text(key, "expires", place)
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        expires = None
    if expires is None or expires.tzinfo is None:
        raise CredentialsFileError(
            f"{place}: expires must be a time with its zone, such as 2030-01-31T12:00:00Z, not {shown(text)}"
        )
    return expires.timestamp()


def _check_members(entry: dict[str, Any], members: tuple[str, ...], place: str) -> None:
    for name in entry:
        if name not in members:
            raise CredentialsFileError(f"{place}: unknown member {shown(name)}; there are {', '.join(members)}")


def _text(entry: dict[str, Any], name: str, place: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise CredentialsFileError(f"{place}: {name} must be a text")
    return value


def _list(entry: dict[str, Any], name: str, place: str) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list):
        raise CredentialsFileError(f"{place}: {name} must be a list")
    return value


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise CredentialsFileError(f"the member {shown(repeated)} is there twice in one object; remove one")
    return members


def _refuse_constant(name: str) -> None:
    raise CredentialsFileError(f"{name} is not JSON")
