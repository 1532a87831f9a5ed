"""Function names, ARNs and qualifiers, held against the patterns of the botocore model."""

from __future__ import annotations

import gzip
import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from venturekit.protocol.names import (
    FUNCTION_NAME_PATTERN,
    LATEST,
    NAMESPACED_FUNCTION_NAME_PATTERN,
    FunctionReference,
    InvalidFunctionNameError,
    QualifierMismatchError,
    combine_qualifiers,
    function_arn,
    is_alias_name,
    is_latest,
    is_version,
    parse_function_reference,
)

ACCOUNT = "123456789012"
NAMESPACED = re.compile(NAMESPACED_FUNCTION_NAME_PATTERN, re.ASCII)
names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}", fullmatch=True).filter(lambda name: name != "function")
qualifiers = st.none() | st.just(LATEST) | st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
regions = st.sampled_from(
    ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]
)


def reference(
    name: str,
    qualifier: str | None = None,
    account_id: str | None = None,
    region: str | None = None,
    partition: str | None = None,
) -> FunctionReference:
    return FunctionReference(name, qualifier, account_id, region, partition)


@pytest.fixture(scope="module")
def shapes() -> dict[str, dict[str, str]]:
    spec = find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    model = Path(spec.origin).parent / "data/lambda/2015-03-31/service-2.json.gz"
    return json.loads(gzip.decompress(model.read_bytes()))["shapes"]


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [("NamespacedFunctionName", NAMESPACED_FUNCTION_NAME_PATTERN), ("FunctionName", FUNCTION_NAME_PATTERN)],
)
def test_the_patterns_are_the_models(shapes: dict[str, dict[str, str]], shape: str, pattern: str) -> None:
    assert shapes[shape]["pattern"] == pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f", reference("f")),
        ("f:1", reference("f", "1")),
        ("f:prod", reference("f", "prod")),
        ("f:$LATEST", reference("f", "$LATEST")),
        ("f:$LATEST.PUBLISHED", reference("f", "$LATEST.PUBLISHED")),
        ("dotted.name_1-2", reference("dotted.name_1-2")),
        ("function:f", reference("f")),
        ("function:f:7", reference("f", "7")),
        ("123456789012:f", reference("f", None, ACCOUNT)),
        ("123456789012:f:q", reference("f", "q", ACCOUNT)),
        ("123456789012:function:f", reference("f", None, ACCOUNT)),
        ("123456789012:function:f:q", reference("f", "q", ACCOUNT)),
        ("us-east-1:123456789012:function:f", reference("f", None, ACCOUNT, "us-east-1")),
        ("arn:aws:lambda:us-east-1:123456789012:function:f", reference("f", None, ACCOUNT, "us-east-1", "aws")),
        ("arn:aws:lambda:us-east-1:123456789012:function:f:q", reference("f", "q", ACCOUNT, "us-east-1", "aws")),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:$LATEST",
            reference("f", "$LATEST", ACCOUNT, "us-gov-west-1", "aws-us-gov"),
        ),
        (
            "arn:aws-iso-b:lambda:us-isob-east-1:123456789012:function:f",
            reference("f", None, ACCOUNT, "us-isob-east-1", "aws-iso-b"),
        ),
        ("eusc-de-east-1:123456789012:function:f", reference("f", None, ACCOUNT, "eusc-de-east-1")),
        # Readings that look ambiguous: the longer prefix wins, as in the model's pattern.
        ("123456789012", reference("123456789012")),
        ("123456789012:123456789012", reference("123456789012", None, ACCOUNT)),
        ("12345678901:f", reference("12345678901", "f")),
        ("function", reference("function")),
        ("us-east-1:f", reference("f", None, None, "us-east-1")),
        ("arn:aws:lambda:f", reference("f", partition="aws")),
        ("arn:aws:lambda:us-east-1:123456789012:layer:f", reference("layer", "f", ACCOUNT, "us-east-1", "aws")),
    ],
)
def test_every_form_of_a_name(text: str, expected: FunctionReference) -> None:
    assert parse_function_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "f:",
        ":q",
        "f g",
        "f:q:r",
        "f\n",
        "f:$latest",
        "f:$LATEST2",
        "naïve",
        "١٢٣٤٥٦٧٨٩٠١٢:function:f",
        "arn:aws:lambda:us-east-1:123456789012:function:f:q:r",
        "arn:aws:s3:us-east-1:123456789012:function:f",
        "arn:aws:lambda:us-east-1:1234:function:f",
        "a/b",
    ],
)
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidFunctionNameError) as caught:
        parse_function_reference(text)
    assert repr(text) in str(caught.value)


