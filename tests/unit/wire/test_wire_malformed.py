"""Malformed and hostile requests: each is refused or cut, never handled, and the listener goes on serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.forms import thinned
from tests.unit.wire.wire_support import bench
from venturekit.service.wire.limits import MEBIBYTE, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"POST /x HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LIMITS = {"16kB": Limits(), "1MiB": Limits(head_bytes=MEBIBYTE)}
BAD = frozenset({400})
LARGE = frozenset({431})


@dataclass(frozen=True)
class Case:
    """``make`` gives the bytes for a limit of the head. ``ends``: the client ends its side behind them."""

    name: str
    make: Callable[[int], bytes]
    statuses: frozenset[int] = BAD
    ends: bool = False


def case(name: str, data: bytes, *statuses: int, ends: bool = False) -> Case:
    return Case(name, lambda limit: data, frozenset(statuses) or BAD, ends)


def sized(name: str, make: Callable[[int], bytes], *statuses: int) -> Case:
    return Case(name, make, frozenset(statuses) or LARGE)


def with_line(line: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n"


CONTROLS = [*range(9), 11, 12, *range(14, 32), 127]

FRAMING = [
    case("content-length-then-chunked", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("chunked-then-content-length", HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    case("content-length-twice-same", HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    case("content-length-twice-different", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    case("content-length-twice-case", HEAD + b"content-length: 5\r\nCONTENT-LENGTH: 5\r\n\r\nhello"),
    *(
        case(f"content-length-{name}", HEAD + b"Content-Length:" + value + b"\r\n\r\nhello")
        for name, value in {
            "empty": b"",
            "blank": b" ",
            "negative": b" -5",
            "plus": b" +5",
            "hexadecimal": b" 0x5",
            "underscore": b" 1_0",
            "float": b" 5.0",
            "exponent": b" 1e1",
            "list-same": b" 5, 5",
            "list-different": b" 5, 6",
            "words": b" five",
            "two-numbers": b" 5 5",
            "semicolon": b" 5;",
            "quoted": b' "5"',
            "overflow": b" 18446744073709551616",
            "overflow-long": b" " + b"9" * 400,
            "arabic-digit": b" \xd9\xa5",
            "nul": b" 5\0",
            "comma-first": b" ,5",
            "folded": b"\r\n 5",
        }.items()
    ),
    *(
        case(f"transfer-encoding-{name}", HEAD + b"Transfer-Encoding:" + value + b"\r\n\r\n0\r\n\r\n", 400, 501)
        for name, value in {
            "empty": b"",
            "identity": b" identity",
            "gzip": b" gzip",
            "gzip-chunked": b" gzip, chunked",
            "chunked-gzip": b" chunked, gzip",
            "chunked-chunked": b" chunked, chunked",
            "prefix": b" xchunked",
            "suffix": b" chunkedx",
            "parameter": b" chunked;q=1",
            "quoted": b' "chunked"',
            "vertical-tab": b" \x0bchunked",
            "form-feed": b" chunked\x0c",
            "nul": b" chunked\0",
            "comma-first": b" ,chunked",
            "comma-last": b" chunked,",
            "bare-cr": b" chunked\rX",
            "bare-lf": b"\nchunked",
            "folded": b"\r\n chunked",
            "two-lines": b" chunked\r\nTransfer-Encoding: chunked",
            "two-lines-identity": b" identity\r\nTransfer-Encoding: chunked",
            "two-lines-then-cow": b" chunked\r\nTransfer-Encoding: cow",
            "high-byte": b" chunked\xff",
            "no-break-space": b" \xa0chunked",
        }.items()
    ),
    case("transfer-encoding-name-blank", HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    case("transfer-encoding-name-tab", HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    case("transfer-encoding-leading-blank", HEAD + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("transfer-encoding-name-nul", HEAD + b"Transfer-\0Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("transfer-encoding-1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case(
        "transfer-encoding-1.0-keep-alive",
        b"POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    case("content-length-name-blank", HEAD + b"Content-Length : 5\r\n\r\nhello"),
]

LINES = [
    case("bare-lf-request-line", b"GET / HTTP/1.1\nHost: h\r\n\r\n"),
    case("bare-lf-header", b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    case("bare-lf-end", b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    case("bare-lf-everywhere", b"GET / HTTP/1.1\nHost: h\n\n"),
    case("bare-cr-request-line", b"GET / HTTP/1.1\rHost: h\r\n\r\n"),
    case("bare-cr-header", b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
    case("bare-cr-end", b"GET / HTTP/1.1\r\nHost: h\r\n\rX"),
    case("cr-cr-lf", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
    case("fold-blank", with_line(b"X: a\r\n b")),
    case("fold-tab", with_line(b"X: a\r\n\tb")),
    case("fold-empty-value", with_line(b"X:\r\n b")),
    case("fold-first-line", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    case("no-colon", with_line(b"abc")),
    case("empty-name", with_line(b": value")),
    case("name-blank-colon", with_line(b"X : y")),
    case("name-inner-blank", with_line(b"X Y: z")),
    *(
        case(f"name-{name}", with_line(b"a%bb: c" % mark))
        for name, mark in {
            "paren": b"(",
            "comma": b",",
            "slash": b"/",
            "semicolon": b";",
            "less": b"<",
            "equals": b"=",
            "question": b"?",
            "at": b"@",
            "bracket": b"[",
            "backslash": b"\\",
            "brace": b"{",
            "quote": b'"',
            "high": b"\xe9",
            "delete": b"\x7f",
            "tab": b"\t",
            "nul": b"\0",
            "unit": b"\x1f",
        }.items()
    ),
    *(case(f"value-control-{byte:02x}", with_line(b"X: a%cb" % byte)) for byte in CONTROLS),
    *(case(f"target-control-{byte:02x}", b"GET /a%cb HTTP/1.1\r\nHost: h\r\n\r\n" % byte) for byte in CONTROLS),
    case("target-tab", b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-blank", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-high", b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-utf8", "GET /ü HTTP/1.1\r\nHost: h\r\n\r\n".encode()),
    case("target-cr", b"GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-missing", b"GET HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-star-get", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-name-only", b"GET x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-authority", b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("target-backslash", b"GET \\x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-other-host", b"GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-other-port", b"GET http://h:81/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-user", b"GET http://h@h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-no-host", b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-ftp", b"GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("absolute-file", b"GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("host-missing", b"GET / HTTP/1.1\r\n\r\n"),
    case("host-missing-others", b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    case("host-twice", b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    case("host-twice-different", b"GET / HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n"),
    case("authorization-twice", with_line(b"Authorization: a\r\nAuthorization: b")),
    case("expect-twice", HEAD + b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
    case("expect-other", HEAD + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417),
    case("expect-two-values", HEAD + b"Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello", 417),
    case("expect-empty", HEAD + b"Expect:\r\nContent-Length: 5\r\n\r\nhello", 417),
    case("expect-other-chunked", HEAD + b"Expect: tea\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 417),
]

START = [
    *(
        case(f"version-{name}", b"GET / %b\r\nHost: h\r\n\r\n" % version, 400, 505)
        for name, version in {
            "0.9": b"HTTP/0.9",
            "1.2": b"HTTP/1.2",
            "2.0": b"HTTP/2.0",
            "2": b"HTTP/2",
            "3.0": b"HTTP/3.0",
            "9.9": b"HTTP/9.9",
            "1.10": b"HTTP/1.10",
            "11.1": b"HTTP/11.1",
            "lower": b"http/1.1",
            "no-minor": b"HTTP/1",
            "no-dot": b"HTTP/11",
            "dot-only": b"HTTP/.",
            "letters": b"HTTP/a.b",
            "blank": b"HTTP/1.1 ",
            "tail": b"HTTP/1.1x",
            "name": b"HTTQ/1.1",
            "ice": b"ICE/1.0",
            "none": b"",
            "comma": b"HTTP/1,1",
        }.items()
    ),
    case("version-2.0-keep-alive", b"GET / HTTP/2.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 505),
    case("version-0.9-keep-alive", b"GET / HTTP/0.9\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 505),
    case("version-2.0-body", b"POST / HTTP/2.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 505),
    case("simple-request", b"GET /\r\n\r\n", 400, 505),
    case("simple-request-host", b"GET /\r\nHost: h\r\n\r\n", 400, 505),
    *(
        case(f"method-{name}", b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method)
        for name, method in {
            "unknown": b"FOO",
            "lower": b"get",
            "mixed": b"Get",
            "long": b"GETX",
            "short": b"GE",
            "nul": b"G\0T",
            "high": b"G\xc9T",
            "number": b"123",
            "very-long": b"A" * 5000,
            "rtsp": b"DESCRIBE",
            "leading-blank": b" GET",
            "leading-tab": b"\tGET",
            "leading-bom": b"\xef\xbb\xbfGET",
            "brace": b"{GET}",
            "comma": b"GET,POST",
        }.items()
    ),
    case("connect", b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    case("connect-body", b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nContent-Length: 33\r\n\r\n", 501),
    case("connect-path", b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    case("connect-path-body", b"CONNECT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 33\r\n\r\n" + SECOND, 501),
    case("h2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    case("h2-preface-1.1", b"PRI * HTTP/1.1\r\nHost: h\r\n\r\n"),
    case("tls-hello", bytes.fromhex("16030100c8010000c40303") + bytes(range(200))),
    case("tls-alert", bytes.fromhex("15030100020228")),
    case("ssl2-hello", bytes.fromhex("802e0100020015")),
    case("socks5", b"\x05\x01\x00"),
    case("ssh", b"SSH-2.0-OpenSSH_9.6\r\n"),
    case("proxy-protocol", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + SECOND),
    case("proxy-protocol-2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), 400),
    case("smtp", b"EHLO x\r\n"),
    case("redis", b"*1\r\n$4\r\nPING\r\n"),
    case("json", b'{"a":1}\r\n\r\n'),
    case("response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    case("nul-only", b"\0" * 64),
    case("high-only", b"\xff" * 64),
    case("blank-line-flood", b"\r\n" * 50_000 + SECOND),
    case("lf-flood", b"\n" * 5000),
    case("cr-flood", b"\r" * 5000),
    case("blank-first", b"   " + SECOND),
]

CHUNKS = [
    *(
        case(f"chunk-{name}", CHUNKED + data)
        for name, data in {
            "size-blank-behind": b"3 \r\nabc\r\n0\r\n\r\n", "size-blank-before": b" 3\r\nabc\r\n0\r\n\r\n",
            "size-tab": b"3\t\r\nabc\r\n0\r\n\r\n", "size-0x": b"0x3\r\nabc\r\n0\r\n\r\n",
            "size-negative": b"-3\r\nabc\r\n0\r\n\r\n", "size-plus": b"+3\r\nabc\r\n0\r\n\r\n",
            "size-empty": b"\r\nabc\r\n0\r\n\r\n", "size-letter": b"g\r\nabc\r\n0\r\n\r\n",
            "size-underscore": b"1_0\r\nabc\r\n0\r\n\r\n", "size-overflow": b"1" * 17 + b"\r\nabc\r\n",
            "size-nul": b"3\0\r\nabc\r\n0\r\n\r\n", "size-comma": b"3,3\r\nabc\r\n0\r\n\r\n",
            "size-high": b"\xb3\r\nabc\r\n0\r\n\r\n", "size-float": b"3.0\r\nabc\r\n0\r\n\r\n",
            "lf-behind-size": b"3\nabc\r\n0\r\n\r\n", "cr-behind-size": b"3\rabc\r\n0\r\n\r\n",
            "lf-behind-data": b"3\r\nabc\n0\r\n\r\n", "cr-behind-data": b"3\r\nabc\r0\r\n\r\n",
            "no-end-of-data": b"3\r\nabc0\r\n\r\n", "data-too-long": b"3\r\nabcd\r\n0\r\n\r\n",
            "data-too-short": b"5\r\nabc\r\n0\r\n\r\n", "lf-at-end": b"0\r\n\n",
            "extension-empty": b"3;\r\nabc\r\n0\r\n\r\n", "extension-blank": b"3 ;a\r\nabc\r\n0\r\n\r\n",
            "extension-lf": b"3;a\nabc\r\n0\r\n\r\n", "extension-cr": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            "extension-control": b"3;a=\x01\r\nabc\r\n0\r\n\r\n", "extension-nul": b"3;\0\r\nabc\r\n0\r\n\r\n",
            "extension-quote-open": b'3;a="b\r\nabc\r\n0\r\n\r\n', "extension-high": b"3;\xff\r\nabc\r\n0\r\n\r\n",
            "trailer-no-colon": b"0\r\nabc\r\n\r\n", "trailer-blank-colon": b"0\r\nA : b\r\n\r\n",
            "trailer-fold": b"0\r\nA: b\r\n c\r\n\r\n", "trailer-control": b"0\r\nA: \x01\r\n\r\n",
            "trailer-bare-lf": b"0\r\nA: b\n\r\n", "trailer-content-length": b"0\r\nContent-Length: 3\r\n\r\n",
            "trailer-transfer-encoding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "trailer-connection": b"0\r\nCONNECTION: close\r\n\r\n",
            "trailer-proxy-connection": b"0\r\nProxy-Connection: close\r\n\r\n",
            "trailer-nul": b"0\r\n\0: b\r\n\r\n",
        }.items()
    ),
]  # fmt: skip

SIZES = [
    sized("target-over", lambda n: b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * n)),
    sized("target-endless", lambda n: b"GET /" + b"a" * (n + 300_000)),
    sized("query-over", lambda n: b"GET /?%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * n)),
    sized("value-over", lambda n: with_line(b"X: " + b"a" * n)),
    sized("value-endless", lambda n: b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (n + 300_000)),
    sized("value-blanks-endless", lambda n: b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b" " * (n + 300_000)),
    sized("name-over", lambda n: with_line(b"a" * n + b": x")),
    sized("name-endless", lambda n: b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * (n + 300_000)),
    sized("host-over", lambda n: b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"h" * n)),
    sized("two-values-over", lambda n: with_line(b"X: %b\r\nY: %b" % (b"a" * (n // 2), b"b" * (n // 2)))),
    sized("repeated-over", lambda n: with_line(b"\r\n".join([b"X: " + b"a" * (n // 10)] * 10))),
    sized("body-head-over", lambda n: HEAD + b"X: %b\r\nContent-Length: 5\r\n\r\nhello" % (b"a" * n)),
    sized("count-over", lambda n: with_line(b"\r\n".join(b"X%d: y" % i for i in range(101)))),
    sized("count-far-over", lambda n: with_line(b"\r\n".join(b"X%d: y" % i for i in range(n // 12)))),
    sized("count-empty-values", lambda n: with_line(b"\r\n".join(b"X%d:" % i for i in range(n // 9)))),
    sized("repeated-count-over", lambda n: with_line(b"\r\n".join([b"X: y"] * 101))),
    sized("repeated-flood", lambda n: with_line(b"\r\n".join([b"a:b"] * (n // 5)))),
    sized("repeated-flood-over", lambda n: with_line(b"\r\n".join([b"a:b"] * n))),
    sized("repeated-two-names", lambda n: with_line(b"\r\n".join([b"a:b\r\nc:d"] * (n // 10)))),
    sized("repeated-cookies", lambda n: with_line(b"\r\n".join([b"Cookie: a=b"] * 150))),
    sized("trailer-over", lambda n: CHUNKED + b"0\r\nA: " + b"a" * n + b"\r\n\r\n"),
    sized("trailer-endless", lambda n: CHUNKED + b"0\r\nA: " + b"a" * (2 * n + 600_000), 400, 431),
    sized("trailer-name-endless", lambda n: CHUNKED + b"0\r\n" + b"a" * (2 * n + 600_000), 400, 431),
    sized("trailer-count", lambda n: CHUNKED + b"0\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(150)) + b"\r\n"),
    sized("trailer-repeated", lambda n: CHUNKED + b"0\r\n" + b"A: b\r\n" * n + b"\r\n"),
    sized("extension-endless", lambda n: CHUNKED + b"3;a=" + b"a" * (2 * n + 600_000), 400),
    sized("extension-quoted-endless", lambda n: CHUNKED + b'3;a="' + b"a" * (2 * n + 600_000), 400),
    sized("extension-each-chunk", lambda n: CHUNKED + (b"1;" + b"e" * 5000 + b"\r\nx\r\n") * (n // 2000 + 200), 400),
    sized("size-zeros-endless", lambda n: CHUNKED + b"0" * (2 * n + 600_000), 400),
    sized("extension-many", lambda n: CHUNKED + b"3" + b";a=b" * (n // 2 + 200_000), 400),
]

TRUNCATED = [
    case(f"truncated-{name}", data, ends=True)
    for name, data in {
        "method": b"GE", "target": b"GET /x", "version": b"GET / HTTP/1.", "request-line": b"GET / HTTP/1.1\r\n",
        "header-name": b"GET / HTTP/1.1\r\nHos", "header-value": b"GET / HTTP/1.1\r\nHost: h",
        "header-cr": b"GET / HTTP/1.1\r\nHost: h\r", "head": b"GET / HTTP/1.1\r\nHost: h\r\n",
        "head-last-cr": b"GET / HTTP/1.1\r\nHost: h\r\n\r", "small-body": HEAD + b"Content-Length: 5\r\n\r\nhell",
        "no-body": HEAD + b"Content-Length: 5\r\n\r\n", "filled-body": HEAD + b"Content-Length: 100000\r\n\r\nhell",
        "direct-body": HEAD + b"Content-Length: 3000000\r\n\r\n" + b"a" * 700_000,
        "chunk-size": CHUNKED + b"5", "chunk-size-line": CHUNKED + b"5\r\n", "chunk-data": CHUNKED + b"5\r\nhe",
        "chunk-end": CHUNKED + b"5\r\nhello\r\n", "last-chunk": CHUNKED + b"5\r\nhello\r\n0\r\n",
        "trailer": CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n", "chunk-extension": CHUNKED + b"5;ab",
    }.items()
]  # fmt: skip

CORPUS = [*FRAMING, *LINES, *START, *CHUNKS, *SIZES, *TRUNCATED]


def test_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({it.name for it in CORPUS}) == len(CORPUS) >= 160


@pytest.mark.parametrize(
    ("it", "limits"),
    [(it, "16kB") for it in CORPUS] + thinned([(it, "1MiB") for it in CORPUS], 4),
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_malformed_request_is_refused(run: Any, it: Case, limits: str) -> None:
    """Alone, with a good request behind it, and cut in two: an answer of the expected kind or a close."""

    async def main() -> None:
        async with bench(LIMITS[limits]) as at:
            data = it.make(LIMITS[limits].head_bytes)
            variants = (
                [[data]] if it.ends else [[data], [data + SECOND], [data[: len(data) // 2], data[len(data) // 2 :]]]
            )
            for pieces in variants:
                client = await at.connect()
                for number, piece in enumerate(pieces):
                    if number:
                        await at.settle(1)
                    await client.send_tolerant(piece)
                if it.ends:
                    client.half_close()
                answers = await client.rest()
                assert len(answers) <= 1
                assert at.app.handled == []
                for answer in answers:
                    assert answer.status in it.statuses, answer
                    assert answer.headers["connection"] == "close"
                    assert answer.body
                client.close()
            await at.gone()
            assert len(at.app.refusals) == len(variants)
            await at.still_serves()

    run(main())
