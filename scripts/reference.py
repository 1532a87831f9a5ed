"""Write the pages of docs/reference from what the code declares, or check that they are current (--check)."""

from __future__ import annotations

import argparse
import ast
import difflib
import enum
import inspect
import re
import sys
import textwrap
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
WIDTH = 100
EXPLAINED = r"``\w+``(?:, ``\w+``)*:"
NOTE = "<!-- Written by scripts/reference.py: change the declarations, not this page. -->"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when the pages were written or are current, 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a page is out of date")
    options = parser.parse_args(arguments)
    status = 0
    for name, text in pages().items():
        page = FOLDER / name
        if not options.check:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        elif not is_current(page, text):
            status = 1
    return status


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    return {"cli.md": commands_page(), "client.md": client_page(), "settings.md": settings_page()}


def is_current(page: Path, text: str) -> bool:
    """Whether a page holds this text; if not, the difference goes to standard error."""
    present = page.read_text(encoding="utf-8") if page.exists() else ""
    if present == text:
        return True
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), page.name, "declared", lineterm="")
    print("\n".join(lines), f"{page.name} is out of date: run scripts/reference.py", sep="\n", file=sys.stderr)
    return False


def settings_page() -> str:
    """Every setting of the service."""
    from venturekit.cli.serve import READY_FILE, READY_FILE_HELP, shown_default
    from venturekit.service.config import SETTINGS, Settings

    defaults = Settings()
    rows = []
    for setting in SETTINGS:
        default = getattr(defaults, setting.name)
        shown = "" if default in ("", None, ()) else f"`{shown_default(default)}`"
        flag = f"`{setting.flag}`"
        if isinstance(default, bool):
            flag += f" `--no-{setting.flag[2:]}`"
        rows.append((flag, f"`{setting.variable}`", shown, setting.help))
    return document(
        "# Settings of the service",
        NOTE,
        "Each setting is an option of [`vk serve`](cli.md#vk-serve) and an environment variable. The option wins over "
        "the variable, the variable over the default; an empty variable counts as not set. `vk doctor` shows the value "
        "of each and where it comes from. Switches take `true` or `false` in their variable.",
        table(("Option", "Variable", "Default", "Meaning"), rows),
        f"`vk serve` also takes `{READY_FILE} PATH`. {READY_FILE_HELP}",
    )


def commands_page() -> str:
    """Every command with its arguments and options."""
    import typer.main

    from venturekit.cli import commands
    from venturekit.cli.exits import MEANINGS

    group: Any = typer.main.get_command(commands.build_app())
    return document(
        "# The `vk` command",
        NOTE,
        f"{commands.SUMMARY} `python -m venturekit` is the same command. Answers and lists go to standard output, "
        "everything else to standard error. Colours and tables appear on a terminal only, colours not with `NO_COLOR`.",
        "## Exit status",
        table(("Status", "Meaning"), [(str(status), meaning) for status, meaning in MEANINGS]),
        "## Which service",
        "Commands that talk to a service take the address from `--endpoint-url`, else from `AWS_ENDPOINT_URL_LAMBDA` "
        "or `AWS_ENDPOINT_URL`, else `http://127.0.0.1` with port `VENTUREKIT_PORT` or 9001. They sign with "
        "`VENTUREKIT_ACCESS_KEY_ID` and `VENTUREKIT_SECRET_ACCESS_KEY`, else with AWS's variables of these names, else "
        "not at all; profiles are not read. `AWS_CA_BUNDLE` names the authorities to trust with https.",
        *(part for name, command in group.commands.items() for part in command_parts(f"vk {name}", command)),
    )


def command_parts(path: str, command: Any) -> Iterable[str]:
    """The section of a command and those of its own commands."""
    yield f"## `{path}`" if path.count(" ") == 1 else f"### `{path}`"
    yield inspect.cleandoc(command.help or "")
    if path == "vk serve":
        yield (
            "The first SIGINT or SIGTERM lets running invocations finish (`--drain-timeout`) and exits with 0; the "
            "second exits at once, with 130. The options are the [settings](settings.md)."
        )
        return
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    if arguments:
        yield table(
            ("Argument", "Meaning"), [(f"`{item.metavar or item.name.upper()}`", item.help) for item in arguments]
        )
    options = [item for item in command.params if item.param_type_name == "option"]
    if options:
        yield table(("Option", "Default", "Meaning"), [option_row(item) for item in options])
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_parts(f"{path} {name}", inner)


def option_row(option: Any) -> tuple[str, str, str]:
    """Names, default and meaning of an option."""
    names = " ".join(f"`{name}`" for name in option.opts)
    if not option.is_flag:
        names += f" `{option.metavar}`"
    has_default = not option.is_flag and option.default not in (None, "", [])
    return names, f"`{option.default}`" if has_default else "", option.help or ""


