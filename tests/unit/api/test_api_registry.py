"""The registry and the page generated from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.api.compatibility import render_compatibility
from venturekit.service.api.registry import Call, Level, Registry, Status

if TYPE_CHECKING:
    from types import ModuleType

    from venturekit.service.api.operations import OperationTable

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "compatibility.py"


async def answer(call: Call) -> dict[str, Any]:
    return {}


def test_levels(registry: Registry) -> None:
    assert registry.serve("GetFunction")(answer) is answer
    registry.serve("ListFunctions", partly="no MasterRegion")(answer)
    registry.declare("Invoke")
    registry.decline("InvokeAsync", "superseded")
    assert registry.handler("GetFunction") is answer
    assert registry.handler("Invoke") is None
    assert registry.status("GetFunction") == Status(Level.SERVED, "")
    assert registry.status("ListFunctions") == Status(Level.PARTLY, "no MasterRegion")
    assert registry.status("Invoke") == Status(Level.SERVED, "")
    assert registry.status("InvokeAsync") == Status(Level.NOT, "superseded")
    assert registry.status("GetPolicy") == Status(Level.NOT, "not built")


def test_an_unknown_operation_is_refused_everywhere(registry: Registry) -> None:
    for register in (registry.serve, registry.declare, registry.status, lambda name: registry.decline(name, "r")):
        with pytest.raises(LookupError, match="'GetFunktion' is not an operation"):
            register("GetFunktion")


def test_an_operation_is_registered_once(registry: Registry) -> None:
    twice = registry.serve("GetFunction")
    twice(answer)
    for register in (twice, lambda _: registry.serve("GetFunction"), lambda _: registry.decline("GetFunction", "r")):
        with pytest.raises(ValueError, match="GetFunction is registered already"):
            register(answer)


def test_the_page_lists_every_operation_once(registry: Registry, table: OperationTable) -> None:
    registry.serve("GetFunction")(answer)
    registry.serve("ListFunctions", partly="one | two")(answer)
    text = render_compatibility(table, registry)
    total = len(table.operations)
    assert f"| Served | 1 |\n| Partly served | 1 |\n| Not served | {total - 2} |\n| All | {total} |\n" in text
    assert "| GetFunction | GET `/2015-03-31/functions/{FunctionName}` |\n" in text
    assert "| ListFunctions | GET `/2015-03-31/functions` | one \\| two |\n" in text
    assert "| GetLayerVersionByArn | GET `/2018-10-31/layers?find=LayerVersion` | not built |\n" in text
    assert all(text.count(f"\n| {name} | ") == 1 for name in table.operations)
    assert text.endswith("|\n")


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_written_and_checked(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry()
    monkeypatch.setattr(script, "PAGE", tmp_path / "docs" / "compatibility.md")
    monkeypatch.setattr(script, "load_registry", lambda: registry)
    assert script.main(["--check"]) == 1
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    capsys.readouterr()
    registry.declare("Invoke")
    assert script.main(["--check"]) == 1
    shown = capsys.readouterr().err
    assert "-| Served | 0 |" in shown
    assert "+| Served | 1 |" in shown
    assert "run scripts/compatibility.py" in shown
