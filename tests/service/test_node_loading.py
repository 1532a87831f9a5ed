"""Which file and which export a Node.js handler's name means, and what is said when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service.node_support import MAJORS, NEW, OLD, Threw, outcome

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

ESM = "export const handler = async () => 'esm';"
CJS = "exports.handler = async () => 'cjs';"
FILES = {
    "app.js": CJS,
    "module.mjs": "export const handler = async () => 'mjs'; export default async () => 'default';",
    "common.cjs": "exports.handler = async () => 'cjs file';",
    "both.js": "exports.handler = async () => 'js first';",
    "both.mjs": "export const handler = async () => 'mjs second';",
    "nested.js": "exports.a = { b: { c: async () => 'nested' } }; exports.text = 'no function'; exports.zero = 0;",
    "awaiting.mjs": "const value = await Promise.resolve('awaited'); export const handler = async () => value;",
    "folder/deep/app.js": "exports.handler = async () => 'deep';",
    "typed/package.json": '{"type": "module"}',
    "typed/app.js": ESM,
    "typed/common.cjs": CJS,
    "typed/below/app.js": ESM,
    "typed/broken/package.json": "{",
    "typed/broken/app.js": CJS,
    "bare": CJS,
    "packaged/index.js": CJS,
    "node_modules/dependency/package.json": '{"main": "lib.js"}',
    "node_modules/dependency/lib.js": "exports.name = 'dependency'; exports.handler = async () => 'of a package';",
    "imports.mjs": "import { name } from 'dependency'; export const handler = async () => name;",
    "requires.js": "const { name } = require('dependency'); exports.handler = async () => name;",
    "dynamic.js": "exports.handler = async () => (await import('./module.mjs')).handler();",
    "throws.js": "throw new RangeError('while loading');",
    "throws-text.js": "throw 'a text';",
    "rejects.mjs": "await Promise.reject(new TypeError('at the top')); export const handler = async () => 1;",
    "syntax.js": "exports.handler = async () => {\n  return 1 +;\n};",
    "syntax.mjs": "export const handler = async () => { return 1 +; };",
    "missing.js": "require('nowhere'); exports.handler = async () => 1;",
    "missing.mjs": "import 'nowhere'; export const handler = async () => 1;",
    "empty.js": "",
    "this.js": "exports.handler = function () { return Promise.resolve(this.constructor.name); };",
    "surroundings.js": "exports.handler = async () => [require.main === undefined, process.argv.length, __filename, "
    "require('fs').readFileSync(0).length];",
}


def invoke(functions: FunctionSet, handler: str, runtime: str = OLD, **members: Any) -> Any:
    return functions.invoke(functions.create(files=FILES, Runtime=runtime, Handler=handler, Timeout=10, **members))


@pytest.mark.parametrize(
    ("handler", "value"),
    [
        ("app.handler", "cjs"),
        ("./app.handler", "cjs"),
        ("module.handler", "mjs"),
        ("module.default", "default"),
        ("common.handler", "cjs file"),
        ("both.handler", "js first"),
        ("nested.a.b.c", "nested"),
        ("awaiting.handler", "awaited"),
        ("folder/deep/app.handler", "deep"),
        ("typed/app.handler", "esm"),
        ("typed/common.handler", "cjs"),
        ("typed/below/app.handler", "esm"),
        ("typed/broken/app.handler", Threw("Runtime.ImportModuleError", "...")),
        ("bare.handler", "cjs"),
        ("packaged/index.handler", "cjs"),
        ("dependency.handler", "of a package"),
        ("imports.handler", "dependency"),
        ("requires.handler", "dependency"),
        ("dynamic.handler", "mjs"),
        ("this.handler", "Runtime"),
    ],
)
def test_what_a_name_means(functions: FunctionSet, handler: str, value: Any) -> None:
    found = outcome(invoke(functions, handler))
    if handler == "typed/broken/app.handler":
        # Node itself says what is wrong with the file.
        assert "package.json" in found.message
    else:
        assert found == value


NOT_FOUND = "{} is undefined or not exported"
REFUSED = {
    "app.nowhere": ("Runtime.HandlerNotFound", NOT_FOUND),
    "app.": ("Runtime.HandlerNotFound", NOT_FOUND),
    "app.handler.more": ("Runtime.HandlerNotFound", NOT_FOUND),
    "empty.handler": ("Runtime.HandlerNotFound", NOT_FOUND),
    "nested.a.x.c": ("Runtime.HandlerNotFound", NOT_FOUND),
    "nested.zero": ("Runtime.HandlerNotFound", NOT_FOUND),
    "nested.text": ("Runtime.HandlerNotFound", "{} is not a function"),
    "nested.a": ("Runtime.HandlerNotFound", "{} is not a function"),
    "app": ("Runtime.MalformedHandlerName", "Bad handler"),
    "folder/app": ("Runtime.MalformedHandlerName", "Bad handler"),
    "folder/../app.handler": (
        "Runtime.MalformedHandlerName",
        "'{}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.",
    ),
    "nowhere.handler": (
        "Runtime.ImportModuleError",
        "Error: Cannot find module 'nowhere'\nRequire stack:\n- /var/runtime/index.mjs",
    ),
    "syntax.handler": ("Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token ';'"),
    "throws.handler": ("RangeError", "while loading"),
    "throws-text.handler": ("string", "a text"),
    "rejects.handler": ("TypeError", "at the top"),
}


@pytest.mark.parametrize("handler", REFUSED)
def test_what_is_said_when_there_is_none(functions: FunctionSet, handler: str) -> None:
    answer = invoke(functions, handler)
    kind, message = REFUSED[handler]
    assert outcome(answer) == Threw(kind, message.format(handler))
    assert list(answer.value) == ["errorType", "errorMessage", "trace"]
    assert not any("environments/node" in line for line in answer.value["trace"])


@pytest.mark.parametrize("runtime", [OLD, NEW])
def test_an_import_that_fails(functions: FunctionSet, runtime: str) -> None:
    found = outcome(invoke(functions, "missing.handler", runtime))
    assert found.type == "Runtime.ImportModuleError"
    assert found.message.startswith("Error: Cannot find module 'nowhere'\nRequire stack:\n- ")
    assert "/missing.js" in found.message


def test_an_import_of_a_module_that_fails(functions: FunctionSet) -> None:
    name = functions.create(files={"app.mjs": FILES["missing.mjs"]}, Runtime=OLD, Handler="app.handler", Timeout=10)
    answer = functions.invoke(name)
    # As on AWS, which gives only CommonJS an error type of its own.
    assert answer.value["errorType"] == "Error"
    assert answer.value["errorMessage"].startswith("Cannot find package 'nowhere' imported from ")


@pytest.mark.parametrize(("runtime", "status", "label"), [(OLD, 129, "Uncaught Exception"), (NEW, 1, "Init Error")])
def test_a_failed_init_is_logged_once(functions: FunctionSet, runtime: str, status: int, label: str) -> None:
    name = functions.create(files=FILES, Runtime=runtime, Handler="throws.handler", Timeout=10)
    functions.invoke(name)
    log = functions.log_lines(name)
    identifier = "undefined" if runtime == OLD else "-"
    records = [line for line in log if "while loading" in line]
    assert len(records) == 1
    assert f'\t{identifier}\tERROR\t{label} \t{{"errorType":"RangeError","errorMessage":"while loading"' in records[0]


@pytest.mark.parametrize(("runtime", "end"), [(OLD, "exit status 13"), (NEW, "exited without providing a reason")])
def test_a_module_that_awaits_what_never_comes(functions: FunctionSet, runtime: str, end: str) -> None:
    source = "await new Promise(() => {}); export const handler = async () => 1;"
    name = functions.create(files={"app.mjs": source}, Runtime=runtime, Handler="app.handler", Timeout=10)
    answer = functions.invoke(name)
    assert answer.value["errorType"] == "Runtime.ExitError"
    assert answer.value["errorMessage"].endswith(end)
    (line,) = {line.partition("\tWARN\t")[2] for line in functions.log_lines(name)} - {""}
    assert "awaits something at its top level that never comes" in line


def test_a_rejection_that_the_module_leaves_unhandled(functions: FunctionSet) -> None:
    source = "Promise.reject(new Error('early')); exports.handler = async () => 1;"
    answer = functions.invoke(
        functions.create(files={"app.js": source}, Runtime=OLD, Handler="app.handler", Timeout=10)
    )
    assert outcome(answer) == Threw("Runtime.UnhandledPromiseRejection", "Error: early")


def test_a_module_that_looks_like_a_script(functions: FunctionSet) -> None:
    """Up to nodejs22.x a module needs a package.json or the suffix .mjs; AWS switches node's guessing off."""
    answer = functions.invoke(
        functions.create(files={"app.js": ESM}, Runtime="nodejs22.x", Handler="app.handler", Timeout=10)
    )
    assert outcome(answer).type == "Runtime.UserCodeSyntaxError"
    variables = {"NODE_OPTIONS": "--experimental-require-module --experimental-detect-module"}
    if max(MAJORS) >= 20:
        name = functions.create(
            files={"app.js": ESM},
            Runtime="nodejs22.x",
            Handler="app.handler",
            Timeout=10,
            Environment={"Variables": variables},
        )
        assert functions.invoke(name).value == "esm"


def test_the_program_around_a_function(functions: FunctionSet) -> None:
    no_main, arguments, file, standard_input = invoke(functions, "surroundings.handler").value
    assert (no_main, arguments, standard_input) == (True, 2, 0)
    assert file.endswith("/surroundings.js")