def test_the_error_of_a_huge_name_is_short() -> None:
    with pytest.raises(InvalidFunctionNameError) as caught:
        parse_function_reference("/" * 100_000)
    assert len(str(caught.value)) < 1000


@settings(deadline=None, max_examples=200)
@given(st.from_regex(NAMESPACED, fullmatch=True))
def test_whatever_the_model_accepts_parses(text: str) -> None:
    parsed = parse_function_reference(text)
    assert parsed.name
    assert parsed.name in text
    assert parsed.qualifier is None or text.endswith(f":{parsed.qualifier}")


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="arn:aws-lambdfucto$LATESTPUBHD.0123456789us-east-1_ ", max_size=70))
@example("f:q\n")
def test_what_parses_is_what_the_model_accepts(text: str) -> None:
    if NAMESPACED.fullmatch(text):
        parse_function_reference(text)
    else:
        with pytest.raises(InvalidFunctionNameError):
            parse_function_reference(text)


@settings(deadline=None, max_examples=200)
@given(regions, st.text("0123456789", min_size=12, max_size=12), names, qualifiers)
def test_an_arn_parses_back_into_its_parts(region: str, account_id: str, name: str, qualifier: str | None) -> None:
    parsed = parse_function_reference(function_arn(region, account_id, name, qualifier))
    assert (parsed.region, parsed.account_id, parsed.name, parsed.qualifier) == (region, account_id, name, qualifier)
    assert parsed.partition is not None
    assert parsed.partition.startswith("aws")


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-northwest-1", "aws-cn"), ("us-gov-east-1", "aws-us-gov"), ("eu-west-3", "aws")],
)
def test_the_partition_follows_from_the_region(region: str, partition: str) -> None:
    assert function_arn(region, ACCOUNT, "f") == f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:f"
    assert function_arn(region, ACCOUNT, "f", "3") == f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:f:3"


@pytest.mark.parametrize(
    ("derived", "specified", "combined"),
    [(None, None, None), ("a", None, "a"), (None, "a", "a"), ("a", "a", "a"), ("$LATEST", "$LATEST", "$LATEST")],
)
def test_qualifiers_combine(derived: str | None, specified: str | None, combined: str | None) -> None:
    assert combine_qualifiers(derived, specified) == combined


@pytest.mark.parametrize(("derived", "specified"), [("a", "b"), ("1", "$LATEST"), ("A", "a")])
def test_two_qualifiers_that_differ_are_refused_in_awss_words(derived: str, specified: str) -> None:
    with pytest.raises(QualifierMismatchError) as caught:
        combine_qualifiers(derived, specified)
    assert str(caught.value) == ("The derived qualifier from the function name does not match the specified qualifier.")


@pytest.mark.parametrize(
    ("qualifier", "version", "latest", "alias"),
    [
        ("1", True, False, False),
        ("007", True, False, False),
        ("$LATEST", False, True, False),
        ("$LATEST.PUBLISHED", False, False, False),
        ("prod", False, False, True),
        ("1a", False, False, True),
        ("-", False, False, True),
        ("v_1-x", False, False, True),
        ("a" * 128, False, False, True),
        ("a" * 129, False, False, False),
        ("", False, False, False),
        ("1\n", False, False, False),
        ("a\n", False, False, False),
        ("a.b", False, False, False),
        ("١", False, False, False),
        ("²", False, False, False),
    ],
)
def test_kinds_of_qualifiers(qualifier: str, version: bool, latest: bool, alias: bool) -> None:
    assert (is_version(qualifier), is_latest(qualifier), is_alias_name(qualifier)) == (version, latest, alias)
