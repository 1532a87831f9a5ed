"""The X-Ray trace header."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.trace import TraceHeader, new_trace_header, parse_trace_header, response_form

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"
LINEAGE = "1:d0782663:0"
SELF = "1-67891234-12456789abcdef012345678a"

hex_digits = "0123456789abcdef"
roots = st.builds(
    "1-{}-{}".format, st.text(hex_digits, min_size=8, max_size=8), st.text(hex_digits, min_size=24, max_size=24)
)
values = st.text("abcXYZ0189:|-._=", min_size=1, max_size=20)
extra_names = st.sampled_from(["CalledFrom", "Tenant", "x", "rootish"])
headers = st.builds(
    TraceHeader,
    root=roots,
    parent=st.none() | st.text(hex_digits, min_size=16, max_size=16),
    sampled=st.none() | st.booleans(),
    lineage=st.none() | values,
    self_id=st.none() | values,
    extra=st.lists(st.tuples(extra_names, values), max_size=3).map(tuple),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Root={ROOT}", TraceHeader(ROOT)),
        (f"Root={ROOT};Parent={PARENT};Sampled=1", TraceHeader(ROOT, PARENT, True)),
        (f"Root={ROOT};Parent={PARENT};Sampled=0", TraceHeader(ROOT, PARENT, False)),
        (f"Root={ROOT};Sampled=?", TraceHeader(ROOT)),
        (f"Sampled=1;Root={ROOT}", TraceHeader(ROOT, None, True)),
        (f"root={ROOT};sampled=0", TraceHeader(ROOT, None, False)),
        (f"Root={ROOT};Parent={PARENT};Sampled=0;Lineage={LINEAGE}", TraceHeader(ROOT, PARENT, False, LINEAGE)),
        (f"Root={ROOT};Lineage=a1b2:1|c3d4:5;Self={SELF}", TraceHeader(ROOT, None, None, "a1b2:1|c3d4:5", SELF)),
        (f"Self={SELF};Root={ROOT};CalledFrom=app", TraceHeader(ROOT, self_id=SELF, extra=(("CalledFrom", "app"),))),
        (f" Root = {ROOT} ; Sampled=1; ", TraceHeader(ROOT, None, True)),
        (f"Root={ROOT.upper()}", TraceHeader(ROOT.upper())),
        (f"Root={ROOT};x=a=b;x=c", TraceHeader(ROOT, extra=(("x", "a=b"), ("x", "c")))),
    ],
)
def test_headers_are_read(text: str, expected: TraceHeader) -> None:
    assert parse_trace_header(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no Root"),
        (";;", "no Root"),
        (f"Parent={PARENT}", "no Root"),
        ("Root=", "Root is not"),
        (f"Root=2{ROOT[1:]}", "Root is not"),
        (f"Root={ROOT}0", "Root is not"),
        (f"Root={ROOT[:-1]}", "Root is not"),
        (f"Root={ROOT[:-1]}g", "Root is not"),
        (f"Root={ROOT};Parent=", "Parent is not"),
        (f"Root={ROOT};Parent={PARENT}0", "Parent is not"),
        (f"Root={ROOT};Sampled=2", "Sampled is none of"),
        (f"Root={ROOT};Sampled=", "Sampled is none of"),
        (f"Root={ROOT};Sampled", "not a name=value pair: 'Sampled'"),
        (f"Root={ROOT};=1", "not a name=value pair: '=1'"),
        (f"Root={ROOT};Root={ROOT}", "Root is given twice"),
        (f"Root={ROOT};Sampled=1;sampled=0", "sampled is given twice"),
        (f"Root={ROOT};x=\r\nInjected: yes", "printable ASCII"),
        (f"Root={ROOT};x=é", "printable ASCII"),
    ],
)
def test_malformed_headers_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_trace_header(text)


@settings(deadline=None, max_examples=200)
@given(headers)
def test_what_is_written_reads_back(header: TraceHeader) -> None:
    assert parse_trace_header(header.format()) == header


def test_the_written_form() -> None:
    header = TraceHeader(ROOT, PARENT, False, LINEAGE, SELF, (("x", "1"),))
    assert header.format() == f"Root={ROOT};Parent={PARENT};Sampled=0;Lineage={LINEAGE};Self={SELF};x=1"
    assert TraceHeader(ROOT, sampled=True).format() == f"Root={ROOT};Sampled=1"


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80) | st.text("Rot=;1-abcdefSampled 0?", max_size=80))
def test_nothing_but_value_error_leaves(text: str) -> None:
    try:
        header = parse_trace_header(text)
    except ValueError:
        return
    assert parse_trace_header(header.format()) == header


def test_a_new_header() -> None:
    header = new_trace_header(0x5759E988 + 0.9, bytes(range(20)), sampled=True)
    assert header == TraceHeader("1-5759e988-000102030405060708090a0b", "0c0d0e0f10111213", True)
    assert new_trace_header(1.0, bytes(20)).format() == (
        "Root=1-00000001-000000000000000000000000;Parent=0000000000000000;Sampled=0"
    )


@settings(deadline=None, max_examples=100)
@given(st.floats(0, 0xFFFFFFFF), st.binary(min_size=20, max_size=20), st.booleans())
def test_new_headers_are_well_formed(now: float, random: bytes, sampled: bool) -> None:
    header = new_trace_header(now, random, sampled)
    assert parse_trace_header(header.format()) == header
    assert int(header.root[2:10], 16) == int(now)


@pytest.mark.parametrize("size", [0, 19, 21])
def test_a_new_header_needs_twenty_random_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"20 random bytes, not {size}"):
        new_trace_header(0.0, bytes(size))


@pytest.mark.parametrize("now", [-1.0, 4294967296.0, float("nan"), float("inf")])
def test_a_new_header_needs_a_time_of_32_bits(now: float) -> None:
    with pytest.raises(ValueError, match="epoch seconds"):
        new_trace_header(now, bytes(20))


@pytest.mark.parametrize(("sampled", "digit"), [(None, 0), (False, 0), (True, 1)])
def test_the_form_of_responses(sampled: bool | None, digit: int) -> None:
    header = TraceHeader(ROOT, PARENT, sampled, LINEAGE)
    assert response_form(header) == f"root={ROOT};sampled={digit}"
    assert parse_trace_header(response_form(header)).root == ROOT
