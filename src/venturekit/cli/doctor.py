"""``vk doctor``: what this machine has for the service, what it lacks, and where each setting comes from."""

from __future__ import annotations

import importlib.metadata
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

import venturekit
from venturekit.cli import environ, options
from venturekit.cli.exits import FAILED, CommandError
from venturekit.cli.output import write_json, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from venturekit.service.config import Settings

PACKAGES: Final = ("uvloop", "httptools", "orjson", "starlette", "uvicorn", "botocore", "boto3", "awslambdaric")
ISOLATION: Final = {
    "process": "Functions are processes that run as you: they read your files and reach your network. /tmp is the "
    "host's, TMPDIR a folder of the execution environment; /var/task does not exist, LAMBDA_TASK_ROOT names the "
    "folder of the code.",
    "confined": "The kernel keeps functions from your files and one another's, and from TCP ports not listed. "
    "They share processes, UDP and the literal /tmp with the host; TMPDIR is a folder of the execution environment.",
    "namespace": "As confined, with processes and files of their own: /var/task, /opt, /var/runtime and /tmp are "
    "as on AWS. The network is the host's.",
}
CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
MEMORY_INFO: Final = Path("/proc/meminfo")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(doctor)


def doctor(
    context: typer.Context,
    as_json: options.Json = False,
    endpoint_url: options.EndpointUrl = None,
) -> None:
    """Show what the service finds and would use on this machine.

    Interpreters, isolation, limits, packages, settings and whether a service runs. Options of `vk serve` may be
    added: the settings are then those that it would run with. Exits with 1 when something is wrong that keeps the
    service from starting.
    """
    found = examine(context.args, endpoint_url)
    if as_json:
        write_json(found)
    else:
        _print(found)
    raise typer.Exit(FAILED if found["problems"] else 0)


def examine(serve_options: Sequence[str], endpoint_url: str | None) -> dict[str, Any]:
    """Everything that doctor shows. Raises CommandError for options that `vk serve` does not have."""
    problems: list[str] = []
    settings, wanted = _settings(serve_options, problems)
    packages = {name: _version(name) for name in PACKAGES}
    problems += [f"{name} is not installed: pip install 'venturekit[local]'" for name in _missing(packages)]
    interpreters, runtimes = _interpreters()
    return {
        "version": venturekit.__version__,
        "interpreters": interpreters,
        "runtimes": runtimes,
        "isolation": _isolation(wanted, problems),
        "limits": _limits(),
        "packages": packages,
        "settings": settings,
        "endpoint": _endpoint(endpoint_url),
        "problems": problems,
    }


def _settings(serve_options: Sequence[str], problems: list[str]) -> tuple[list[dict[str, str]], Settings]:
    from venturekit.cli.serve import build_parser
    from venturekit.service.config import SETTINGS, ConfigurationError, Settings, load_settings, shown_value

    flags = vars(build_parser().parse_args(list(serve_options)))
    try:
        settings, origins = load_settings(flags, environ.variables())
    except ConfigurationError as error:
        problems.append(str(error))
        return [], Settings()
    rows = [
        {
            "name": setting.name,
            "value": shown_value(settings, setting),
            "origin": origins[setting.name],
            "flag": setting.flag,
            "variable": setting.variable,
        }
        for setting in SETTINGS
    ]
    return rows, settings


def _interpreters() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from venturekit.service.environments.interpreters import choose, find_interpreters
    from venturekit.service.functions.runtimes import SERVED

    found = find_interpreters(environ.variables(), os.path.expanduser("~"))
    choices = {name: choose(name, found, strict=False) for name in SERVED if name.startswith("python")}
    interpreters = [
        {
            "version": f"{item.version[0]}.{item.version[1]}",
            "path": item.path,
            "exactly": [name for name, choice in choices.items() if choice.interpreter == item and choice.exact],
            "instead": [name for name, choice in choices.items() if choice.interpreter == item and not choice.exact],
        }
        for item in found
    ]
    runtimes = [
        {"runtime": name, "path": choice.interpreter.path, "exact": choice.exact, "warning": choice.warning}
        for name, choice in choices.items()
    ]
    nodes, node_runtimes = _nodes()
    return [*interpreters, *nodes], [*runtimes, *node_runtimes]


def _nodes() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from venturekit.service.environments.interpreters import RuntimeUnavailableError
    from venturekit.service.environments.nodes import choose_node, find_nodes
    from venturekit.service.functions.runtimes import SERVED

    found = find_nodes(environ.variables(), os.path.expanduser("~"))
    runtimes: list[dict[str, Any]] = []
    for name in SERVED:
        if not name.startswith("nodejs"):
            continue
        try:
            choice = choose_node(name, found, strict=False)
        except RuntimeUnavailableError as error:
            runtimes.append({"runtime": name, "path": None, "exact": False, "warning": str(error)})
        else:
            row = {"path": choice.node.path, "exact": choice.warning is None, "warning": choice.warning}
            runtimes.append({"runtime": name, **row})
    nodes = [
        {
            "version": f"Node.js {'.'.join(map(str, node.version))}",
            "path": node.path,
            "exactly": [row["runtime"] for row in runtimes if row["path"] == node.path and row["exact"]],
            "instead": [row["runtime"] for row in runtimes if row["path"] == node.path and not row["exact"]],
        }
        for node in found
    ]
    return nodes, runtimes


