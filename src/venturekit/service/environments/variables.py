"""The environment variables of an execution environment. Pure.

Source: AWS page "Working with Lambda environment variables" and a dump recorded on AWS (python3.14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments.node_start import node_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from venturekit.service.environments.ports import EnvironmentSpec

MAX_CONCURRENCY: Final = "AWS_LAMBDA_MAX_CONCURRENCY"
NODE_WORKERS_PER_CPU: Final = 8
LOG_SOCKET: Final = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"
SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin/", "/bin")


def execution_environment_variables(
    spec: EnvironmentSpec,
    *,
    runtime_api: str,
    service_url: str,
    region: str,
    runtime_directory: Path,
    tmp: Path | None,
    log_stream: str,
    records: Path | None = None,
    log_socket: str = "",
    processors: int = 1,
) -> dict[str, str]:
    """All variables that the main process starts with.

    The customer's variables win where AWS lets them (PATH, LANG, TZ, ...) and cannot name the reserved ones, which
    the API refuses when the function is created. Folders are those that the function sees: below the isolation level
    ``namespace`` there is no ``/var/task``, and ``LAMBDA_TASK_ROOT`` and its like name folders of this machine. ``tmp``
    None: the function has a ``/tmp`` of its own. ``records`` has a folder for each account, which its functions share
    for what the framework keeps in files; None where they cannot write to it. ``log_socket`` is the path of the socket
    on which the workers of a multi-concurrent runtime write their logs, ``processors`` how many there are for them.
    """
    task_root = str(spec.code_directory)
    layers = [str(layer) for layer in reversed(spec.layers)]
    libraries = [task_root, f"{task_root}/lib", *(f"{layer}/lib" for layer in layers)]
    overridable = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": ":".join((*SYSTEM_PATH, *(f"{layer}/bin" for layer in layers))),
        "LD_LIBRARY_PATH": ":".join(libraries),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "AWS_LAMBDA_LOG_FORMAT": spec.log_format,
        "AWS_ENDPOINT_URL_LAMBDA": service_url,
    }
    if tmp is not None:
        overridable["TMPDIR"] = str(tmp)
    if records is not None:
        overridable["VENTURE_RECORDS_DIRECTORY"] = str(records / spec.function_arn.split(":")[4])
    if spec.runtime.startswith("python"):
        overridable["PYTHONPATH"] = str(runtime_directory)
    if spec.runtime.startswith("nodejs"):
        overridable["NODE_PATH"] = node_path(spec, runtime_directory)
    if spec.application_log_level:
        overridable["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level
    fixed = {
        "AWS_LAMBDA_FUNCTION_NAME": spec.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.function_version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_size_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": spec.initialization_type,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "_HANDLER": spec.handler,
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": str(runtime_directory),
        "PWD": task_root,
        "SHLVL": "0",
        "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if spec.max_concurrency:
        fixed[MAX_CONCURRENCY] = str(spec.max_concurrency)
        if log_socket:
            fixed[LOG_SOCKET] = log_socket
        if spec.runtime.startswith("nodejs"):
            # More worker threads than that would ask for events in vain: AWS's clients have 8 for each CPU.
            workers = min(NODE_WORKERS_PER_CPU * processors, spec.max_concurrency)
            overridable["AWS_LAMBDA_NODEJS_WORKER_COUNT"] = str(workers)
            # AWS's client would wait for events in the four threads that the function's own I/O needs.
            overridable["AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1"] = "true"
    if not spec.runtime.startswith("provided"):
        fixed["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{spec.runtime}"
    return {**overridable, **spec.variables, **_credentials(spec.credentials), **fixed}


NOT_FOR_EXTENSIONS: Final = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_PORT",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
        LOG_SOCKET,
    }
)
OF_THE_RUNTIME: Final = ("PYTHONPATH", "NODE_PATH")
"""What the platform sets for the language of the function alone: an extension may be in another one."""


def extension_variables(variables: Mapping[str, str], spec: EnvironmentSpec) -> dict[str, str]:
    """What external extensions get of the ``variables`` of their environment (AWS page "Extensions API")."""
    kept = {name: value for name, value in variables.items() if name not in NOT_FOR_EXTENSIONS}
    for name in OF_THE_RUNTIME:
        kept.pop(name, None)
        if name in spec.variables:
            kept[name] = spec.variables[name]
    return {**kept, "PWD": "/"}


def _credentials(credentials: Mapping[str, str]) -> dict[str, str]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    return {name: credentials[name] for name in names if name in credentials}