def client_page() -> str:
    """The public names of `venturekit.client`, by what they are."""
    import venturekit.client
    from venturekit.client import Command, LambdaServiceException, Output, Structure, errors

    public = {name: getattr(venturekit.client, name) for name in venturekit.client.__all__}
    kinds = {name: value for name, value in public.items() if inspect.isclass(value)}
    failures = [name for name, kind in kinds.items() if issubclass(kind, Exception)]
    choices = [name for name, kind in kinds.items() if issubclass(kind, enum.Enum)]
    commands = [name for name, kind in kinds.items() if issubclass(kind, Command)]
    outputs = [name for name, kind in kinds.items() if issubclass(kind, Output)]
    structures = [name for name, kind in kinds.items() if issubclass(kind, Structure)]
    clients = ["LambdaClient", "AsyncLambdaClient"]
    sections = {
        "Clients": clients,
        "Commands": commands,
        "Outputs": outputs,
        "Structures": [name for name in structures if name not in (*commands, *outputs)],
        "Enumerations": choices,
        "Configuration, answers, streams, pages": [
            name for name in public if name not in (*clients, *failures, *choices, *structures)
        ],
    }
    tree = inspect.cleandoc(errors.__doc__ or "").partition("LambdaClientError")
    drawn = "LambdaClientError" + tree[2].partition("\n\n")[0]
    rows = [
        (f"`{name}`", inline(first_paragraph(kinds[name])), f"`{kinds[name].__mro__[1].__name__}`")
        for name in sorted(failures, key=lambda name: (issubclass(kinds[name], LambdaServiceException), name))
    ]
    return document(
        "# The client of the Lambda API",
        NOTE,
        markdown(inspect.getdoc(venturekit.client) or ""),
        *(
            part
            for title, names in sections.items()
            for part in (f"## {title}", *(part for name in names for part in class_parts(name, public[name])))
        ),
        "## Errors",
        f"```text\n{drawn}\n```",
        markdown(inspect.getdoc(LambdaServiceException) or ""),
        table(("Error", "Meaning", "Is a"), rows),
    )


def class_parts(name: str, kind: Any) -> Iterable[str]:
    """What a class is, its members or values, and its methods."""
    from venturekit.client import Structure

    yield f"### `{name}`"
    yield markdown(inspect.getdoc(kind) or "")
    if issubclass(kind, enum.Enum):
        yield ", ".join(f"`{member.value}`" for member in kind)
        return
    members = getattr(kind, "members", ()) if isinstance(getattr(kind, "members", ()), tuple) else ()
    if members:
        types = {
            name: text
            for base in reversed(kind.__mro__)
            for name, text in vars(base).get("__annotations__", {}).items()
        }
        rows = [
            (f"`{member}`", f"`{plain_type(types[member])}`", "yes" if member in kind.required else "")
            for member in members
        ]
        yield table(("Member", "Type", "Required"), rows)
        return
    own = {"plain", "replaced"} if issubclass(kind, Structure) else None
    shown: set[str] = set()
    for base in kind.__mro__ if own is None else (kind,):
        for method, value in vars(base).items():
            is_public = not method.startswith("_") if own is None else method in own
            if is_public and method not in shown and base.__module__.startswith("venturekit."):
                shown.add(method)
                yield from method_parts(name, method, value)


def method_parts(name: str, method: str, value: Any) -> Iterable[str]:
    """A method or property with what its docstring says."""
    if isinstance(value, property):
        yield f"`{name}.{method}`: {inline(first_paragraph(value.fget))}"
    elif inspect.isfunction(value):
        yield f"#### `{name}.{method}`"
        forms = [signature(found) for found in typing.get_overloads(value) or [value]]
        yield "\n".join(("```python", *forms, "```"))
        yield markdown(inspect.getdoc(value) or "")


def signature(function: Any) -> str:
    """How a function is declared, in one line or in several."""
    node: Any = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    arguments = re.sub(r"^self(?:, /)?(?:, )?", "", ast.unparse(node.args))
    start = f"{'async ' if isinstance(node, ast.AsyncFunctionDef) else ''}def {node.name}("
    line = f"{start}{arguments}){returns}"
    if len(line) <= WIDTH:
        return line
    # At the commas that are not within brackets.
    parts = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", arguments)
    return "\n".join((start, *(f"    {part.strip()}," for part in parts), f"){returns}"))


def plain_type(text: str) -> str:
    """An annotation without the names of modules, and without the aliases that hide members."""
    return re.sub(r"\b(?:enums\.|_(?=[A-Z]))|(?<=EventStream)Output\b", "", text)


def first_paragraph(value: Any) -> str:
    """What a docstring begins with, in one line."""
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def inline(text: str) -> str:
    """A text whose code is between single backticks."""
    return text.replace("``", "`")


def markdown(docstring: str) -> str:
    """A docstring as Markdown, without its sources: what is indented is code, lines that explain a name are a list."""
    parts: list[str] = []
    is_all_code = announced = False
    for block in docstring.split("\n\n"):
        # Where a docstring is one line and code, the indentation of the code is not seen.
        is_all_code = is_all_code or (announced and not block.startswith("    "))
        announced = block.endswith("::") and not is_all_code
        if is_all_code or block.startswith("    "):
            parts.append(f"```python\n{textwrap.dedent(block)}\n```")
        elif re.match(EXPLAINED, block):
            lines = (f"- {line}" if re.match(EXPLAINED, line) else f"  {line}" for line in block.split("\n"))
            parts.append(inline("\n".join(lines)))
        elif not block.startswith("Source"):
            parts.append(inline(re.sub(r"::$", ":", block)))
    return "\n\n".join(parts).replace("\n```\n\n```python\n", "\n\n")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def document(*parts: str) -> str:
    """Parts with an empty line between them."""
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
