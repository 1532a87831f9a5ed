"""Python functions that bring shared libraries are executed: a forked process's loader does not look for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.environments.test_environment_variables import SPEC
from tests.unit.environments.test_start_plans import python
from venturekit.service.environments.runtimes import has_libraries, plan_start

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("lib/libx.so", True),
        ("lib/libx.so.1.2", True),
        ("lib/readme.txt", False),
        ("libx.so", False),
        ("python/lib/libx.so", False),
        ("lib", False),
    ],
)
@pytest.mark.parametrize("place", ["code", "low", "high"])
def test_libraries_in_code_or_any_layer(tmp_path: Path, place: str, path: str, found: bool) -> None:
    folders = {name: tmp_path / name for name in ("code", "low", "high")}
    for folder in folders.values():
        folder.mkdir()
    file = folders[place] / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    spec = replace(SPEC, code_directory=folders["code"], layers=(folders["low"], folders["high"]))
    assert has_libraries(spec) == found
    plan = plan_start(spec, python())
    assert plan.mode == ("exec" if found else "fork")
    # Whatever the mode, the interpreter is the same and the log is framed.
    assert (plan.interpreter, plan.framed_log) == (plan_start(SPEC, python()).interpreter, True)
    assert plan_start(spec, python(start="spawn")).mode == "exec"
