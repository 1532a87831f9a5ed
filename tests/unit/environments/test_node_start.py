"""The command line of a Node.js function, where it finds modules, and wrappers around managed runtimes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.environments.test_environment_variables import SPEC
from tests.unit.environments.test_start_plans import python
from venturekit.service.environments.exec_wrapper import MISSING, NOT_EXECUTABLE, wrapped
from venturekit.service.environments.node_start import (
    RUNTIME_DIRECTORY,
    carried_client,
    node_options,
    node_path,
    start_of,
)
from venturekit.service.environments.nodes import Node
from venturekit.service.environments.runtimes import StartRefusedError, plan_start
from venturekit.service.environments.variables import execution_environment_variables

NODE20 = Node((20, 19, 1), "/prefix/bin/node")
NODE_SPEC = replace(SPEC, runtime="nodejs20.x", memory_size_mb=128)
NO_REQUIRE, NO_DETECT = "--no-experimental-require-module", "--no-experimental-detect-module"


def test_the_command_line() -> None:
    start = start_of(NODE_SPEC, NODE20)
    options = ("--expose-gc", "--max-http-header-size=81920", "--max-semi-space-size=6", "--max-old-space-size=116")
    assert start.argv == ("/prefix/bin/node", *options, NO_REQUIRE, str(RUNTIME_DIRECTORY))
    assert start.reads == ("/prefix/bin/node", "/prefix/lib")
    assert start.extras == (str(RUNTIME_DIRECTORY),)
    assert start.may_wait


def test_the_runtime_is_a_package_of_its_own() -> None:
    package = json.loads((RUNTIME_DIRECTORY / "package.json").read_text())
    assert package["type"] == "commonjs"
    assert (RUNTIME_DIRECTORY / package["main"]).is_file()
    for file in RUNTIME_DIRECTORY.iterdir():
        assert file.suffix in (".cjs", ".mjs", ".json"), file


@pytest.mark.parametrize(
    ("runtime", "version", "expected"),
    [
        ("nodejs18.x", (18, 20, 4), []),
        ("nodejs18.x", (20, 19, 0), [NO_REQUIRE, NO_DETECT]),
        ("nodejs20.x", (18, 20, 4), []),
        ("nodejs20.x", (20, 9, 0), []),
        ("nodejs20.x", (20, 16, 9), []),
        ("nodejs20.x", (20, 17, 0), [NO_REQUIRE]),
        ("nodejs20.x", (21, 9, 0), [NO_REQUIRE]),
        ("nodejs20.x", (24, 0, 0), [NO_REQUIRE]),
        ("nodejs22.x", (20, 10, 0), [NO_DETECT]),
        ("nodejs22.x", (21, 0, 0), [NO_REQUIRE]),
        ("nodejs22.x", (22, 0, 0), [NO_REQUIRE, NO_DETECT]),
        ("nodejs22.x", (24, 3, 0), [NO_REQUIRE, NO_DETECT]),
        ("nodejs24.x", (24, 0, 0), []),
        ("nodejs24.x", (20, 19, 0), []),
        ("nodejs26.x", (26, 0, 0), []),
    ],
)
def test_features_that_aws_switches_off(runtime: str, version: tuple[int, int, int], expected: list[str]) -> None:
    options = node_options(replace(NODE_SPEC, runtime=runtime), Node(version, "/node"))
    assert [option for option in options if option.startswith("--no-")] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--experimental-require-module", [NO_DETECT]),
        ("--trace-warnings --experimental-detect-module", [NO_REQUIRE]),
        ("--experimental-require-module --experimental-detect-module", []),
        ("--no-warnings", [NO_REQUIRE, NO_DETECT]),
    ],
)
def test_a_function_may_switch_them_on(given: str, expected: list[str]) -> None:
    spec = replace(NODE_SPEC, runtime="nodejs22.x", variables={"NODE_OPTIONS": given})
    options = node_options(spec, Node((22, 12, 0), "/node"))
    assert [option for option in options if option.startswith("--no-")] == expected


@pytest.mark.parametrize(
    ("memory_mb", "semi", "old"), [(128, 6, 116), (256, 12, 231), (1024, 51, 922), (10_240, 512, 9216)]
)
def test_the_share_of_the_memory(memory_mb: int, semi: int, old: int) -> None:
    options = node_options(replace(NODE_SPEC, memory_size_mb=memory_mb), NODE20)
    assert f"--max-semi-space-size={semi}" in options
    assert f"--max-old-space-size={old}" in options


def test_where_modules_are_looked_for() -> None:
    spec = replace(NODE_SPEC, layers=(Path("/first"), Path("/second")))
    assert node_path(spec, Path("/runtime")).split(":") == [
        "/second/nodejs/node20/node_modules",
        "/first/nodejs/node20/node_modules",
        "/second/nodejs/node_modules",
        "/first/nodejs/node_modules",
        "/runtime/node_modules",
        "/runtime",
        "/code/k",
    ]
    inside = replace(NODE_SPEC, layers=(Path("/opt"),), code_directory=Path("/var/task"))
    # As AWS's bootstrap has it.
    assert node_path(inside, Path("/var/runtime")) == (
        "/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
    )


def variables_of(spec: Any) -> dict[str, str]:
    return execution_environment_variables(
        spec,
        runtime_api="127.0.0.1:9",
        service_url="http://127.0.0.1:9001",
        region="eu-west-1",
        runtime_directory=Path("/runtime"),
        tmp=Path("/tmp/x"),
        log_stream="s",
    )


def test_the_variables() -> None:
    found = variables_of(NODE_SPEC)
    assert found["NODE_PATH"].endswith("/runtime/node_modules:/runtime:/code/k")
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_nodejs20.x"
    assert "PYTHONPATH" not in found
    assert variables_of(replace(NODE_SPEC, variables={"NODE_PATH": "mine"}))["NODE_PATH"] == "mine"
    assert "NODE_PATH" not in variables_of(SPEC)


@pytest.mark.parametrize(
    "name", ["NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "LD_PRELOAD", "UV_THREADPOOL_SIZE", "LANG", "LC_ALL"]
)
def test_what_is_read_at_the_start_needs_a_start(name: str) -> None:
    assert not start_of(replace(NODE_SPEC, variables={name: "x"}), NODE20).may_wait


@pytest.mark.parametrize("name", ["NODE_ENV", "NODE_PATH", "TZ", "PATH", "MINE", "AWS_LAMBDA_LOG_LEVEL"])
def test_what_is_read_later_does_not(name: str) -> None:
    assert start_of(replace(NODE_SPEC, variables={name: "x"}), NODE20).may_wait


def test_shared_libraries_need_a_start(tmp_path: Path) -> None:
    spec = replace(NODE_SPEC, code_directory=tmp_path)
    assert plan_start(spec, python(), [NODE20]).may_wait
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libx.so.1").touch()
    assert not plan_start(spec, python(), [NODE20]).may_wait


def test_the_plan() -> None:
    plan = plan_start(NODE_SPEC, python(), [NODE20])
    assert (plan.mode, plan.framed_log, plan.interpreter, plan.warning) == ("exec", True, None, None)
    assert plan.needed == ("/prefix/bin/node", "/prefix/lib", str(RUNTIME_DIRECTORY))
    other = plan_start(replace(NODE_SPEC, runtime="nodejs22.x"), python(), [NODE20])
    assert other.warning is not None
    assert "nodejs22.x is not on this machine" in other.warning


@pytest.mark.parametrize(("nodes", "strict"), [([], False), ([NODE20], True)])
def test_no_node(nodes: list[Node], strict: bool) -> None:
    with pytest.raises(StartRefusedError, match="nvm install 22") as caught:
        plan_start(replace(NODE_SPEC, runtime="nodejs22.x"), python(strict=strict), nodes)
    assert caught.value.error_type == "Runtime.InvalidRuntime"


# --- AWS's own client -----------------------------------------------------------------------------------------------


def put_client(folder: Path, program: object = "bin/index.mjs", *, exists: bool = True) -> Path:
    package = folder / "node_modules" / "aws-lambda-ric"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"bin": program}))
    if exists:
        (package / "bin" / "index.mjs").touch()
    return package / "bin" / "index.mjs"


@pytest.mark.parametrize("program", ["bin/index.mjs", "./bin/index.mjs", {"aws-lambda-ric": "./bin/index.mjs"}])
def test_a_client_in_the_code(tmp_path: Path, program: object) -> None:
    client = put_client(tmp_path, program)
    spec = replace(NODE_SPEC, code_directory=tmp_path)
    start = start_of(spec, NODE20)
    assert start.argv[-2:] == (str(client), "app.handler")
    assert not start.may_wait


@pytest.mark.parametrize("below", ["nodejs", "nodejs/node20"])
def test_a_client_in_a_layer(tmp_path: Path, below: str) -> None:
    client = put_client(tmp_path / "layer" / below)
    spec = replace(NODE_SPEC, code_directory=tmp_path, layers=(tmp_path / "layer",))
    assert carried_client(spec) == str(client)


@pytest.mark.parametrize("program", ["../../../bin/index.mjs", "/bin/sh", "nowhere", "", None, 5, [], {"other": "x"}])
def test_no_usable_client(tmp_path: Path, program: object) -> None:
    put_client(tmp_path, program)
    assert carried_client(replace(NODE_SPEC, code_directory=tmp_path)) is None


def test_a_package_that_cannot_be_read(tmp_path: Path) -> None:
    package = put_client(tmp_path).parent.parent / "package.json"
    for text in ("{", "[]", "null", '"text"'):
        package.write_text(text)
        assert carried_client(replace(NODE_SPEC, code_directory=tmp_path)) is None


# --- wrappers -------------------------------------------------------------------------------------------------------

ARGV = ("/node", "--option", "/runtime")


def program(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("wrapper", ["/var/task/bin/start", "bin/start", "./bin/start"])
def test_a_wrapper_in_the_code(tmp_path: Path, wrapper: str) -> None:
    path = program(tmp_path / "bin" / "start")
    spec = replace(NODE_SPEC, code_directory=tmp_path)
    found = wrapped(wrapper, ARGV, spec)
    assert (Path(found[0]), found[1:]) == (path, ARGV)


def test_a_wrapper_of_the_later_layer(tmp_path: Path) -> None:
    first, second = program(tmp_path / "first" / "start"), program(tmp_path / "second" / "start")
    program(tmp_path / "first" / "only")
    spec = replace(NODE_SPEC, code_directory=tmp_path, layers=(first.parent, second.parent))
    assert wrapped("/opt/start", ARGV, spec)[0] == str(second)
    assert wrapped("/opt/only", ARGV, spec)[0] == str(first.parent / "only")


def test_a_wrapper_of_this_machine(tmp_path: Path) -> None:
    path = program(tmp_path / "elsewhere")
    assert wrapped(str(path), ARGV, NODE_SPEC) == (str(path), *ARGV)


def test_a_script_without_a_first_line_is_the_shells(tmp_path: Path) -> None:
    path = program(tmp_path / "start", 'exec "$@"\n')
    assert wrapped(str(path), ARGV, NODE_SPEC) == ("/bin/sh", str(path), *ARGV)


def test_a_wrapper_that_is_not_there(tmp_path: Path) -> None:
    spec = replace(NODE_SPEC, code_directory=tmp_path)
    assert wrapped("/opt/start", ARGV, spec) == ("/bin/sh", "-c", MISSING, "/opt/start")
    program(tmp_path / "plain", mode=0o644)
    assert wrapped("/var/task/plain", ARGV, spec) == ("/bin/sh", "-c", NOT_EXECUTABLE, "/var/task/plain")


def test_python_with_a_wrapper_is_a_process_of_its_own(tmp_path: Path) -> None:
    path = program(tmp_path / "start")
    spec = replace(SPEC, code_directory=tmp_path, variables={"AWS_LAMBDA_EXEC_WRAPPER": "start"})
    plan = plan_start(spec, python())
    # The last argument is the runtime's file, before which wrappers put their options.
    assert plan.argv == (str(path), "/usr/bin/python3.12", "-S", "/spawn.py")
    assert (plan.mode, plan.extras) == ("exec", ("/spawn.py", "/ric"))


@pytest.mark.parametrize("wrapper", ["", None])
def test_no_wrapper(wrapper: str | None) -> None:
    variables = {} if wrapper is None else {"AWS_LAMBDA_EXEC_WRAPPER": wrapper}
    assert plan_start(replace(SPEC, variables=variables), python()).mode == "fork"


def test_custom_runtimes_have_none(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").touch()
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/nowhere"}
    spec = replace(SPEC, runtime="provided.al2023", code_directory=tmp_path, variables=variables)
    assert plan_start(spec, python()).argv == (str(tmp_path / "bootstrap"),)
