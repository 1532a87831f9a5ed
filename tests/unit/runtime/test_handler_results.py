"""What handlers return, and how it leaves: envelopes, raw results, odd statuses, header injection, streams."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import http
import json
import uuid
from typing import Any

import pytest

from tests.unit.runtime.support import Lines, Stream, StreamingContext, data, failure, v1, v2
from venturekit.runtime import (
    NotFoundError,
    Response,
    created,
    error,
    error_response,
    handler,
    no_content,
    redirect,
    stream,
    success,
)

INTERNAL = {"code": "INTERNAL_ERROR", "message": "Internal server error"}
MARKER = {"invokeId": "i"}


def quiet(fn: Any, **options: Any) -> Any:
    return handler(fn, access_log=False, **options)


def of(value: Any, event: Any = None, **options: Any) -> Any:
    return quiet(lambda: value, **options)(event or v2())


# --- envelopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (None, '{"data":null}'),
        (0, '{"data":0}'),
        (False, '{"data":false}'),
        ("", '{"data":""}'),
        ("text", '{"data":"text"}'),
        ([], '{"data":[]}'),
        ({}, '{"data":{}}'),
        ({"data": 1}, '{"data":1}'),
        ({"data": 1, "meta": {"total": 2}}, '{"data":1,"meta":{"total":2}}'),
        ({"meta": 1}, '{"data":{"meta":1}}'),
        ({"data": 1, "other": 2}, '{"data":{"data":1,"other":2}}'),
        ({"statusCode": "200"}, '{"data":{"statusCode":"200"}}'),
        ({"statusCode": True}, '{"data":{"statusCode":true}}'),
        (success([1], {"total": 1}), '{"data":[1],"meta":{"total":1}}'),
        (Response([1]), "[1]"),
    ],
)
def test_a_value_is_put_into_an_envelope(value: Any, body: str) -> None:
    assert of(value)["body"] == body


@pytest.mark.parametrize(
    ("value", "body"), [(None, ""), ({"data": 1}, '{"data":1}'), ([1], "[1]"), ("text", "text"), (b"\x00", None)]
)
def test_without_an_envelope_a_value_is_sent_bare(value: Any, body: str | None) -> None:
    result = of(value, envelope=False)
    assert result["body"] == (base64.b64encode(b"\x00").decode() if body is None else body)
    assert result["isBase64Encoded"] is (body is None)


@pytest.mark.parametrize(
    ("value", "options", "told"),
    [
        ([1], {}, True),
        ({"data": 1}, {}, True),
        (success(1), {}, True),
        (created(1), {}, True),
        ([1], {"envelope": False}, False),
        (Response({"data": 1}), {}, False),
        (error(404, {"data": 1}), {}, False),
        ({"statusCode": 200, "body": '{"data":1}'}, {}, False),
    ],
)
def test_only_other_functions_are_told_of_the_envelope(value: Any, options: Any, told: bool) -> None:
    assert ("x-venturekit-envelope" in of(value, v2(marker=MARKER), **options)["headers"]) is told
    assert "x-venturekit-envelope" not in of(value, v2(), **options)["headers"]


def test_a_middleware_that_takes_the_envelope_off_is_not_contradicted() -> None:
    def bare(ctx: Any, next: Any) -> Any:
        response = next()
        response.body = response.body["data"]
        return response

    assert "x-venturekit-envelope" not in of({"a": 1}, v2(marker=MARKER), middleware=[bare])["headers"]


def test_an_error_has_no_envelope() -> None:
    def fn() -> None:
        raise NotFoundError("User", 5)

    result = quiet(fn)(v2(marker=MARKER))
    assert "x-venturekit-envelope" not in result["headers"]
    assert failure(result)["details"] == {"resource": "User", "id": 5}


# --- helpers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "status", "body", "headers"),
    [
        (success(), 200, '{"data":null}', {"Content-Type": "application/json"}),
        (success({"a": 1}), 200, '{"data":{"a":1}}', {"Content-Type": "application/json"}),
        (created({"a": 1}, {"b": 2}), 201, '{"data":{"a":1},"meta":{"b":2}}', {"Content-Type": "application/json"}),
        (no_content(), 204, "", {}),
        (no_content({"total": 3}), 204, "", {"X-Meta-total": "3"}),
        (error(418, {"tea": "pot"}), 418, '{"tea":"pot"}', {"Content-Type": "application/json"}),
        (error(418), 418, "", {}),
        (error(500, "plain"), 500, "plain", {"Content-Type": "text/plain; charset=utf-8"}),
        (
            error_response(NotFoundError("A", 1), {"at": 2}),
            404,
            (
                '{"error":{"code":"NOT_FOUND","message":"A \'1\' not found","details":{"resource":"A","id":1}},'
                '"meta":{"at":2}}'
            ),
            {"Content-Type": "application/json"},
        ),
        (redirect("https://example.com/a"), 302, "", {"Location": "https://example.com/a"}),
        (redirect("/b", 301), 301, "", {"Location": "/b"}),
        (Response("<b>", headers={"content-type": "text/html"}), 200, "<b>", {"content-type": "text/html"}),
        (Response({"a": 1}, http.HTTPStatus.ACCEPTED), 202, '{"a":1}', {"Content-Type": "application/json"}),
        (Response({"a": 1}, 304), 304, "", {}),
    ],
)
def test_a_response_leaves_as_it_is(response: Response, status: int, body: str, headers: Any) -> None:
    assert of(response) == {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


@pytest.mark.parametrize("status", [0, 99, 600, -1, "200", None, 200.0, True])
def test_what_is_no_status_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="no HTTP status"):
        Response("a", status)


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_a_redirection_has_a_status_of_one(status: int) -> None:
    with pytest.raises(ValueError, match="no redirection"):
        redirect("/", status)


def test_one_cookie_needs_no_list() -> None:
    assert Response("a", cookies="seen=1").cookies == ["seen=1"]


def test_a_header_is_found_whatever_its_case() -> None:
    assert Response("a", headers={"X-A": "b"}).header("x-a") == "b"
    assert Response("a").header("x-a") is None


# --- raw results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 200}, {"statusCode": 200, "headers": {}, "body": "", "isBase64Encoded": False}),
        (
            {"statusCode": 202, "headers": {"X-A": 5}, "body": "text", "cookies": ["a=1"]},
            {"statusCode": 202, "headers": {"X-A": "5"}, "body": "text", "isBase64Encoded": False, "cookies": ["a=1"]},
        ),
        (
            {"statusCode": 200, "body": "AAE=", "isBase64Encoded": True, "headers": {"content-type": "image/png"}},
            {
                "statusCode": 200,
                "headers": {"content-type": "image/png"},
                "body": "AAE=",
                "isBase64Encoded": True,
            },
        ),
        (
            {"statusCode": 200, "multiValueHeaders": {"X-A": ["b", "c"], "set-cookie": ["a=1", "b=2"]}, "body": "t"},
            {
                "statusCode": 200,
                "headers": {"X-A": "b,c"},
                "body": "t",
                "isBase64Encoded": False,
                "cookies": ["a=1", "b=2"],
            },
        ),
    ],
)
def test_a_result_in_the_gateways_own_form_is_taken(value: Any, expected: Any) -> None:
    assert of(value) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"statusCode": 99}, "no HTTP status"),
        ({"statusCode": 1000}, "no HTTP status"),
        ({"statusCode": 200, "body": {"a": 1}}, "json.dumps"),
        ({"statusCode": 200, "headers": [1]}, "must be dictionaries"),
        ({"statusCode": 200, "multiValueHeaders": "x"}, "must be dictionaries"),
        ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, "no base64"),
        ({"statusCode": 200, "headers": {"a\n": "b"}}, "cannot be the name of a header"),
        ({"statusCode": 200, "headers": {"a": "b\nc: d"}}, "control character"),
    ],
)
def test_a_result_in_the_gateways_own_form_is_checked(value: Any, text: str, lines: Lines) -> None:
    result = handler(lambda: value, logger=lines.logger())(v2())
    assert (result["statusCode"], failure(result)) == (500, INTERNAL)
    assert text in lines.records[0]["errorMessage"]


# --- what cannot be sent --------------------------------------------------------------------------------------------


class Circle:
    pass


def circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> Any:
    value: Any = None
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2, object()}, "builtins.object"),
        (Circle(), "Circle"),
        ({"a": b"bytes"}, "JSON cannot hold bytes"),
        (float("nan"), "not JSON compliant"),
        ([float("inf")], "not JSON compliant"),
        (decimal.Decimal("NaN"), "no number NaN"),
        (circular(), "contains itself"),
        (deep(), "nested too deeply"),
        ({("a", "b"): 1}, "keys must be"),
        ([10**5000], "Exceeds the limit"),
        (lambda: 1, "function"),
        (Circle, "type"),
        (Response("a", headers={"X": 5}), "not a text"),  # type: ignore[dict-item]
        (Response("a", headers={"X Y": "a"}), "cannot be the name"),
        (Response("a", headers={"": "a"}), "cannot be the name"),
        (Response("a", headers={"Ä": "a"}), "cannot be the name"),
        (Response("a", headers={"X": "a\r\nSet-Cookie: admin=1"}), "control character"),
        (Response("a", headers={"X": "a\0"}), "control character"),
        (Response("a", headers={"X": "\ud800"}), "surrogate"),
        (Response("\ud800"), "surrogate"),
        (Response("a", cookies=["a=1\nb: c"]), "control character"),
        (Response("a", cookies=[5]), "not a text"),  # type: ignore[list-item]
        (redirect("/a\r\nX-Evil: 1"), "control character"),
    ],
)
@pytest.mark.parametrize("marker", [None, MARKER])
def test_what_cannot_be_sent_is_an_error_of_the_function(value: Any, text: str, marker: Any, lines: Lines) -> None:
    result = handler(lambda: value, logger=lines.logger())(v2(marker=marker))
    assert (result["statusCode"], failure(result)) == (500, INTERNAL)
    assert "x-venturekit-envelope" not in result["headers"]
    assert text in lines.records[0]["errorMessage"]
    assert lines.records[1]["status"] == 500


@pytest.mark.parametrize("status", [0, 99, 600, "200", None, 200.5])
def test_a_status_that_was_set_later_is_checked_too(status: Any) -> None:
    def changes(ctx: Any, next: Any) -> Any:
        response = next()
        response.status_code = status
        return response

    assert of(1, middleware=[changes])["statusCode"] == 500


@pytest.mark.parametrize(
    "added",
    [{"X": "a\r\nb"}, {"Ä": "a"}, {"X Y": "a"}, {"X": 5}, {5: "a"}, {"X": "\ud800"}, {"": "a"}, {"é": "é"}],
)
def test_headers_of_a_middleware_are_checked_and_those_that_are_well_stay(added: Any) -> None:
    def adds(ctx: Any, next: Any) -> Any:
        ctx.response_headers.update({"X-Good": "stays", **added})
        return next()

    result = of(1, middleware=[adds])
    assert (result["statusCode"], failure(result)) == (500, INTERNAL)
    assert result["headers"]["X-Good"] == "stays"
    assert len(result["headers"]) == 2


class Level(enum.Enum):
    LOW = "low"


class Grade(enum.IntEnum):
    A = 1


@dataclasses.dataclass
class Point:
    x: int
    at: datetime.date


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, datetime.date(2026, 1, 31)), {"x": 1, "at": "2026-01-31"}),
        ([Level.LOW, Grade.A], ["low", 1]),
        (decimal.Decimal("1.50"), 1.5),
        (decimal.Decimal(3), 3),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.timedelta(seconds=90), 90.0),
        ({"a": {1}}, {"a": [1]}),
        ({"a": (n for n in (1, 2))}, {"a": [1, 2]}),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
        ("half: \ud800", "half: \ud800"),
        ({"\udc00": ["\ud83d\ude00"]}, {"\udc00": ["😀"]}),
        ("ä€😀", "ä€😀"),
    ],
)
def test_what_json_can_say_in_its_own_way_is_sent(value: Any, expected: Any) -> None:
    result = of(value)
    assert result["statusCode"] == 200
    result["body"].encode()
    assert data(result) == expected


# --- streams --------------------------------------------------------------------------------------------------------


def pieces(*given: Any, fails: Exception | None = None) -> Any:
    def generate() -> Any:
        yield from given
        if fails is not None:
            raise fails

    return generate


def apieces(*given: Any, fails: Exception | None = None) -> Any:
    async def generate() -> Any:
        for piece in given:
            yield piece
        if fails is not None:
            raise fails

    return generate


KINDS = {
    "generator function": lambda make: make,
    "returned": lambda make: returning(make),  # noqa: PLW0108 - is below
    "stream()": lambda make: lambda: stream(make(), "text/csv", 202, {"X-A": "b"}, ["c=1"]),
}


def returning(make: Any) -> Any:
    """A function that is no generator, and returns one."""

    def fn() -> Any:
        return make()

    return fn


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_leaves_piece_by_piece(kind: str) -> None:
    sink = Stream()
    assert quiet(KINDS[kind](pieces("a", b"b", "c")))(v2(), StreamingContext(sink)) is None
    assert sink.pieces == ["a", b"b", "c"]
    assert sink.flushed
    if kind == "stream()":
        assert sink.head == (202, {"Content-Type": "text/csv", "X-A": "b"}, ["c=1"])
    else:
        assert sink.head == (200, {"Content-Type": "text/plain; charset=utf-8"}, [])


@pytest.mark.parametrize("wrap", [lambda make: make, lambda make: in_async_stream(make)])  # noqa: PLW0108 - is below
def test_an_asynchronous_stream_leaves_piece_by_piece(wrap: Any) -> None:
    sink = Stream()
    assert quiet(wrap(apieces("a", "b")))(v2(), StreamingContext(sink)) is None
    assert (sink.pieces, sink.flushed) == (["a", "b"], True)


def in_async_stream(make: Any) -> Any:
    async def fn() -> Any:
        return stream(make())

    return fn


@pytest.mark.parametrize("make", [pieces, apieces])
def test_an_empty_stream_is_an_empty_response(make: Any) -> None:
    sink = Stream()
    assert quiet(make())(v2(), StreamingContext(sink)) is None
    assert (sink.head and sink.head[0], sink.pieces, sink.flushed) == (200, [], True)
    assert quiet(make())(v2())["body"] == ""


@pytest.mark.parametrize("make", [pieces, apieces])
@pytest.mark.parametrize(
    ("given", "body", "is_base64"),
    [
        (("a", "ä"), "aä", False),
        ((b"a", "b"), base64.b64encode(b"ab").decode(), True),
        ((bytearray(b"a"),), "YQ==", True),
    ],
)
def test_a_stream_is_collected_where_nothing_streams(make: Any, given: Any, body: str, is_base64: bool) -> None:
    result = quiet(make(*given))(v2())
    assert (result["body"], result["isBase64Encoded"]) == (body, is_base64)


@pytest.mark.parametrize("make", [pieces, apieces])
@pytest.mark.parametrize("piece", [5, None, [1], {"a": 1}, 10**9])
@pytest.mark.parametrize("streams", [True, False])
def test_a_piece_is_text_or_bytes(make: Any, piece: Any, streams: bool) -> None:
    sink = Stream()
    result = quiet(make(piece), log_level="silent")(v2(), StreamingContext(sink) if streams else None)
    assert result["statusCode"] == 500
    assert (sink.head, sink.pieces) == (None, [])


@pytest.mark.parametrize("make", [pieces, apieces])
def test_what_fails_before_the_first_piece_is_an_ordinary_error(make: Any) -> None:
    sink = Stream()
    result = quiet(make(fails=NotFoundError("File", "a")))(v2(), StreamingContext(sink))
    assert (result["statusCode"], sink.head) == (404, None)


@pytest.mark.parametrize("make", [pieces, apieces])
def test_what_fails_later_breaks_the_response_off(make: Any, lines: Lines) -> None:
    sink = Stream()
    main = handler(make("a", fails=NotFoundError("File", "a")), logger=lines.logger())
    with pytest.raises(NotFoundError):
        main(v2(), StreamingContext(sink))
    assert sink.pieces == ["a"]
    assert lines.records[0]["message"] == "the response broke off after it had begun"


@pytest.mark.parametrize("make", [pieces, apieces])
def test_a_caller_who_leaves_ends_the_generator(make: Any) -> None:
    with pytest.raises(BrokenPipeError):
        quiet(make("a", "b", "c"), log_level="silent")(v2(), StreamingContext(Stream(fails_at=1)))


@pytest.mark.parametrize("streams", [True, False])
def test_a_generator_is_closed_in_every_case(streams: bool) -> None:
    closed = []

    def generate() -> Any:
        try:
            yield "a"
            yield 5
        finally:
            closed.append(True)

    context = StreamingContext(Stream()) if streams else None
    if streams:
        with pytest.raises(ValueError, match="not of int"):
            quiet(generate, log_level="silent")(v2(), context)
    else:
        assert quiet(generate, log_level="silent")(v2(), context)["statusCode"] == 500
    assert closed == [True]


def test_a_stream_without_an_end_is_not_collected_for_ever() -> None:
    def endless() -> Any:
        while True:
            yield b"x" * 65536

    assert quiet(endless, log_level="silent")(v2())["statusCode"] == 500


def test_a_bad_header_is_found_before_the_stream_begins() -> None:
    sink = Stream()
    result = quiet(lambda: stream(iter(["a"]), headers={"X": "a\nb"}), log_level="silent")(v2(), StreamingContext(sink))
    assert (result["statusCode"], sink.head) == (500, None)


def test_an_asynchronous_stream_of_a_blocking_handler_says_so(lines: Lines) -> None:
    result = handler(lambda: stream(apieces("a")()), logger=lines.logger())(v2())
    assert result["statusCode"] == 500
    assert "async def" in lines.records[0]["errorMessage"]


def test_a_list_is_no_stream() -> None:
    assert json.loads(of(["a", "b"])["body"]) == {"data": ["a", "b"]}
    assert of(stream(["a", "b"]))["body"] == "ab"


def test_the_context_is_there_while_a_stream_is_made() -> None:
    from venturekit.runtime import current_context

    def fn() -> Any:
        ctx = current_context()
        yield ctx.request_id if ctx else "nobody"

    assert quiet(fn)(v2())["body"] == "request-1"


INTERNAL_TEXT = '{"error":{"code":"INTERNAL_ERROR","message":"Internal server error"}}'
UNAUTHORIZED_TEXT = '{"error":{"code":"UNAUTHORIZED","message":"Authentication is required"}}'
URL_CONTEXT = {**v2()["requestContext"], "domainName": "abc.lambda-url.eu-central-1.on.aws"}


def teapot() -> Any:
    return Response("short", 418, {"X-A": "1"}, ["c=1"])


def refusing() -> Any:
    raise NotFoundError("File", "a")


@pytest.mark.parametrize(
    ("fn", "options", "expected"),
    [
        (teapot, {"streaming": True}, (418, ["c=1"], ["short"])),
        (lambda: Response(b"\xff", 201), {"streaming": True}, (201, [], [b"\xff"])),
        (lambda: None, {"status": 204, "streaming": True}, (204, [], [])),
        (lambda: float("nan"), {"streaming": True}, (500, [], [INTERNAL_TEXT])),
        (pieces("a"), {"scopes": ["all"]}, (401, [], [UNAUTHORIZED_TEXT])),
        (pieces(fails=ValueError("secret")), {}, (500, [], [INTERNAL_TEXT])),
        (apieces(fails=ValueError("secret")), {}, (500, [], [INTERNAL_TEXT])),
    ],
)
def test_behind_a_url_that_streams_everything_is_streamed(fn: Any, options: Any, expected: Any) -> None:
    sink = Stream()
    main = quiet(fn, log_level="silent", **options)
    assert main(v2(requestContext=URL_CONTEXT), StreamingContext(sink)) is None
    assert sink.head is not None
    assert (sink.head[0], sink.head[2], sink.pieces, sink.flushed) == (*expected, True)


@pytest.mark.parametrize(
    ("fn", "options", "event", "streams"),
    [
        (teapot, {}, v2(requestContext=URL_CONTEXT), True),
        (refusing, {"streaming": False}, v2(requestContext=URL_CONTEXT), True),
        (pieces(fails=NotFoundError("File", "a")), {"streaming": False}, v2(requestContext=URL_CONTEXT), True),
        (teapot, {"streaming": True}, v2(), True),
        (teapot, {"streaming": True}, v1(), True),
        (teapot, {"streaming": True}, v2(requestContext=URL_CONTEXT), False),
    ],
)
def test_elsewhere_a_whole_response_is_a_result(fn: Any, options: Any, event: Any, streams: bool) -> None:
    sink = Stream()
    result = quiet(fn, log_level="silent", **options)(event, StreamingContext(sink) if streams else None)
    assert (result["statusCode"] in (404, 418), sink.head) == (True, None)
