"""Which program an environment starts, in which mode, and when it starts nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.environments.test_environment_variables import SPEC
from venturekit.service.environments.interpreters import Interpreter
from venturekit.service.environments.nodes import Node
from venturekit.service.environments.runtimes import (
    AWSLAMBDARIC_PROGRAM,
    PythonSettings,
    StartPlan,
    StartRefusedError,
    is_served,
    plan_start,
)

P311 = Interpreter((3, 11), "/usr/bin/python3.11")
P312 = Interpreter((3, 12), "/usr/bin/python3.12")


def python(**changes: Any) -> PythonSettings:
    settings = PythonSettings(
        interpreters=[P311, P312],
        own=P311,
        runtime="ric",
        start="fork",
        strict=False,
        spawn_script=Path("/spawn.py"),
        ric_directory=Path("/ric"),
        awslambdaric_interpreter=P311,
    )
    return replace(settings, **changes)


def test_python_is_forked_from_its_interpreter() -> None:
    assert plan_start(SPEC, python()) == StartPlan("fork", ("bootstrap.py", "app.handler"), P312, framed_log=True)


def test_python_may_be_spawned() -> None:
    argv = ("/usr/bin/python3.12", "-S", "/spawn.py", "/ric", "app.handler")
    plan = plan_start(SPEC, python(start="spawn"))
    assert plan == StartPlan("exec", argv, P312, framed_log=True, extras=("/spawn.py", "/ric"))
    assert plan.needed == ("/usr/bin/python3.12", "/usr/lib", "/usr/lib64", "/spawn.py", "/ric")


def test_another_interpreter_is_warned_of() -> None:
    plan = plan_start(replace(SPEC, runtime="python3.13"), python())
    assert plan.interpreter == P312
    assert plan.warning is not None
    assert "python3.13" in plan.warning


@pytest.mark.parametrize("settings", [{"strict": True}, {"interpreters": []}])
def test_no_interpreter(settings: dict[str, Any]) -> None:
    with pytest.raises(StartRefusedError, match=r"3\.13") as caught:
        plan_start(replace(SPEC, runtime="python3.13"), python(**settings))
    assert caught.value.error_type == "Runtime.InvalidRuntime"


def test_awslambdaric() -> None:
    argv = ("/usr/bin/python3.11", "-S", "-c", AWSLAMBDARIC_PROGRAM, "app.handler")
    exact = plan_start(replace(SPEC, runtime="python3.11"), python(runtime="awslambdaric"))
    assert exact == StartPlan("exec", argv, P311, framed_log=True)
    other = plan_start(SPEC, python(runtime="awslambdaric"))
    assert other.argv == argv
    assert other.warning is not None
    assert "awslambdaric is installed for that one only" in other.warning


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"awslambdaric_interpreter": None}, "pip install"), ({"strict": True}, "awslambdaric is installed for")],
)
def test_awslambdaric_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(StartRefusedError, match=text) as caught:
        plan_start(SPEC, python(runtime="awslambdaric", **settings))
    assert caught.value.error_type == "Runtime.InvalidRuntime"


@pytest.mark.parametrize("runtime", ["provided", "provided.al2", "provided.al2023"])
def test_the_bootstrap_is_looked_for_in_the_code_then_in_the_layers(tmp_path: Path, runtime: str) -> None:
    code, low, high = (tmp_path / name for name in ("code", "low", "high"))
    spec = replace(SPEC, runtime=runtime, code_directory=code, layers=(low, high))
    for folder in (low, high, code):
        folder.mkdir()
        (folder / "bootstrap").touch()
        assert plan_start(spec, python()) == StartPlan("exec", (str(folder / "bootstrap"),))


def test_no_bootstrap(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").mkdir()
    with pytest.raises(StartRefusedError) as caught:
        plan_start(replace(SPEC, runtime="provided.al2023", code_directory=tmp_path), python())
    assert caught.value.error_type == "Runtime.InvalidEntrypoint"
    assert str(caught.value) == "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"


@pytest.mark.parametrize(
    ("runtime", "served"),
    [
        ("python3.12", True),
        ("provided", True),
        ("provided.al2023", True),
        ("nodejs22.x", True),
        ("nodejs4.3", False),
        ("python2.7", False),
    ],
)
def test_what_is_served(tmp_path: Path, runtime: str, served: bool) -> None:
    assert is_served(runtime) == served
    (tmp_path / "bootstrap").touch()
    spec = replace(SPEC, runtime=runtime, code_directory=tmp_path)
    if served:
        assert isinstance(plan_start(spec, python(), [Node((22, 1, 0), "/node")]), StartPlan)
    else:
        with pytest.raises(StartRefusedError, match="not served"):
            plan_start(spec, python())
