"""The credentials file: keys and what they may do, read at start and whenever the file changes, written atomically."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.access.credentials_document import DEFAULT_ACCOUNT_ID, Entries, parse_document, parse_json
from venturekit.service.access.faults import CredentialsFileError
from venturekit.service.access.statements import parse_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.service.access.credentials_document import KeyEntry
    from venturekit.service.access.statements import Statement

MAX_SIZE_BYTES: Final = 4 * 1024 * 1024
CHECK_INTERVAL_S: Final = 1.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

Mark = tuple[int, int, int, int]
"""What tells one state of a file from another: when its content and its mode changed, its size, its inode."""


class CredentialsFile:
    """The keys of a file. ``account_id`` is the service's own: that of keys which name none."""

    __slots__ = ("_account_id", "_checked_at", "_entries", "_mark", "_path")

    def __init__(self, path: Path, *, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self._path = path
        self._account_id = account_id
        self._entries = Entries({}, ())
        self._mark: Mark | None = None
        self._checked_at: float | None = None

    def load(self) -> None:
        """Read the file.

        Raises CredentialsFileError for a file that is not there, that others may read, or that says something wrong;
        what was loaded before is then kept.
        """
        document, mark = read_document(self._path)
        try:
            self._entries = parse_document(document, account_id=self._account_id)
        except CredentialsFileError as error:
            raise _at(self._path, str(error)) from None
        self._mark = mark

    def refresh(self, now: float, report: Callable[[str], None]) -> bool:
        """Read the file again if it has changed, and tell whether other keys are in force now.

        ``now`` is any clock in seconds; the file is looked at once a second of it at most. If the new file is no good,
        the keys stay as they were, and ``report`` is told why, once per change.
        """
        if self._checked_at is not None and 0 <= now - self._checked_at < CHECK_INTERVAL_S:
            return False
        self._checked_at = now
        try:
            mark = _mark_of(os.stat(self._path))
        except OSError:
            mark = None
        if mark == self._mark:
            return False
        try:
            self.load()
        except CredentialsFileError as error:
            self._mark = mark
            report(f"{error}. The keys that were read before stay in force")
            return False
        return True

    def find(self, access_key_id: str) -> KeyEntry | None:
        """The entry of an access key, or None. An expired one is found too: its expiry is judged by the verifier."""
        return self._entries.keys.get(access_key_id)

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        """What a signature with this access key is verified against, or None."""
        entry = self.find(access_key_id)
        return None if entry is None else entry.credentials

    def role_statements(self, role_arn: str, account_id: str | None = None) -> tuple[Statement, ...]:
        """What a function with this execution role may do. ``account_id`` is the function's, if not the service's own.

        A file without ``roles`` lets functions invoke the functions of their own account.
        """
        statements = self._entries.statements_of_role(role_arn)
        return default_role_statements(account_id or self._account_id) if statements is None else statements


def default_role_statements(account_id: str) -> tuple[Statement, ...]:
    """``function_default_statements``, parsed."""
    default = function_default_statements(account_id)
    return parse_statements(default, place="the default of functions", principal_allowed=False)


def function_default_statements(account_id: str) -> list[dict[str, Any]]:
    """What functions may do if nothing is said about them: invoke the functions of their own account, and write to the
    clients of its WebSocket APIs.
    """
    return [
        {
            "Effect": "Allow",
            "Action": ["lambda:InvokeFunction", "lambda:InvokeAsync"],
            "Resource": f"arn:*:lambda:*:{account_id}:function:*",
        },
        {
            "Effect": "Allow",
            "Action": "execute-api:ManageConnections",
            "Resource": f"arn:*:execute-api:*:{account_id}:*",
        },
    ]


def read_document(path: Path) -> tuple[dict[str, Any], Mark]:
    """The JSON document of a credentials file, unchecked, and the mark of the state that was read.

    Raises CredentialsFileError.
    """
    descriptor, found = _open_private(path)
    with open(descriptor, "rb") as file:
        data = file.read(MAX_SIZE_BYTES + 1)
    if len(data) > MAX_SIZE_BYTES:
        raise _at(path, f"is larger than {MAX_SIZE_BYTES} bytes")
    try:
        return parse_json(data.decode("utf-8")), _mark_of(found)
    except UnicodeDecodeError as error:
        raise _at(path, f"is not UTF-8 at byte {error.start}") from None
    except CredentialsFileError as error:
        raise _at(path, str(error)) from None


def _open_private(path: Path) -> tuple[int, os.stat_result]:
    try:
        # A pipe under this name must not hold up whoever reads it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _at(path, error.strerror or str(error)) from None
    found = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(found.st_mode):
        problem = "is not a regular file"
    elif found.st_mode & _OTHERS:
        problem = f"may be used by others than its owner. Secrets are in it: chmod 600 {path}"
    if problem is not None:
        os.close(descriptor)
        raise _at(path, problem)
    return descriptor, found


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace the file at once, or create it, readable by its owner only.

    Raises CredentialsFileError for a document that could not be loaded again, and for a file that cannot be written.
    """
    try:
        parse_document(document)
    except CredentialsFileError as error:
        raise _at(path, str(error)) from None
    # Through a link, so that the link stays one.
    target = Path(os.path.realpath(path))
    data = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        _sync_directory(target.parent)
    except OSError as error:
        raise _at(path, f"cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def only_editor(path: Path) -> Iterator[None]:
    """Keep other editors of this file out, from before it is read until it is written.

    Raises CredentialsFileError when there is another one now.
    """
    folder = Path(os.path.realpath(path)).parent
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _at(path, f"its directory cannot be used: {error.strerror or error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise _at(path, "is being changed by another command; try again") from None
    finally:
        os.close(descriptor)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mark_of(found: os.stat_result) -> Mark:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _at(path: Path, problem: str) -> CredentialsFileError:
    return CredentialsFileError(f"{path}: {problem}")
