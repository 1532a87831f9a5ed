"""Reading the service model, translating its patterns, printing its values."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.api import model as model_module
from venturekit.service.api.javatext import lower_first, print_double, print_value
from venturekit.service.api.model import ModelError, Shape, find_model_file, load_model, service_model
from venturekit.service.api.patterns import PatternError, compile_pattern, translate_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = service_model()
TAG_KEY = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"


def all_shapes() -> Iterator[Shape]:
    seen: set[str] = set()
    waiting = [s for op in MODEL.operations.values() for s in (op.input, op.output) if s]
    while waiting:
        shape = waiting.pop()
        if shape.name not in seen:
            seen.add(shape.name)
            yield shape
            waiting += [m.shape for m in shape.members.values()]
            waiting += [s for s in (shape.element, shape.key) if s]


def test_botocore_is_read_but_not_imported() -> None:
    code = (
        "import sys; from venturekit.service.api import compatibility, edge, guard; "
        "from venturekit.service.api.model import service_model; "
        "assert len(service_model().operations) >= 91; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'botocore', 'boto3', 'orjson', 'asyncio'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_no_documentation_is_kept_and_what_is_kept_is_frozen() -> None:
    operation = MODEL.operations["Invoke"]
    assert not hasattr(operation, "documentation")
    with pytest.raises(AttributeError):
        operation.status = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        operation.input.members["X"] = None  # type: ignore[index]


def write_model(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "service-2.json"
    path.write_text(json.dumps(content))
    return path


def test_a_plain_model_and_a_shape_that_contains_itself(tmp_path: Path) -> None:
    shapes = {
        "Tree": {"type": "structure", "members": {"Branches": {"shape": "Trees"}, "Leaf": {"shape": "Leaf"}}},
        "Trees": {"type": "list", "member": {"shape": "Tree"}},
        "Leaf": {"type": "string"},
    }
    operation = {"name": "Plant", "http": {"method": "POST", "requestUri": "/trees"}, "input": {"shape": "Tree"}}
    model = load_model(write_model(tmp_path, {"operations": {"Plant": operation}, "shapes": shapes}))
    tree = model.operations["Plant"].input
    assert tree.members["Branches"].shape.element is tree
    assert (model.operations["Plant"].status, model.operations["Plant"].output) == (200, None)


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", *(gzip.compress(text, mtime=0) for text in (b"{", b"{}", b"[]"))],
    ids=["empty", "not gzip", "broken JSON", "empty object", "list"],
)
def test_a_broken_model_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "service-2.json.gz"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is not a readable service model"):
        load_model(path)


def test_a_missing_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="not a readable service model"):
        load_model(tmp_path / "none")
    monkeypatch.setattr(model_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"install venturekit\[local\]"):
        find_model_file()


def test_a_botocore_without_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "botocore", raising=False)
    with pytest.raises(ModelError, match="has no Lambda model"):
        find_model_file()


@pytest.mark.filterwarnings("error")
def test_every_pattern_of_the_model_is_checked() -> None:
    patterns = {shape.pattern for shape in all_shapes() if shape.pattern is not None}
    assert len(patterns) >= 60
    compile_pattern.cache_clear()
    assert [pattern for pattern in patterns if compile_pattern(pattern) is None] == []


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (".*", "a b", True),
        (".*", "a\u2028b", False),
        (".*", "a\x85b", False),
        ("a.", "a\r", False),
        (r"[.]\.", "..", True),
        (r"[.]\.", "a.", False),
        (r"\d{2}", "12", True),
        (r"\d{2}", "\u0661\u0662", False),
        (r"[^\s]+", "a\u00a0b", True),
        (r"[\s\S]*", "a\nb", True),
        ("(|[a-z]+)", "", True),
        (TAG_KEY, "Kost\u00e9 \u00a0\u0664=@-", True),
        (TAG_KEY, "a!", False),
        (TAG_KEY, "a\t", False),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, text: str, *, matches: bool) -> None:
    compiled = compile_pattern(pattern)
    assert compiled is not None
    assert (compiled.fullmatch(text) is not None) is matches


def test_the_categories_of_a_tag_key() -> None:
    compiled = compile_pattern(TAG_KEY)
    assert compiled is not None
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        expected = unicodedata.category(char)[0] in "LZN" or char in "_.:/=+-@"
        assert (compiled.fullmatch(char) is not None) is expected, hex(number)


@pytest.mark.parametrize(
    "pattern", [r"[\p{Lu}]", r"\p{L}", r"[\P{L}]", r"[\p{L}]", r"[\p{Z}\d]", "[a[b]]", "[a-z&&[^b]]", "[a&&b]", r"\p"]
)
def test_patterns_without_a_translation_are_not_checked(pattern: str) -> None:
    with pytest.raises(PatternError):
        translate_pattern(pattern)
    assert compile_pattern(pattern) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0, "2.0"),
        (0.5, "0.5"),
        (0.0, "0.0"),
        (-0.25, "-0.25"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (0.00012, "1.2E-4"),
        (1.5e-7, "1.5E-7"),
        (9999999.0, "9999999.0"),
        (10000000.0, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (-1e16, "-1.0E16"),
        (1e300, "1.0E300"),
    ],
)
def test_doubles_as_java_prints_them(number: float, text: str) -> None:
    assert print_double(number) == text


def test_structures_as_java_prints_them() -> None:
    shape = MODEL.operations["PutFunctionEventInvokeConfig"].input.members["DestinationConfig"].shape
    value = {"OnSuccess": {"Destination": "arn:x"}}
    assert print_value(shape, value) == "DestinationConfig(onSuccess=OnSuccess(destination=arn:x), onFailure=null)"


def test_other_values_as_java_prints_them() -> None:
    create = MODEL.operations["CreateFunction"].input.members
    assert print_value(create["Publish"].shape, value=True) == "true"
    assert print_value(create["Timeout"].shape, 3) == "3"
    assert print_value(create["Architectures"].shape, ["a", None]) == "[a, null]"
    assert print_value(create["Tags"].shape, {"a": "b", "c": "d"}) == "{a=b, c=d}"
    assert print_value(create["Code"].shape.members["ZipFile"].shape, b"zip") == "*** Sensitive Data Redacted ***"
    assert lower_first("KMSKeyArn") == "kMSKeyArn"
