"""Starts the external extensions of execution environments, and hears of their ends (AWS page "Extensions API")."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from venturekit.service.environments.extensions.group import Extensions
from venturekit.service.environments.extensions.process import ExtensionProcess
from venturekit.service.environments.extensions.roster import Extension, Stage
from venturekit.service.environments.extensions.shutdown import EXTERNAL_SECONDS, INSIST_SECONDS
from venturekit.service.environments.failures import Exit, exec_error_text
from venturekit.service.environments.launcher import LauncherError, LaunchSpec
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.memory import TreeMemory
from venturekit.service.environments.variables import extension_variables

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.launcher import LaunchFailure

FOLDER = "extensions"
SHOWN_FOLDER = "/opt/extensions"


def extension_files(layers: Iterable[Path]) -> dict[str, str]:
    """The executable files of the layers' folder ``extensions``, by name; those of later layers win."""
    found: dict[str, str] = {}
    for layer in layers:
        try:
            with os.scandir(layer / FOLDER) as entries:
                found.update({entry.name: entry.path for entry in entries if _is_program(entry)})
        except OSError:
            continue  # most layers have none
    return dict(sorted(found.items()))


def _is_program(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and os.access(entry.path, os.X_OK)


class ExtensionStarter:
    """All processes of extensions that a host has, by the launcher's names for them."""

    __slots__ = ("_host", "_idle", "processes")

    def __init__(self, host: EnvironmentHost) -> None:
        self._host = host
        self._idle = asyncio.Event()
        self.processes: dict[int, ExtensionProcess] = {}

    async def start(self, environment: Environment) -> bool:
        """Start what the layers of an environment have, and wait until all of it has registered.

        Whether the runtime is to be started then: the environment may have ended before.
        """
        files = extension_files(environment.spec.layers) if environment.spec.layers else {}
        if files:
            group = environment.extensions = Extensions(environment, runtime_lives=False)
            group.telemetry.begin()
            group.registered = self._host.loop.create_future()
            for name, path in files.items():
                self._launch(group, group.roster.expect(name), path)
            await group.registered
            group.runtime_lives = environment.state is State.STARTING
        return environment.state is State.STARTING

    def _launch(self, group: Extensions, extension: Extension, path: str) -> None:
        host, environment = self._host, group.environment
        if environment.state is not State.STARTING:
            extension.stage = Stage.GONE
            return
        process = ExtensionProcess(group, extension, next(host.numbers))
        self.processes[process.number] = group.processes[extension] = process
        policy = host.settings.isolation
        launch = LaunchSpec(
            id=process.number,
            mode="exec",
            argv=[policy.shown(path, environment.spec) if policy else path],
            environ=extension_variables(host.variables_of(environment), environment.spec),
            cwd="/",
            isolation=host.isolation_of(environment),
        )
        try:
            host.launcher_for(None).launch(launch, process.capture.output_write)
        except LauncherError as error:
            self._forget(process.number)
            process.failed(str(error))
        else:
            process.capture.handed_over()

    # --- the launcher's reports ---------------------------------------------------------------------------------

    def started(self, number: int, pid: int) -> None:
        """A process has been started."""
        process = self.processes.get(number)
        if process is not None:
            process.started(pid, TreeMemory(pid))

    def failed(self, number: int, failure: LaunchFailure) -> None:
        """A process could not be started."""
        process = self._forget(number)
        if process is not None:
            reason = failure.message
            if failure.stage == "exec":
                reason = exec_error_text(f"{SHOWN_FOLDER}/{process.extension.name}", failure.errno_name, reason)
            process.failed(reason)

    def exited(self, number: int, ended: Exit) -> None:
        """A process has ended."""
        process = self._forget(number)
        if process is not None:
            process.exited(ended)

    def _forget(self, number: int) -> ExtensionProcess | None:
        process = self.processes.pop(number, None)
        if not self.processes:
            self._idle.set()
        return process

    async def wait_ended(self) -> None:
        """Return when no extension runs any more, or all time for that is over."""
        if self.processes:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), EXTERNAL_SECONDS + INSIST_SECONDS)
            except TimeoutError:
                return  # the launchers kill what is left

    def bury(self) -> None:
        """The launchers have ended, and everything with them."""
        for number in tuple(self.processes):
            self.exited(number, Exit(signal=9))
