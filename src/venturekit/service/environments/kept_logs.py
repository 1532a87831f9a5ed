"""The log directory (``--log-dir``) as the service sees it: what takes records, and what earlier services wrote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.log_disk import LogDisk
from venturekit.service.environments.log_names import LogName, original_name
from venturekit.service.environments.log_writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from venturekit.service.environments.log_records import KeptRecord
    from venturekit.service.environments.log_writer import Keep

MEBIBYTE: Final = 1024 * 1024


@dataclass(slots=True)
class KeptGroup:
    """The files of a log group: of which functions, since which day (ISO 8601, UTC), and how much."""

    functions: set[str] = field(default_factory=set)
    size_bytes: int = 0
    first_day: str = ""


class KeptLogs:
    """Keeps logs in ``directory``: at most ``limit_mb`` MB of them, for ``days`` days.

    ``wall`` tells the time in epoch seconds; ``warn`` takes a message for the service's own log, from any thread.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit_mb: int,
        days: int,
        wall: Callable[[], float],
        warn: Callable[..., None],
    ) -> None:
        """Blocks. Raises LogDirectoryError."""
        self._disk = LogDisk(directory, limit_bytes=limit_mb * MEBIBYTE, days=days, now=wall())
        self._writer = LogWriter(self._disk, wall=wall, warn=warn)
        self._writer.start()

    def keep(self, function_arn: str, log_group: str) -> Keep:
        """What takes the records that a function writes to a log group."""
        account_id, function_name = _owner(function_arn)
        return self._writer.keep(LogName(account_id, log_group, function_name))

    async def history(
        self, function_arn: str, *, records: int, size_bytes: int
    ) -> tuple[Sequence[KeptRecord], dict[str, str]]:
        """The latest that earlier services have kept of a function's log, oldest first, within both limits.

        Also the log groups of its streams, as far as their names can be told and are not the function's own.
        """
        account_id, function_name = _owner(function_arn)
        folders: dict[str, str] = {}
        found = await asyncio.to_thread(
            self._disk.history, account_id, function_name, records=records, size_bytes=size_bytes, folders=folders
        )
        groups = {stream: original_name(folder.partition("/")[2]) for stream, folder in folders.items()}
        own = f"/aws/lambda/{function_name}"
        return found, {stream: group for stream, group in groups.items() if group is not None and group != own}

    async def groups(self, account_id: str) -> dict[str, KeptGroup]:
        """The log groups of an account that have files, by their names, as far as these can be told."""
        return await asyncio.to_thread(self._groups, account_id)

    def _groups(self, account_id: str) -> dict[str, KeptGroup]:
        found: dict[str, KeptGroup] = {}
        for file in self._disk.files(account_id):
            name = original_name(file.folder.partition("/")[2])
            if name is not None:
                group = found.setdefault(name, KeptGroup())
                group.functions.add(file.function)
                group.size_bytes += file.size_bytes
                group.first_day = min(group.first_day or file.day, file.day)
        return found

    def close(self) -> None:
        """Write what is still queued. Blocks for some seconds at most."""
        self._writer.close()


def _owner(function_arn: str) -> tuple[str, str]:
    fields = function_arn.split(":")
    return fields[4], fields[6]
