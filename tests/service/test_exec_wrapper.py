"""``AWS_LAMBDA_EXEC_WRAPPER``: scripts that start the runtime in the platform's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import PYTHON, zip_of

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

VARIABLE = "AWS_LAMBDA_EXEC_WRAPPER"
# As AWS's own example does it: one more option before the runtime's file, which is the last argument.
OPTIONS = """#!/bin/bash
args=("$@")
args=("${args[@]:0:$#-1}" %s "${args[@]: -1}")
export WRAPPED="$0"
exec "${args[@]}"
"""
PYTHON_SOURCE = """
import os, sys
print("loaded")
def handler(event, context):
    return [os.environ["WRAPPED"], sys.flags.optimize, sys.argv[1:], context.function_name, __name__]
"""
NODE_SOURCE = "exports.handler = async () => [process.env.WRAPPED, process.execArgv.includes('--trace-warnings')];"


def wrapped(functions: FunctionSet, runtime: str, wrapper: str, script: str | None, **members: Any) -> str:
    """A function whose archive holds the script as ``wrapper``."""
    is_python = runtime.startswith("python")
    files: dict[str, str | bytes] = {"app.py" if is_python else "app.js": PYTHON_SOURCE if is_python else NODE_SOURCE}
    if script is not None:
        files["wrapper"] = script
    modes = members.pop("modes", {"wrapper": 0o755})
    variables = {VARIABLE: wrapper, "WRAPPED": "", **members.pop("variables", {})}
    return functions.create(
        files=files, modes=modes, Runtime=runtime, Timeout=20, Environment={"Variables": variables}, **members
    )


@pytest.mark.parametrize("wrapper", ["/var/task/wrapper", "wrapper", "./wrapper"])
def test_python(functions: FunctionSet, wrapper: str) -> None:
    name = wrapped(functions, PYTHON, wrapper, OPTIONS % '"-O"')
    program, optimize, arguments, function, module = functions.invoke(name).value
    assert program.endswith("/wrapper")
    assert (optimize, function, module) == (1, name, "app")
    assert arguments == ["app.handler"]
    assert functions.invoke(name).value[3] == name
    log = functions.log_lines(name)
    assert log.count("loaded\n") == 1


@pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])
def test_node(functions: FunctionSet, runtime: str) -> None:
    name = wrapped(functions, runtime, "/var/task/wrapper", OPTIONS % '"--trace-warnings"')
    program, has_option = functions.invoke(name).value
    assert program.endswith("/wrapper")
    assert has_option


@pytest.mark.parametrize("runtime", [PYTHON, "nodejs20.x"])
def test_a_wrapper_in_a_layer(functions: FunctionSet, runtime: str) -> None:
    layers = []
    for number in range(2):
        script = f'#!/bin/sh\nexport WRAPPED="layer {number}"\nexec "$@"\n'
        content = {"ZipFile": zip_of({"bin/start": script}, {"bin/start": 0o755})}
        published = functions.client.publish_layer_version(LayerName=f"wrapper-{number}", Content=content)
        layers.append(published["LayerVersionArn"])
    name = wrapped(functions, runtime, "/opt/bin/start", None, modes={}, Layers=layers)
    assert functions.invoke(name).value[0] == "layer 1"


@pytest.mark.parametrize("first", ["", "#!  /bin/sh\t-e\n"])
def test_the_first_line_of_a_script(functions: FunctionSet, first: str) -> None:
    name = wrapped(functions, PYTHON, "/var/task/wrapper", first + 'WRAPPED=plain exec "$@"\n')
    assert functions.invoke(name).value[0] == "plain"


@pytest.mark.parametrize("runtime", [PYTHON, "nodejs20.x"])
@pytest.mark.parametrize(
    ("wrapper", "mode", "line", "status"),
    [
        ("/opt/nowhere", 0o755, "/opt/nowhere: does not exist", 127),
        ("/var/task/nowhere", 0o755, "/var/task/nowhere: does not exist", 127),
        ("/var/task", 0o755, "/var/task: does not exist", 127),
        ("/var/task/wrapper", 0o644, "/var/task/wrapper: is not an executable", 126),
    ],
)
def test_a_wrapper_that_cannot_be_used(
    functions: FunctionSet, runtime: str, wrapper: str, mode: int, line: str, status: int
) -> None:
    name = wrapped(functions, runtime, wrapper, "#!/bin/sh\n", modes={"wrapper": mode})
    answer = functions.invoke(name)
    expected = f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status {status}"
    assert (answer.error, answer.value["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert answer.value["errorMessage"] == expected
    assert f"{line}\n" in functions.log_lines(name)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (
            '#!/bin/sh\r\nexec "$@"\r\n',
            "/bin/sh with a carriage return: save the script with line feeds as its line ends",
        ),
        ('#! /no/such -e\nexec "$@"\n', "/no/such"),
    ],
)
@pytest.mark.parametrize("runtime", [PYTHON, "nodejs20.x"])
def test_a_wrapper_without_an_interpreter(functions: FunctionSet, runtime: str, script: str, line: str) -> None:
    name = wrapped(functions, runtime, "/var/task/wrapper", script)
    assert functions.invoke(name).value["errorMessage"].endswith("exit status 126")
    assert f"/var/task/wrapper: bad interpreter: {line}\n" in functions.log_lines(name)


def test_a_wrapper_that_is_no_program(functions: FunctionSet) -> None:
    answer = functions.invoke(wrapped(functions, "nodejs20.x", "/var/task/wrapper", "\x7fELF but nothing more"))
    assert answer.value["errorType"] == "Runtime.InvalidEntrypoint"
    assert answer.value["errorMessage"].endswith("Error: fork/exec /var/task/wrapper: exec format error")


@pytest.mark.parametrize(("last", "text"), [("exit 3", "exit status 3"), ("exit 0", "without providing a reason")])
def test_a_wrapper_that_starts_nothing(functions: FunctionSet, last: str, text: str) -> None:
    answer = functions.invoke(wrapped(functions, PYTHON, "/var/task/wrapper", f"#!/bin/sh\n{last}\n"))
    assert answer.value["errorType"] == "Runtime.ExitError"
    assert text in answer.value["errorMessage"]


def test_a_wrapper_that_stays_the_main_process(functions: FunctionSet) -> None:
    name = wrapped(functions, PYTHON, "/var/task/wrapper", '#!/bin/sh\nexport WRAPPED=child\n"$@"\n', Layers=[])
    assert functions.invoke(name).value[0] == "child"
    functions.client.delete_function(FunctionName=name)


def test_custom_runtimes_have_none(functions: FunctionSet) -> None:
    source = "#!/bin/sh\necho started\nexit 4\n"
    name = functions.bootstrap(source, Environment={"Variables": {VARIABLE: "/opt/nowhere"}})
    assert functions.invoke(name).value["errorMessage"].endswith("exit status 4")
