"""The process of one external extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.environments.capture import Capture

if TYPE_CHECKING:
    from venturekit.service.environments.extensions.group import Extensions
    from venturekit.service.environments.extensions.roster import Extension
    from venturekit.service.environments.failures import Exit
    from venturekit.service.environments.memory import TreeMemory


class ExtensionProcess:
    """Main process and output of an extension; ``number`` is the launcher's name for it."""

    __slots__ = ("capture", "extension", "group", "memory", "number", "pid")

    def __init__(self, group: Extensions, extension: Extension, number: int) -> None:
        self.group = group
        self.extension = extension
        self.number = number
        self.pid = 0
        self.memory: TreeMemory | None = None
        self.capture = Capture(group.host.loop, self._wrote, framed=False)

    def _wrote(self, line: bytes) -> None:
        self.group.environment.journal.wrote(self.group.host.wall(), line)
        self.group.telemetry.wrote("extension", line)

    def started(self, pid: int, memory: TreeMemory) -> None:
        """Its process is there."""
        self.pid = pid
        self.memory = memory

    def kill(self) -> None:
        """Kill its whole process tree. Its exit is reported later."""
        launcher = self.group.host.launchers.holding(self.number)
        if launcher is not None:
            launcher.kill(self.number)

    def failed(self, reason: str) -> None:
        """It could not be started."""
        self._close()
        self.group.launch_failed(self.extension, reason)

    def exited(self, ended: Exit) -> None:
        """It has ended."""
        self._close()
        self.group.process_exited(self.extension, ended)

    def _close(self) -> None:
        self.capture.close()
        if self.memory is not None:
            self.memory.close()
            self.memory = None
