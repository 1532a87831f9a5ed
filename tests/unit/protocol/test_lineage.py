"""The Lineage field of trace headers: rounds are counted, and no loop gets out of its bounds."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from venturekit.protocol.lineage import (
    COUNT_LIMIT,
    FUNCTIONS_LIMIT,
    HEADER_LIMIT_BYTES,
    ROUNDS_LIMIT,
    advanced,
    continued,
    first,
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = b"Root=1-5759e988-bd862e3fe1be46a994272793"
TRACE = ROOT + b";Parent=53995c3f42cd8ad8;Sampled=0"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
KEY = "d0782663"
LINEAGE = re.compile(rb"1:[0-9a-f]{8}:[0-9]{1,6}(\|1:[0-9a-f]{8}:[0-9]{1,6}){0,31}")


def as_botocore_sends(header: bytes) -> bytes:
    """What botocore puts into X-Amzn-Trace-Id when _X_AMZN_TRACE_ID is this."""
    return quote(header.decode("latin-1"), safe="-=;:+&[]{}\"',").encode()


# How a header may be handed on: as it is, or percent-encoded by botocore, once or again.
SENT: tuple[Callable[[bytes], bytes], ...] = (
    lambda header: header,
    as_botocore_sends,
    lambda header: as_botocore_sends(as_botocore_sends(header)),
)


def lineage_of(header: bytes) -> list[bytes]:
    (field,) = [field for field in header.split(b";") if field.startswith(b"Lineage=")]
    assert header.endswith(field)
    return field.removeprefix(b"Lineage=").split(b"|")


def keys(count: int) -> list[str]:
    return [key_of(f"{ARN}-{number}") for number in range(count)]


def run_chain(chain: Iterable[str], trace: bytes = TRACE) -> tuple[list[int], bytes]:
    """Rounds of every request of a chain, each made by the one before, and the last header."""
    rounds = []
    for key in chain:
        trace, before = advanced(trace, key)
        rounds.append(before)
    return rounds, trace


# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qualifier", ["", ":$LATEST", ":1", ":live"])
def test_all_versions_of_a_function_have_one_key(qualifier: str) -> None:
    assert key_of(ARN + qualifier) == key_of(ARN)
    assert re.fullmatch("[0-9a-f]{8}", key_of(ARN))


def test_keys_do_not_change_between_releases() -> None:
    assert key_of(ARN) == "e70dc6b5"


@pytest.mark.parametrize(
    "other", [ARN + "g", ARN.replace("eu-west-1", "eu-west-2"), ARN.replace("123456789012", "123456789013")]
)
def test_name_region_and_account_make_the_key(other: str) -> None:
    assert key_of(other) != key_of(ARN)


# --- one step ------------------------------------------------------------------------------------------------------


def test_the_first_round_is_count_0() -> None:
    assert first(KEY) == ";Lineage=1:d0782663:0"
    assert advanced(TRACE, KEY) == (TRACE + first(KEY).encode(), 0)


def test_the_usual_form_of_a_trace_is_no_exception() -> None:
    # An empty field more, and it is not the form that is looked for first.
    assert advanced(TRACE + b";", KEY) == advanced(TRACE, KEY)


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 17, 999])
def test_every_round_adds_one(count: int) -> None:
    given_trace = TRACE + b";Lineage=1:d0782663:%d" % count
    assert advanced(given_trace, KEY) == (TRACE + b";Lineage=1:d0782663:%d" % (count + 1), count + 1)


def test_sixteen_rounds_and_not_one_more() -> None:
    rounds, _ = run_chain([KEY] * 17)
    assert [before < ROUNDS_LIMIT for before in rounds] == [True] * 16 + [False]


@pytest.mark.parametrize(
    ("lineage", "entries", "rounds"),
    [
        # Others' entries stay; the function's own is the last.
        (b"1:aaaaaaaa:3", [b"1:aaaaaaaa:3", b"1:d0782663:0"], 0),
        (b"1:d0782663:2|1:aaaaaaaa:3", [b"1:aaaaaaaa:3", b"1:d0782663:3"], 3),
        # Other forms, as seen elsewhere: kept as they are, before ours.
        (b"a87bd80c:1|68fd508a:5|c512fbe3:2", [b"a87bd80c:1", b"68fd508a:5", b"c512fbe3:2", b"1:d0782663:0"], 0),
        (b"1:abc123:1", [b"1:abc123:1", b"1:d0782663:0"], 0),
        (b"2:d0782663:9", [b"2:d0782663:9", b"1:d0782663:0"], 0),
        (b"1:aaaaaaaa:1|d0782663:7", [b"d0782663:7", b"1:aaaaaaaa:1", b"1:d0782663:0"], 0),
        # As botocore sends it, once and again.
        (b"1:aaaaaaaa:3%7C1:d0782663:4", [b"1:aaaaaaaa:3", b"1:d0782663:5"], 5),
        (b"1:aaaaaaaa:3%7c1:d0782663:4", [b"1:aaaaaaaa:3", b"1:d0782663:5"], 5),
        (b"1:aaaaaaaa:3%25257C1%253Ad0782663%3A4", [b"1:aaaaaaaa:3", b"1:d0782663:5"], 5),
        # Of several counts the highest counts.
        (b"1:d0782663:2|1:d0782663:9|1:d0782663:4", [b"1:d0782663:10"], 10),
        (b"1:D0782663:2", [b"1:d0782663:3"], 3),
        (b"1:d0782663:007", [b"1:d0782663:8"], 8),
        # Damaged.
        (b"", [b"1:d0782663:0"], 0),
        (b"|||", [b"1:d0782663:0"], 0),
        (b"1:d0782663:", [b"1:d0782663:", b"1:d0782663:0"], 0),
        (b"1:d0782663:-4", [b"1:d0782663:0"], 0),
        (b"1:d0782663:4 4|x=y|%7B%7D", [b"1:d0782663:0"], 0),
        (b"\xff\xfe|1:d0782663:1", [b"1:d0782663:2"], 2),
        (b"far-too-long-for-an-entry", [b"1:d0782663:0"], 0),
        # Numbers without bound.
        (b"1:d0782663:999999", [b"1:d0782663:999999"], COUNT_LIMIT + 1),
        (b"1:d0782663:" + b"9" * 900, [b"1:d0782663:999999"], COUNT_LIMIT + 1),
    ],
)
def test_what_a_lineage_says(lineage: bytes, entries: list[bytes], rounds: int) -> None:
    header, before = advanced(TRACE + b";Lineage=" + lineage, KEY)
    assert header == TRACE + b";Lineage=" + b"|".join(entries)
    assert before == rounds


@pytest.mark.parametrize(
    ("given_trace", "kept"),
    [
        (b"Lineage=1:d0782663:4;" + TRACE, TRACE),
        (ROOT + b";lineage=1:d0782663:4;Sampled=1", ROOT + b";Sampled=1"),
        (ROOT + b"; LINEAGE = 1:d0782663:4 ;Sampled=1", ROOT + b";Sampled=1"),
        (TRACE + b";Lineage=1:d0782663:4;Lineage=1:d0782663:2", TRACE),
        (TRACE + b";;Self=1-67891234-12456789abcdef012345678a;Lineage=1:d0782663:4;x=1;x=2", None),
    ],
)
def test_the_lineage_stands_anywhere_and_other_fields_stay(given_trace: bytes, kept: bytes | None) -> None:
    header, rounds = advanced(given_trace, KEY)
    kept = kept or TRACE + b";Self=1-67891234-12456789abcdef012345678a;x=1;x=2"
    assert (header, rounds) == (kept + b";Lineage=1:d0782663:5", 5)


@pytest.mark.parametrize("given_trace", [b"", b";", b"=", b"Lineage", b"Lineage=;=", b"\x00\r\n", b"\xff" * 3000])
def test_a_header_in_any_state_gives_one(given_trace: bytes) -> None:
    header, rounds = advanced(given_trace, KEY)
    assert header.endswith(b"Lineage=1:d0782663:0")
    assert rounds == 0


# --- bounds --------------------------------------------------------------------------------------------------------


def test_fields_that_others_added_give_way() -> None:
    full = b"a=" + b"x" * 500 + b";" + ROOT + b";b=" + b"x" * 480 + b";Sampled=1;c=1"
    header, _ = advanced(full, KEY)
    assert header == ROOT + b";Sampled=1;a=" + b"x" * 500 + b";c=1;Lineage=1:d0782663:0"
    _, header = run_chain(keys(32), full)
    assert header.startswith(ROOT + b";Sampled=1;c=1;Lineage=")
    assert len(lineage_of(header)) == 32


def test_the_whole_lineage_of_32_functions_with_long_counts_fits_beside_a_trace() -> None:
    entries = b"|".join(b"1:%b:999998" % key.encode() for key in keys(32))
    full = TRACE + b";Self=1-67891234-12456789abcdef012345678a;Lineage=" + entries
    header, rounds = advanced(full, keys(1)[0])
    assert rounds == COUNT_LIMIT
    assert header.startswith(TRACE + b";Self=1-67891234-12456789abcdef012345678a;Lineage=")
    assert len(lineage_of(header)) == 32
    assert len(as_botocore_sends(header)) <= HEADER_LIMIT_BYTES


def test_foreign_entries_give_way_to_ours() -> None:
    foreign = b"|".join(b"%08x:1" % number for number in range(40))
    _, header = run_chain(keys(31), TRACE + b";Lineage=" + foreign)
    entries = lineage_of(header)
    assert entries[0] == b"00000000:1"
    assert [entry[:2] for entry in entries[1:]] == [b"1:"] * 31
    rounds, _ = run_chain([KEY] * 17, header)
    assert rounds == list(range(17))


def test_the_33rd_function_takes_the_place_of_the_one_that_ran_least() -> None:
    names = keys(33)
    _, header = run_chain([*names[:32], *names[:20], *names[21:32]])
    header, rounds = advanced(header, names[32])
    assert rounds == 1
    entries = lineage_of(header)
    assert len(entries) == 32
    assert b"1:%b:0" % names[20].encode() not in entries
    assert entries[-1] == b"1:%b:1" % names[32].encode()


def test_a_foreign_lineage_of_too_many_functions_is_cut_and_never_counts_too_low() -> None:
    names = keys(60)
    entries = b"|".join(b"1:%b:%d" % (key.encode(), number % 7) for number, key in enumerate(names))
    header = TRACE + b";Lineage=" + entries
    for number, key in enumerate(names):
        cut, rounds = advanced(header, key)
        assert rounds >= number % 7 + 1
        assert len(lineage_of(cut)) == 32
        for other_number, other in enumerate(names):
            if other != key:
                assert advanced(cut, other)[1] >= other_number % 7 + 1


# --- what may happen -----------------------------------------------------------------------------------------------

parts = st.sampled_from(
    [b"Root=1-a-b", b"Lineage=", b"lineage=", b"1:d0782663:", b"1:d0782663:15", b"|", b"%7C", b":", b";", b"=", b"9"]
)
headers = st.binary(max_size=1500) | st.lists(parts | st.binary(max_size=40), max_size=200).map(b"".join)


@settings(deadline=None, max_examples=200)
@given(headers, st.sampled_from([KEY, "00000000"]))
@example(b"Lineage=" + b"|".join(b"1:%08x:999999" % number for number in range(200)), KEY)
@example(b"Root=" + b"1" * 1019, KEY)
@example(b";".join([b"a=1"] * 256), KEY)
def test_no_header_raises_or_grows_without_bound(header: bytes, key: str) -> None:
    made, rounds = advanced(header, key)
    assert len(made) <= HEADER_LIMIT_BYTES
    assert rounds >= 0
    again, following = advanced(made, key)
    assert following == min(rounds, COUNT_LIMIT) + 1
    assert len(again) <= HEADER_LIMIT_BYTES
    resumed = continued(TRACE, header)
    assert len(resumed) <= HEADER_LIMIT_BYTES
    assert resumed.startswith(TRACE)
    if len(header) <= 4096:
        assert advanced(resumed, key)[1] >= rounds


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_in_a_chain_of_up_to_32_functions_counts_are_exact(data: st.DataObject) -> None:
    names = keys(data.draw(st.integers(1, FUNCTIONS_LIMIT)))
    chain = data.draw(st.lists(st.sampled_from(names), max_size=120))
    ran: Counter[str] = Counter()
    trace = TRACE
    for key in chain:
        sent = data.draw(st.sampled_from(SENT))(trace)
        trace, rounds = advanced(sent, key)
        assert rounds == ran[key]
        ran[key] += 1
        assert LINEAGE.fullmatch(b"|".join(lineage_of(trace)))
        assert trace.startswith(TRACE + b";Lineage=")
        assert len(as_botocore_sends(trace)) <= HEADER_LIMIT_BYTES


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_in_a_longer_chain_no_count_is_too_low(data: st.DataObject) -> None:
    names = keys(data.draw(st.integers(FUNCTIONS_LIMIT + 1, 80)))
    chain = data.draw(st.lists(st.sampled_from(names), min_size=33, max_size=300))
    ran: Counter[str] = Counter()
    trace = TRACE
    for made, key in enumerate(chain):
        trace, rounds = advanced(trace, key)
        assert ran[key] <= rounds <= ran[key] + made // FUNCTIONS_LIMIT
        ran[key] += 1
        assert len(lineage_of(trace)) <= FUNCTIONS_LIMIT


@pytest.mark.parametrize("before", [0, 31, 32, 100])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 34, 64, 100])
def test_every_loop_is_stopped(before: int, length: int) -> None:
    """A loop of any length, entered after any number of other functions: none of them runs a seventeenth time."""
    names = keys(before + length)
    ran: Counter[str] = Counter()
    trace = TRACE
    _, trace = run_chain(names[:before], trace)
    for round_number in range(17):
        for key in names[before:]:
            trace, rounds = advanced(trace, key)
            if rounds >= ROUNDS_LIMIT:
                if before + length <= FUNCTIONS_LIMIT:
                    assert round_number == ROUNDS_LIMIT
                return
            ran[key] += 1
            assert ran[key] <= ROUNDS_LIMIT
    pytest.fail("the loop went on")


# --- headers that cannot be used -----------------------------------------------------------------------------------


def test_a_new_trace_goes_on_with_the_lineage_of_a_spoilt_one() -> None:
    spoilt = b"Parent=\xff" + b"x" * 5000 + b";Lineage=1:d0782663:15|a87bd80c:1|\r\nX: y"
    resumed = continued(TRACE, spoilt)
    assert resumed == TRACE + b";Lineage=a87bd80c:1|1:d0782663:15"
    assert advanced(resumed, KEY)[1] == ROUNDS_LIMIT


@pytest.mark.parametrize("former", [b"", b"Root=1", b"Lineage=", b"Lineage=\r\n|;", b"Parent=1;Sampled=1"])
def test_a_new_trace_stays_as_it_is_where_there_is_no_lineage(former: bytes) -> None:
    assert continued(TRACE, former) == TRACE