def _isolation(settings: Settings, problems: list[str]) -> dict[str, Any]:
    """The level that a service would run at, and what the kernel says to each, asked by a child that tries it."""
    from venturekit.service.config import least_isolation
    from venturekit.service.environments.interpreters import own_interpreter
    from venturekit.service.environments.isolation.levels import LEVELS, IsolationUnavailableError, decide
    from venturekit.service.environments.isolation.probe import prober

    examine = prober(own_interpreter().path)
    reached: str | None = None
    try:
        accept = settings.accept_isolation_gaps
        required = least_isolation(settings)
        reached = decide(settings.isolation, required, accept_gaps=accept, examine=examine).level
    except IsolationUnavailableError as error:
        problems.append(str(error))
    return {
        "level": reached,
        "meaning": ISOLATION.get(reached or "", ""),
        "levels": [
            {"level": found.level, "available": found.reason is None, "reason": found.reason, "gaps": list(found.gaps)}
            for found in [examine(level) for level in LEVELS[1:]]
        ],
    }


def _limits() -> dict[str, int | None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = dict(line.split(":", 1) for line in MEMORY_INFO.read_text().splitlines())
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        limit = ""
    return {
        "open_files": _bounded(soft),
        "open_files_at_most": _bounded(hard),
        "memory_bytes": int(memory["MemTotal"].split()[0]) * 1024,
        "memory_available_bytes": int(memory["MemAvailable"].split()[0]) * 1024,
        "memory_limit_bytes": int(limit) if limit.isdigit() else None,
        "cpus": len(os.sched_getaffinity(0)),
    }


def _bounded(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing(packages: dict[str, str | None]) -> Iterable[str]:
    # uvloop has a stand-in, AWS's client is asked for by a setting only.
    return [name for name in ("httptools", "orjson", "botocore") if packages[name] is None]


def _endpoint(endpoint_url: str | None) -> dict[str, Any]:
    from venturekit.cli.api import Api, find_endpoint

    endpoint = find_endpoint(endpoint_url, None)
    found: dict[str, Any] = {"url": endpoint.url, "running": False}
    try:
        api = Api(endpoint)
        found |= {"health": api.health(), "running": True}
        api.close()
    except CommandError as error:
        found["reason"] = str(error)
    return found


def _print(found: dict[str, Any]) -> None:
    limits = found["limits"]
    sections: list[tuple[str, list[list[str]]]] = [
        ("venturekit", [["version", found["version"]]]),
        ("Interpreters", [_interpreter_row(item) for item in found["interpreters"]]),
        ("Isolation", [[found["isolation"]["level"] or "none", found["isolation"]["meaning"]]]),
        ("Isolation levels beyond", [_level_row(item) for item in found["isolation"]["levels"]]),
        (
            "Limits",
            [
                ["open files", f"{_shown(limits['open_files'])} (at most {_shown(limits['open_files_at_most'])})"],
                ["memory", f"{_mebibytes(limits['memory_available_bytes'])} of {_mebibytes(limits['memory_bytes'])}"],
                ["memory limit", _mebibytes(limits["memory_limit_bytes"])],
                ["CPUs", str(limits["cpus"])],
            ],
        ),
        ("Packages", [[name, version or "not installed"] for name, version in found["packages"].items()]),
        ("Settings", [[item["flag"], item["value"], item["origin"]] for item in found["settings"]]),
        ("Endpoint", [[found["endpoint"]["url"], _running(found["endpoint"])]]),
        ("Problems", [[problem] for problem in found["problems"]]),
    ]
    for title, rows in sections:
        if rows:
            print(f"\n{title}", flush=True)
            write_table([""] * len(rows[0]), rows)


def _interpreter_row(item: dict[str, Any]) -> list[str]:
    serves = ", ".join(item["exactly"])
    instead = ", ".join(item["instead"])
    return [item["version"], item["path"], "; ".join(filter(None, [serves, instead and f"for want of them {instead}"]))]


def _level_row(item: dict[str, Any]) -> list[str]:
    if not item["available"]:
        return [item["level"], f"not here: {item['reason']}"]
    return [item["level"], f"but this kernel cannot {'; '.join(item['gaps'])}" if item["gaps"] else "can be had"]


def _running(endpoint: dict[str, Any]) -> str:
    if not endpoint["running"]:
        return str(endpoint["reason"])
    health = endpoint["health"]
    count = health.get("functions", 0)
    served = f"running, version {health['version']}, {count} function{'' if count == 1 else 's'} in all accounts"
    front = health.get("front")
    if not front:
        return served
    where = f" at port {front['port']}" if front["port"] else ""
    return f"{served}; function URLs{where}: {front['state']}"


def _shown(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)


def _mebibytes(size_bytes: int | None) -> str:
    return "none" if size_bytes is None else f"{size_bytes // 2**20} MiB"
