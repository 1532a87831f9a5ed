"""What a function's JavaScript suggests: which file is the function, and which of its exports the handler.

Nothing is executed, and a file is not parsed: the exports are looked for as they are usually written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SUFFIXES: Final = (".mjs", ".js", ".cjs")
TYPESCRIPT_SUFFIXES: Final = (".ts", ".mts", ".cts", ".tsx")
MAIN_STEMS: Final = ("index", "app", "handler", "main")
"""Of several files beside one another, the function is the first of these names: ``index`` is AWS's."""
HANDLER_NAMES: Final[tuple[str, ...]] = ("handler", "lambda_handler", "lambdaHandler")
_NAME: Final = r"([A-Za-z_$][\w$]*)"
_EXPORTS: Final = (
    re.compile(rf"\bexport\s+(?:async\s+)?(?:const|let|var|class|function\s*\*?)\s+{_NAME}"),
    re.compile(rf"\bexports\.{_NAME}\s*="),
)
_EXPORT_LISTS: Final = re.compile(r"(?:\bexport|\bmodule\.exports\s*=)\s*\{([^}]*)\}")
_EXPORTED_AS: Final = re.compile(rf"(?:[\w$]+\s+as\s+)?{_NAME}\s*(?:[:(].*)?", re.DOTALL)
_COMMENTS: Final = re.compile(r"/\*.*?\*/|(?<!:)//[^\n]*", re.DOTALL)


def is_node(names: Collection[str]) -> bool:
    """Whether an archive with files of these names is a function for Node.js: JavaScript at the top, and no Python."""
    top = [name for name in names if "/" not in name]
    return any(name.endswith(SUFFIXES) for name in top) and not any(name.endswith(".py") for name in top)


def main_file(names: Collection[str]) -> str | None:
    """The file of the handler: the only one at the top, or the one of an usual name. None when that does not tell."""
    if not is_node(names):
        return None
    top = sorted(name for name in names if "/" not in name and name.endswith(SUFFIXES))
    if len(top) == 1:
        return top[0]
    return next((stem + suffix for stem in MAIN_STEMS for suffix in SUFFIXES if stem + suffix in top), None)


def default_handler(path: Path) -> str:
    """``MODULE.FUNCTION`` for a JavaScript file: the first of HANDLER_NAMES that it exports, else the only export."""
    exported = exported_names(path.read_text(encoding="utf-8", errors="replace"))
    name = next((name for name in HANDLER_NAMES if name in exported), None)
    if name is None:
        name = exported[0] if len(exported) == 1 else HANDLER_NAMES[0]
    return f"{path.name.removesuffix(path.suffix)}.{name}"


def exported_names(source: str) -> list[str]:
    """The names that a file seems to export, ``default`` among them, each once."""
    source = _COMMENTS.sub("", source)
    found = [name for pattern in _EXPORTS for name in pattern.findall(source)]
    for listed in _EXPORT_LISTS.findall(source):
        for part in listed.split(","):
            match = _EXPORTED_AS.match(part.strip())
            if match is not None:
                found.append(match[1])
    if re.search(r"\bexport\s+default\b", source):
        found.append("default")
    return list(dict.fromkeys(found))
