"""What a function's process finds in its environment: every variable, and whose value wins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from venturekit.service.environments.ports import EnvironmentSpec
from venturekit.service.environments.variables import execution_environment_variables

SPEC = EnvironmentSpec(
    identity="i",
    function_name="orders",
    function_version="7",
    function_arn="arn:aws:lambda:eu-west-1:000000000000:function:orders",
    runtime="python3.12",
    handler="app.handler",
    timeout_ms=3000,
    memory_size_mb=256,
    ephemeral_storage_mb=512,
    code_key="k",
    code_directory=Path("/code/k"),
    log_group="/aws/lambda/orders",
    credentials={
        "AWS_ACCESS_KEY_ID": "ASIA1",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_PROFILE": "of the user",
    },
)
FIXED = {
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
    "AWS_LAMBDA_FUNCTION_VERSION": "7",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/02/[7]0",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "ASIA1",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "_HANDLER": "app.handler",
    "LAMBDA_TASK_ROOT": "/code/k",
    "LAMBDA_RUNTIME_DIR": "/runtime",
    "PWD": "/code/k",
    "SHLVL": "0",
    "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
}
OVERRIDABLE = {
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "PATH": "/usr/local/bin:/usr/bin/:/bin",
    "LD_LIBRARY_PATH": "/code/k:/code/k/lib",
    "PYTHONPATH": "/runtime",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
    "AWS_LAMBDA_LOG_FORMAT": "Text",
    "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:1",
    "TMPDIR": "/environments/1/tmp",
}


def variables(**changes: Any) -> dict[str, str]:
    return execution_environment_variables(
        replace(SPEC, **changes),
        runtime_api="127.0.0.1:9",
        service_url="http://127.0.0.1:1",
        region="eu-west-1",
        runtime_directory=Path("/runtime"),
        tmp=Path("/environments/1/tmp"),
        log_stream="2026/01/02/[7]0",
    )


def test_every_variable() -> None:
    assert variables() == {**FIXED, **OVERRIDABLE}


@pytest.mark.parametrize("name", [*OVERRIDABLE, "AWS_LAMBDA_LOG_LEVEL", "MINE", "AWS_LAMBDA_EXEC_WRAPPER", "NODE_PATH"])
def test_customers_win_where_they_may(name: str) -> None:
    assert variables(variables={name: "mine"}) == {**FIXED, **OVERRIDABLE, name: "mine"}


@pytest.mark.parametrize("name", FIXED)
def test_reserved_names_win(name: str) -> None:
    assert variables(variables={name: "mine"})[name] == FIXED[name]


def test_layers_come_behind_the_code_the_last_one_first() -> None:
    found = variables(layers=(Path("/l/1"), Path("/l/2")))
    assert found["PATH"] == "/usr/local/bin:/usr/bin/:/bin:/l/2/bin:/l/1/bin"
    assert found["LD_LIBRARY_PATH"] == "/code/k:/code/k/lib:/l/2/lib:/l/1/lib"


@pytest.mark.parametrize("runtime", ["provided", "provided.al2", "provided.al2023"])
def test_custom_runtimes_have_no_execution_env_and_no_python_path(runtime: str) -> None:
    expected = {**FIXED, **OVERRIDABLE}
    del expected["AWS_EXECUTION_ENV"], expected["PYTHONPATH"]
    assert variables(runtime=runtime) == expected


def test_the_log_settings() -> None:
    found = variables(log_format="JSON", application_log_level="DEBUG")
    assert (found["AWS_LAMBDA_LOG_FORMAT"], found["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "DEBUG")


def test_without_credentials_there_are_none() -> None:
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & variables(credentials={}).keys()


def test_secrets_stay_out_of_the_repr() -> None:
    shown = repr(replace(SPEC, variables={"PASSWORD": "hunter2"}))
    assert "hunter2" not in shown
    assert "secret" not in shown


def test_a_multi_concurrent_environment_is_told_so() -> None:
    found = variables(max_concurrency=10, initialization_type="lambda-managed-instances", log_format="JSON")
    assert found["AWS_LAMBDA_MAX_CONCURRENCY"] == "10"
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    assert not any("TELEMETRY" in name for name in found)
    assert variables(max_concurrency=10, variables={"AWS_LAMBDA_MAX_CONCURRENCY": "99"}) == {
        **variables(max_concurrency=10)
    }


@pytest.mark.parametrize(("limit", "workers"), [(3, "3"), (64, "8")])
def test_node_has_no_more_worker_threads_than_calls(limit: int, workers: str) -> None:
    found = variables(runtime="nodejs22.x", max_concurrency=limit)
    assert found["AWS_LAMBDA_NODEJS_WORKER_COUNT"] == workers
    chosen = variables(runtime="nodejs22.x", max_concurrency=limit, variables={"AWS_LAMBDA_NODEJS_WORKER_COUNT": "2"})
    assert chosen["AWS_LAMBDA_NODEJS_WORKER_COUNT"] == "2"
