"""Which export of a JavaScript file is the handler, and which runtime a file asks for. Decides without node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.cli import code
from venturekit.cli.code import load_code, node_runtime
from venturekit.cli.exits import CommandError
from venturekit.cli.javascript import default_handler, exported_names, is_node, main_file
from venturekit.service.environments import nodes
from venturekit.service.environments.nodes import Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", []),
        ("export const handler = async () => 1;", ["handler"]),
        ("export async function handler(event) {}", ["handler"]),
        ("export function* walk() {}", ["walk"]),
        ("export class A {}\nexport let b, c;\nexport var $d = 1;", ["A", "b", "$d"]),
        ("exports.handler = () => {}; module.exports.other = 2", ["handler", "other"]),
        ("exports . handler = 1", []),
        ("module.exports = { handler, other: thing, third() {} };", ["handler", "other", "third"]),
        ("export { one, two as handler };", ["one", "handler"]),
        ("export default async () => 1;", ["default"]),
        ("export default class {}\nexport const a = 1;", ["a", "default"]),
        ("// export const no = 1;\n/* exports.neither = 2; */ export const yes = 'http://x';", ["yes"]),
        ("const exported = 1; reexports.handler = 2;", []),
        ("if (exports.handler == 1) {}", ["handler"]),
        ("export const a = 1; exports.a = 2;", ["a"]),
    ],
)
def test_exported_names(source: str, names: list[str]) -> None:
    assert exported_names(source) == names


@pytest.mark.parametrize(
    ("name", "source", "handler"),
    [
        ("app.mjs", "export const other = 1; export const handler = 2;", "app.handler"),
        ("app.mjs", "export const lambdaHandler = 2; export const other = 1;", "app.lambdaHandler"),
        ("app.mjs", "export const greet = 1;", "app.greet"),
        ("app.mjs", "export default () => 1;", "app.default"),
        ("app.mjs", "export const a = 1; export const b = 2;", "app.handler"),
        ("index.cjs", "", "index.handler"),
        ("index.js", "\xff\xfe not text", "index.handler"),
    ],
)
def test_the_default_handler(tmp_path: Path, name: str, source: str, handler: str) -> None:
    (tmp_path / name).write_bytes(source.encode("latin-1"))
    assert default_handler(tmp_path / name) == handler
    assert load_code(str(tmp_path / name)).handler == handler


@pytest.mark.parametrize(
    ("names", "node", "main"),
    [
        ([], False, None),
        (["app.py"], False, None),
        (["app.py", "app.js"], False, None),
        (["static/app.js"], False, None),
        (["one.js"], True, "one.js"),
        (["one.js", "two.js"], True, None),
        (["main.js", "app.cjs", "x.mjs"], True, "app.cjs"),
        (["index.js", "index.mjs", "app.js"], True, "index.mjs"),
        (["one.mjs", "node_modules/a/index.js"], True, "one.mjs"),
        (["ONE.JS"], False, None),
    ],
)
def test_the_main_file(names: list[str], node: bool, main: str | None) -> None:
    assert (is_node(names), main_file(names)) == (node, main)


@pytest.mark.parametrize(
    ("majors", "runtime"),
    [
        ((), "nodejs22.x"),
        ((20,), "nodejs20.x"),
        ((18, 20), "nodejs20.x"),
        ((23, 26), "nodejs22.x"),
        ((18, 24), "nodejs24.x"),
    ],
)
def test_the_runtime_is_that_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, majors: tuple[int, ...], runtime: str
) -> None:
    found = [Node((major, 0, 0), f"/node{major}") for major in majors]
    monkeypatch.setattr(nodes, "find_nodes", lambda _environ, _home: found)
    assert node_runtime() == runtime
    assert code.NODE_DEFAULT == "nodejs22.x"


@pytest.mark.parametrize("suffix", [".ts", ".mts", ".cts", ".tsx"])
def test_typescript_has_to_be_compiled_first(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"app{suffix}"
    file.write_text("export const handler = async (event: unknown) => event;")
    with pytest.raises(
        CommandError, match="is TypeScript, which no runtime executes: compile it first: npx esbuild app"
    ):
        load_code(str(file))


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="export {}=.,asmodule/*\n defaultconst\"'", max_size=200))
def test_any_text_is_taken(source: str) -> None:
    assert all(re.fullmatch(r"[A-Za-z_$][\w$]*", name) for name in exported_names(source))
