"""The framework in archives that ``vk`` makes: there when the code imports it and does not bring it."""

from __future__ import annotations

import io
import zipfile

import pytest

from venturekit.cli.code import load_code

HANDLER = "from venturekit.runtime import handler\n\n@handler\ndef main(body):\n    return body\n"


def names(code):
    return zipfile.ZipFile(io.BytesIO(code.archive)).namelist()


@pytest.mark.parametrize(
    "source",
    [
        HANDLER,
        "import venturekit.runtime as vk\ndef main(event, context): pass\n",
        "def main(event, context):\n    from venturekit.runtime import invoke\n",
    ],
)
def test_code_that_imports_it_gets_it(tmp_path, source):
    (tmp_path / "app.py").write_text(source)
    for given in (tmp_path / "app.py", tmp_path):
        found = names(load_code(str(given)))
        assert {"app.py", "venturekit/__init__.py", "venturekit/runtime/__init__.py"} <= set(found)
        assert len(found) == len(set(found))
        # What runs on a machine and not in a function stays there.
        assert not any(name.startswith(("venturekit/service", "venturekit/cli", "venturekit/ric")) for name in found)


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context): pass\n",
        "# from venturekit.runtime import handler\ndef handler(event, context): return 'venturekit'\n",
        "import venturekitty\n",
        "from .venturekit import x\n",
        "this is venturekit, and no Python\n",
    ],
)
def test_other_code_does_not(tmp_path, source):
    (tmp_path / "app.py").write_text(source)
    assert names(load_code(str(tmp_path / "app.py"))) == ["app.py"]


def test_code_that_brings_it_keeps_its_own(tmp_path):
    (tmp_path / "app.py").write_text(HANDLER)
    (tmp_path / "venturekit").mkdir()
    (tmp_path / "venturekit" / "__init__.py").write_text("")
    assert names(load_code(str(tmp_path))) == ["app.py", "venturekit/__init__.py"]


@pytest.mark.parametrize(
    ("source", "handler"),
    [
        (HANDLER, "app.main"),
        ("from venturekit.runtime import handler\n\n@handler\ndef handler(body): pass\n", "app.handler"),
        ("def main(e, c): pass\ndef handler(e, c): pass\n", "app.handler"),
    ],
)
def test_the_function_that_makes_handlers_is_none(tmp_path, source, handler):
    (tmp_path / "app.py").write_text(source)
    assert load_code(str(tmp_path / "app.py")).handler == handler


def test_one_file_runs_with_the_framework(vk, tmp_path):
    source = tmp_path / "task.py"
    source.write_text(
        "from venturekit.runtime import task_handler\n\n@task_handler\ndef main(event, ctx):\n    return ctx.event\n"
    )
    done = vk("run", str(source), "--payload", '{"a": 1}')
    assert (done.status, done.out) == (0, b'{"a": 1}'), done.err
    assert "task completed" in done.err
