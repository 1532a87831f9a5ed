"""What kept logs are called and look like, and which of them have to go. Pure.

``<account>/<log group>/<function>.<day>.log`` is the file that is written; one that has become too large has a number
before its ``.log``, the larger the later. A line is one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from venturekit.service.environments.platform_events import timestamp_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from venturekit.service.environments.log_records import KeptRecord

NAME_LIMIT: Final = 150
"""Of a name in characters: file systems take 255 bytes, and a file's name has its day and number as well."""
SECONDS_PER_DAY: Final = 86_400
ACCOUNT_FOLDER: Final = re.compile(r"[0-9]{12}")
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
GROUP_FOLDER: Final = re.compile(r"[A-Za-z0-9_.#+%-]+")
FILE: Final = re.compile(r"([A-Za-z0-9_+%-]+)\.([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.([1-9][0-9]{0,8}))?\.log")


@dataclass(frozen=True, slots=True)
class LogName:
    """Whose log it is: the function's account and name, and the log group that it writes to."""

    account_id: str
    log_group: str
    function_name: str

    @property
    def folder(self) -> str:
        """The folder of the log group, below the log directory."""
        return f"{self.account_id}/{safe_name(self.log_group, '.#')}"

    def file(self, day: int) -> str:
        """The name of the file that is written on a day (days since 1970)."""
        return f"{safe_name(self.function_name)}.{day_text(day)}.log"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the log directory: ``number`` is None for the one that is written, ``modified`` in epoch seconds."""

    folder: str
    function: str
    day: str
    number: int | None
    size_bytes: int
    modified: float

    @property
    def path(self) -> str:
        """Its place below the log directory."""
        return f"{self.folder}/{self.name(self.number)}"

    @property
    def age_order(self) -> tuple[str, float, float]:
        """Sorts files from the oldest to the newest."""
        return self.day, self.modified, float("inf") if self.number is None else self.number

    def name(self, number: int | None) -> str:
        """The file's name, if it had this number."""
        return f"{self.function}.{self.day}{'' if number is None else f'.{number}'}.log"


def safe_name(name: str, allowed: str = "") -> str:
    """A name for a folder or file: the same for the same name, never for another one, and harmless in a path.

    A slash becomes ``+``. Letters, digits, ``_``, ``-`` and what is ``allowed`` stay, a dot in front does not.
    """
    pieces = []
    for character in name:
        if character == "/":
            pieces.append("+")
        elif (character.isascii() and character.isalnum()) or character in "_-" + allowed:
            pieces.append(character)
        else:
            pieces.append("".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")))
    safe = "".join(pieces)
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if len(safe) > NAME_LIMIT:
        # Two percent signs in a row do not come out of the above.
        safe = f"{safe[: NAME_LIMIT - 40]}%%{hashlib.sha256(safe.encode()).hexdigest()[:38]}"
    return safe or "%"


def original_name(safe: str) -> str | None:
    """The name that :func:`safe_name` has made this of, or None: it was too long to tell."""
    if "%%" in safe:
        return None
    try:
        return unquote(safe.replace("+", "/"), errors="strict")
    except UnicodeDecodeError:
        return None


def parse_file_name(folder: str, name: str, size_bytes: int, modified: float) -> KeptFile | None:
    """The file of this name, or None: it is none of ours, and is left alone."""
    found = FILE.fullmatch(name)
    if found is None:
        return None
    function, day, number = found.groups()
    return KeptFile(folder, function, day, int(number) if number else None, size_bytes, modified)


def day_of(timestamp: float) -> int:
    """The day (UTC, since 1970) of a time in epoch seconds."""
    return int(timestamp // SECONDS_PER_DAY)


def day_text(day: int) -> str:
    """A day as it stands in the name of a file."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def log_line(timestamp: float, stream: str, message: bytes) -> bytes:
    """A record as a line of a file. A line end at the end of the message is left out."""
    text = message.decode("utf-8", "replace").removesuffix("\n")
    line = f'{{"time": "{timestamp_text(timestamp)}", "stream": {_quoted(stream)}, "message": {_quoted(text)}}}\n'
    return line.encode()


def parse_line(line: bytes) -> KeptRecord | None:
    """The record of a line, or None for one that is not whole: the service was killed while it wrote it."""
    try:
        whole = json.loads(line)
        timestamp = datetime.fromisoformat(whole["time"]).astimezone(UTC).timestamp()
        stream, message = whole["stream"], whole["message"]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    if not isinstance(stream, str) or not isinstance(message, str):
        return None
    return timestamp, stream, message.encode("utf-8", "replace") + b"\n"


def outdated(files: Iterable[KeptFile], *, today: int, days: int, limit_bytes: int) -> Sequence[KeptFile]:
    """The files to remove: those from more than ``days`` days ago, and the oldest beyond ``limit_bytes`` in all.

    Some room is made at once, so that not every write has to look again.
    """
    ordered = sorted(files, key=lambda file: file.age_order)
    oldest_day = day_text(max(0, today - days))
    removed = [file for file in ordered if file.day < oldest_day]
    kept = ordered[len(removed) :]
    total = sum(file.size_bytes for file in kept)
    if total <= limit_bytes:
        return removed
    wanted = limit_bytes - limit_bytes // 10
    for file in kept:
        if total <= wanted:
            break
        removed.append(file)
        total -= file.size_bytes
    return removed
