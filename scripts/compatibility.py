"""Write docs/compatibility.md from the service's registry, or check that it is up to date (--check)."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from venturekit.service.api.registry import Registry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "compatibility.md"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when the page was written or is up to date, 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the page is out of date")
    options = parser.parse_args(arguments)

    from venturekit.service.api.compatibility import render_compatibility
    from venturekit.service.api.model import service_model
    from venturekit.service.api.operations import OperationTable

    table = OperationTable(service_model().operations.values())
    text = render_compatibility(table, load_registry()) + render_runtimes()
    return check_page(PAGE, text) if options.check else write_page(PAGE, text)


def render_runtimes() -> str:
    """The section about runtimes: which functions can be created, and which of them run."""
    from venturekit.service.environments.runtimes import is_served
    from venturekit.service.functions.runtimes import SERVED

    rows = [
        f"| {runtime} | {'yes' if is_served(runtime) else 'not yet: Invoke answers InvalidRuntimeException'} |"
        for runtime in SERVED
    ]
    head = "\n## Runtimes\n\nFunctions of these runtimes can be created; the others are refused by CreateFunction.\n"
    return "\n".join([head, "| Runtime | Runs |", "|---|---|", *rows, ""])


def load_registry() -> Registry:
    """The registry that the service assembles."""
    from venturekit.service.served import compatibility_registry

    return compatibility_registry()


def write_page(page: Path, text: str) -> int:
    """Write ``text``. Returns 0."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return 0


def check_page(page: Path, text: str) -> int:
    """0 when ``page`` holds ``text``; else 1, with the difference on standard error."""
    present = page.read_text(encoding="utf-8") if page.exists() else ""
    if present == text:
        return 0
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), str(page.name), "registry", lineterm="")
    print("\n".join(lines), file=sys.stderr)
    print(f"{page.name} is out of date: run scripts/compatibility.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
