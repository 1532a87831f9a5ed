"""How a child of the launcher enters its isolation, in two steps: what needs no request (`Isolation.prepare`, done by
a spare child beforehand), then the rest (`Entrance.enter`), after which it holds for all of the environment.

Both take what `policy.py` decided, as plain JSON values:

    of the launcher   {"level", "abi", "read", "list", "devices", "connect_ports", "bind_ports", "unix_sockets",
                       "mountpoint", "links", "binds"}
    of one launch     {"read", "write", "connect_ports", "binds", "overlay"}

Paths that are to be read are left out where they do not exist.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import os
import resource

from . import landlock, namespaces, seccomp
from .kernel import Kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_PROCESSES = 1024  # as on AWS (page "Lambda quotas": processes and threads)


class Isolation:
    """The isolation of all environments of a launcher: `policy` is its part of the above."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy = policy
        self.kernel = Kernel()
        self.has_namespaces: bool = policy["level"] == "namespace"
        self.filter = seccomp.build_filter(
            self.kernel.machine, unix_sockets=policy["unix_sockets"], has_namespaces=self.has_namespaces
        )

    def fork(
        self, fork: Callable[[], int], close_all_but: Callable[[set[int]], None]
    ) -> tuple[int, namespaces.Branch | None]:
        """Fork a child that will enter: its process id (0 in itself), and how its namespaces end. Raises OSError."""
        if not self.has_namespaces:
            return fork(), None
        branch = namespaces.fork_inside(self.kernel, fork, close_all_but)
        return branch.main_pid, branch if branch.main_pid else None

    def prepare(self) -> Entrance:
        """In a child of `fork`: what is the same for all launches. Raises OSError."""
        return Entrance(self)

    def prepare_early(self) -> Callable[[], Entrance]:
        """Prepare now; what is returned gives the result, an error included, to the launch that will want it."""
        try:
            entrance = self.prepare()
        except OSError as error:
            reason = error

            def fail() -> Entrance:
                raise reason

            return fail
        return lambda: entrance


class Entrance:
    """One child on its way in. `descriptor` has to stay open until `enter`."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._kernel = isolation.kernel
        policy = isolation.policy
        self._root = _common_root(self._kernel, policy) if isolation.has_namespaces else None
        self._ruleset = rules = landlock.Ruleset(self._kernel, policy["abi"])
        self.descriptor = rules.descriptor
        for paths, rights in (
            (policy["read"], landlock.READ),
            (policy["list"], landlock.READ_DIR),
            (policy["devices"], landlock.DEVICE),
        ):
            _allow_existing(rules, paths, rights)
        for port in policy["connect_ports"]:
            rules.allow_port(port, landlock.CONNECT_TCP)
        for port in policy["bind_ports"]:
            rules.allow_port(port, landlock.BIND_TCP | landlock.CONNECT_TCP)
        # Any free port: nobody can be impersonated there.
        rules.allow_port(0, landlock.BIND_TCP)

    def enter(self, own: dict[str, Any]) -> None:
        """Confine this process: `own` is the launch's part. Raises OSError."""
        kernel, rules, root = self._kernel, self._ruleset, self._root
        _allow_existing(rules, own["read"], landlock.READ)
        for path in own["write"]:
            rules.allow(path, landlock.READ | landlock.WRITE)
        for port in own["connect_ports"]:
            rules.allow_port(port, landlock.CONNECT_TCP)
        if root is not None:
            _finish_root(root, own)
            rules.allow("/", landlock.READ_DIR)
            rules.allow("/proc", landlock.READ)
            if own["overlay"]:
                rules.allow("/opt", landlock.READ)
            _limit_processes()
        kernel.forbid_new_privileges()
        rules.restrict()
        kernel.drop_capabilities()
        seccomp.install(kernel, self._isolation.filter)


def _allow_existing(rules: landlock.Ruleset, paths: list[str], rights: int) -> None:
    for path in paths:
        try:
            rules.allow(path, rights)
        except FileNotFoundError:
            pass


def _limit_processes() -> None:
    # In a user namespace of its own the limit counts what is in it, elsewhere all that the user has. Root has none.
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = MAX_PROCESSES if hard == resource.RLIM_INFINITY else min(MAX_PROCESSES, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _common_root(kernel: Kernel, policy: dict[str, Any]) -> namespaces.Root:
    root = namespaces.Root(kernel, policy["mountpoint"])
    for path, target in policy["links"]:
        root.link(target, path)
    for source, path in policy["binds"]:
        if os.path.exists(source):
            root.bind(source, path)
    for path in policy["devices"]:
        if os.path.exists(path):
            root.bind(path, path, writable=True, device=True)
    root.processes("/proc")
    return root


def _finish_root(root: namespaces.Root, own: dict[str, Any]) -> None:
    if own["overlay"]:
        later = [(source, path) for source, path in own["binds"] if path.startswith("/opt/")]
        root.overlay(own["overlay"], "/opt", later=later)
    else:
        root.make_directory("/opt")
    for source, path in own["binds"]:
        root.bind(source, path)
    for source in own["write"]:
        root.bind(source, "/tmp", writable=True)  # noqa: S108 - the environment's own
    root.enter()
