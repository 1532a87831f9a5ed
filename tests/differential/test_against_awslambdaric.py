"""Our runtime interface client against AWS's, unmodified: the same functions, the same events, the same behaviour."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.cases import CASES, Case
from tests.differential.scripted_api import Observation, observe
from tests.forms import thinned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPARED = ("answers", "events_taken", "status", "stdout", "stderr", "frames")
OURS, AWS = "venturekit.ric", "awslambdaric"


class Difference:
    """Fields of an observation in which the two clients differ on purpose, and what ours shows instead."""

    def __init__(self, reason: str, fields: str, ours: Callable[[Observation], bool]) -> None:
        self.reason = reason
        self.fields = set(fields.split())
        self.ours = ours


def _body(observation: Observation, number: int = 0) -> Any:
    return json.loads(observation.answers[number]["body"])


def _no_frames(observation: Observation) -> bool:
    return _body(observation)["stackTrace"] == []


def _frames_start_in_the_function(observation: Observation) -> bool:
    return "fn.py" in _body(observation)["stackTrace"][0]


def _goes_on_after(status: str) -> Callable[[Observation], bool]:
    return lambda observation: observation.events_taken == 2 and status in observation.stderr


FRAMES = "the frames of a client are no business of the function's: ours leaves them out above the function's own"
SURVIVES = "AWS's client dies of this; an invocation that fails is better than an environment that ends"
NAMES_ITSELF = "below the function's frames each client names its own stream and log handler"
WORDING = "each client has words of its own for the end of an environment"

STREAMS = "AWS's client for Python cannot stream: ours sends what iterators and generators yield, piece by piece"


def _streamed(text: str) -> Callable[[Observation], bool]:
    return lambda ours: ours.wire[1].headers["transfer-encoding"] == "chunked" and ours.answers[0]["body"] == text


def _refuses_numbers(observation: Observation) -> bool:
    return _body(observation)["errorMessage"].endswith(
        "a handler that streams yields bytes, bytearray, memoryview and str, not int"
    )


DIFFERENCES = {
    "returns a generator": Difference(STREAMS, "answers stdout", _refuses_numbers),
    "returns an iterator": Difference(STREAMS, "answers stdout", _refuses_numbers),
    "is a generator": Difference(STREAMS, "answers stdout", _streamed("text")),
    "is an asynchronous generator": Difference(STREAMS, "answers stdout", _streamed("bytes")),
    "handler: not callable": Difference(FRAMES, "answers stdout", _no_frames),
    "handler: too few parameters": Difference(FRAMES, "answers stdout", _no_frames),
    "context: client context a list": Difference(FRAMES, "answers stdout", _no_frames),
    "context: client a list": Difference(FRAMES, "answers stdout", _no_frames),
    "context: identity a number": Difference(FRAMES, "answers stdout", _no_frames),
    "snap start: failure before": Difference(FRAMES, "answers stdout", _frames_start_in_the_function),
    "snap start: failure after": Difference(FRAMES, "answers stdout", _frames_start_in_the_function),
    "output: surrogate": Difference(NAMES_ITSELF, "answers stdout", _frames_start_in_the_function),
    "logging: wrong arguments": Difference(NAMES_ITSELF, "answers stdout", _frames_start_in_the_function),
    "logging: wrong arguments in JSON": Difference(NAMES_ITSELF, "answers stdout", _frames_start_in_the_function),
    "returns a lone surrogate on 3.12": Difference(
        SURVIVES, "answers status stderr", lambda ours: _body(ours) == "\ud800" and ours.status == "waiting"
    ),
    "raises a lone surrogate": Difference(
        SURVIVES, "answers status stdout stderr", lambda ours: _body(ours)["errorMessage"] == "\ud800"
    ),
    "environment: directory removed": Difference(
        SURVIVES,
        "answers status stdout stderr",
        lambda ours: ours.answers[0]["xray_cause"]["working_directory"] == "" and ours.status == "waiting",
    ),
    "answer refused with 413": Difference(
        SURVIVES,
        "answers events_taken status stdout stderr",
        _goes_on_after("413"),
    ),
    "answer refused with 400": Difference(
        SURVIVES,
        "answers events_taken status stdout stderr",
        _goes_on_after("400"),
    ),
    "answer refused with 500": Difference(
        WORDING + "; ours has asked for the next event in the same write",
        "events_taken stdout stderr",
        lambda ours: ours.status == 1 and len(ours.answers) == 1 and "500" in ours.stderr,
    ),
    "init error refused": Difference(WORDING, "stderr", lambda ours: ours.status == 1 and "403" in ours.stderr),
}


def table_of(case: Case) -> str:
    """Known differences are tables of their own."""
    return case.name if case.name in DIFFERENCES else re.split("[: ]", case.name)[0]


@pytest.mark.parametrize("case", thinned(CASES, 3, table_of), ids=lambda case: case.name)
def test_a_function_behaves_as_with_awss_client(case: Case, tmp_path: Path) -> None:
    ours, theirs = run_both(case, tmp_path)
    different = {name for name in COMPARED if getattr(ours, name) != getattr(theirs, name)}
    known = DIFFERENCES.get(case.name)
    if known is None:
        assert {name: getattr(ours, name) for name in different} == {name: getattr(theirs, name) for name in different}
    else:
        assert different == known.fields, f"the list of differences is out of date ({known.reason})"
        assert known.ours(ours), known.reason


def run_both(case: Case, directory: Path) -> tuple[Observation, Observation]:
    for name, source in case.files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")

    def run(module: str) -> Observation:
        return observe(module, directory, case.handler, case.events, case.environ, case.framed, sys.executable)

    with ThreadPoolExecutor(2) as executor:
        ours, theirs = executor.map(run, (OURS, AWS))
    return ours, theirs


def test_enough_functions_are_compared() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) - len(DIFFERENCES) >= 200
    assert set(DIFFERENCES) <= set(names)


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    """The comparison itself: two functions that differ in one printed character are not taken for equal."""
    first = Case("control", {"fn.py": "def handler(e, c): print('a')\n"})
    second = Case("control", {"fn.py": "def handler(e, c): print('b')\n"})
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    ours: Any = run_both(first, tmp_path / "1")[0]
    theirs = run_both(second, tmp_path / "2")[1]
    assert [name for name in COMPARED if getattr(ours, name) != getattr(theirs, name)] == ["stdout"]
