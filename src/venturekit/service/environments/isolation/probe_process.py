"""Enters an isolation level and tries what it has to stop: `<interpreter> -I -S -B probe_process.py`.

Reads one JSON object from standard input, {"policy", "own", "secret", "tmp", "watch_pid"}, and writes one,
{"failures": [...]}, to standard output. Like the launcher it imports nothing of the project by its package's name.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from venturekit.service.environments.isolation.confine import Isolation


def _load() -> tuple[type[Isolation], Any]:
    folder = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        "_venturekit_isolation", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
    return importlib.import_module("_venturekit_isolation.confine").Isolation, package


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False


def _connect_anywhere() -> None:
    with socket.socket() as connection:
        connection.settimeout(1)
        code = connection.connect_ex(("127.0.0.1", 1))
    if code in (errno.EACCES, errno.EPERM):
        raise PermissionError(code, "refused")


def _failures(given: dict[str, Any], isolation: Isolation) -> list[str]:
    """What the level does not hold to, tried in the process that has entered it."""
    abi, has_namespaces = given["policy"]["abi"], isolation.has_namespaces
    own = given["own"]
    entrance = isolation.prepare()
    try:
        entrance.enter(own)
    except OSError as error:
        return [str(error)]
    tmp = "/tmp" if has_namespaces else given["tmp"]  # noqa: S108 - the probe's own
    failures = []
    if _refused(lambda: os.close(os.open(os.path.join(tmp, "written"), os.O_CREAT | os.O_WRONLY))):
        failures.append("its own scratch folder cannot be written")
    if not _refused(lambda: os.close(os.open(given["secret"], os.O_RDONLY))):
        failures.append("a file outside can be read")
    if (has_namespaces or abi >= 6) and not _refused(lambda: os.kill(given["watch_pid"], 0)):
        failures.append("a process outside can be signalled")
    if abi >= 4 and not _refused(_connect_anywhere):
        failures.append("a port that is not allowed can be reached")
    if not _refused(lambda: isolation.kernel.call("unshare", 0x10000000)):
        failures.append("a user namespace can be made")
    return failures


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def main() -> None:
    """Probe, and write what was found."""
    given = json.load(sys.stdin)
    isolation_class, _ = _load()
    read_fd, write_fd = os.pipe()
    try:
        isolation = isolation_class(given["policy"])
        pid, _ = isolation.fork(os.fork, _close_all_but)
    except OSError as error:
        print(json.dumps({"failures": [str(error)]}))  # noqa: T201 - the answer
        return
    if pid == 0:
        os.write(write_fd, json.dumps({"failures": _failures(given, isolation)}).encode())
        os._exit(0)
    os.close(write_fd)
    with open(read_fd, "rb") as reports:
        report = reports.read().decode()
    print(report or json.dumps({"failures": ["the process that entered it has died"]}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
