"""What gives the access keys that requests are signed with, request for request.

Every one of them takes care that what it gives can be sent: a line break in a key would end a header. Keys are never
among the variables of a frame that raises, for there are tracebacks that show them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.client.errors import CredentialsError
from venturekit.protocol.sigv4_signer import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

_ASKED_EVERY_SECONDS: Final = 1.0
"""botocore renews credentials minutes before they expire: asking it at every request finds nothing more."""


class FixedCredentials:
    """Always the same. Raises CredentialsError for what cannot be sent."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = None if credentials is None else checked(credentials)

    def __call__(self) -> Credentials | None:
        """They."""
        return self._credentials


class ReadCredentials:
    """Those of the environment or of a file: read again when they have expired, or the service says they have."""

    def __init__(self, first: Credentials, read: Callable[[], Credentials | None], where: str) -> None:
        self._read = read
        self._where = where
        self._is_stale = False
        self._kept = checked(first)

    def __call__(self) -> Credentials:
        """They, as they were last read. Raises ClientConfigError when they are gone."""
        expires = self._kept.expires_epoch_s
        if self._is_stale or (expires is not None and time.time() >= expires):
            found = self._read()
            if found is None:
                raise CredentialsError(f"{self._where} holds no access key any more")
            self._kept = checked(found)
            self._is_stale = False
        return self._kept

    def renew(self) -> None:
        """Let the next request read them again."""
        self._is_stale = True


class BotocoreCredentials:
    """Those that botocore finds, which renews them itself before they expire. ``find`` may take its time."""

    def __init__(self, find: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        from threading import Lock

        self._find = find
        self._clock = clock
        self._finding = Lock()
        self._source: Any = None
        self._kept: Credentials | None = None
        self._kept_until = -1.0

    @property
    def blocks(self) -> bool:
        """Whether asking may wait for the network, or another program."""
        if self._clock() < self._kept_until:
            return False
        source = self._source
        if source is None:
            return True
        is_due = getattr(source, "refresh_needed", None)
        return is_due is not None and bool(is_due())

    def __call__(self) -> Credentials:
        """As they are now. Raises CredentialsError."""
        kept = self._kept
        if kept is None or self._clock() >= self._kept_until:
            kept = self._kept = self._asked(kept)
            self._kept_until = self._clock() + _ASKED_EVERY_SECONDS
        return kept

    def renew(self) -> None:
        """Let the next request look for them anew."""
        self._source = self._kept = None
        self._kept_until = -1.0

    def _asked(self, kept: Credentials | None) -> Credentials:
        trouble = ""
        found = None
        try:
            found = _frozen(self._found())
        except CredentialsError:
            raise
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        if found is None:
            # Raised here, where botocore's error with all that it has seen is forgotten.
            raise CredentialsError(f"botocore gives no credentials: {trouble}")
        # The same object for the same keys: what was computed from them is kept by it.
        return kept if kept == found and kept is not None else checked(found)

    def _found(self) -> Any:
        source = self._source
        if source is None:
            with self._finding:
                source = self._source
                if source is None:
                    source = self._source = self._find()
        return source


class GivenCredentials:
    """Those of a function that the program gives; it may be a coroutine function where an event loop asks."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._kept: Credentials | None = None

    @property
    def renew(self) -> Callable[[], object] | None:
        """What the function has to renew its credentials, if it has it."""
        found: Callable[[], object] | None = getattr(self._function, "renew", None)
        return found

    def __call__(self) -> Credentials | None:
        """What the function gives now. Raises CredentialsError."""
        try:
            found, trouble = self._accepted(self._function())
        except CredentialsError:
            raise
        except Exception as error:
            raise _failure(error) from error
        if trouble is not None:
            raise CredentialsError(trouble)
        return found

    async def asked(self) -> Credentials | None:
        """The same on an event loop; a function with a true attribute ``blocks`` is called in a thread.

        Raises CredentialsError.
        """
        try:
            found, trouble = self._accepted(await self._answer())
        except CredentialsError:
            raise
        except Exception as error:
            raise _failure(error) from error
        if trouble is not None:
            raise CredentialsError(trouble)
        return found

    async def _answer(self) -> Any:
        if getattr(self._function, "blocks", False):
            from asyncio import to_thread

            answer = await to_thread(self._function)
        else:
            answer = self._function()
        return await answer if hasattr(answer, "__await__") else answer

    def _accepted(self, answer: Any) -> tuple[Credentials | None, str | None]:
        """The answer, or what is wrong with it: whoever raises must not have it among his variables."""
        if answer is None or answer is self._kept:
            return answer, None
        if hasattr(answer, "__await__"):
            if hasattr(answer, "close"):
                answer.close()
            return None, "the function of the credentials is a coroutine function: AsyncLambdaClient waits for such"
        if not isinstance(answer, Credentials):
            kind = type(answer).__name__
            return None, f"the function of the credentials gives {kind}: Credentials(...) or None is wanted"
        trouble = _fault_of(answer)
        if trouble is None:
            self._kept = answer
        return answer, trouble


def checked(credentials: Credentials) -> Credentials:
    """The credentials themselves. Raises CredentialsError for what cannot be sent, and does not show it."""
    fault = _fault_of(credentials)
    if fault is not None:
        raise CredentialsError(fault)
    return credentials


def _fault_of(credentials: Credentials) -> str | None:
    """What is wrong with credentials, without showing it."""
    key_id, secret, token = credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    expires = credentials.expires_epoch_s
    if expires is not None and (isinstance(expires, bool) or not isinstance(expires, int | float)):
        return f"expires_epoch_s of the credentials is of type {type(expires).__name__}: it is seconds since 1970"
    for name, value, is_sent in (
        ("access key", key_id, True),
        ("secret access key", secret, False),
        ("session token", token, True),
    ):
        if name == "session token" and not value:
            continue
        if not isinstance(value, str):
            return f"the {name} is of type {type(value).__name__}: it is a text"
        if not value:
            return f"the {name} is empty"
        if not value.isprintable() or value != value.strip() or (is_sent and (not value.isascii() or " " in value)):
            return f"the {name} holds a line break, a blank or another character that no {name} has"
    return None


def _frozen(source: Any) -> Credentials:
    frozen = source.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def _failure(error: Exception) -> CredentialsError:
    return CredentialsError(f"the function of the credentials failed: {type(error).__name__}: {error}")
