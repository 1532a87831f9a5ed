"""What Node.js functions log: text and JSON records, levels, errors, and what bypasses the console."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.node_support import NEW, OLD, RUNTIMES, create

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet, Outcome

LEVELS = """
exports.handler = async () => {
  for (const level of ['trace', 'debug', 'log', 'info', 'warn', 'error', 'fatal']) console[level](level);
};
"""
METHODS = {"trace": "TRACE", "debug": "DEBUG", "log": "INFO", "info": "INFO"} | {
    "warn": "WARN",
    "error": "ERROR",
    "fatal": "FATAL",
}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def logged(functions: FunctionSet, body: str, runtime: str = OLD, **members: Any) -> tuple[list[str], Outcome]:
    """The log of one invocation of a handler with this body, record by record, and its outcome."""
    name = create(functions, f"exports.handler = async () => {{ {body} }};", runtime, **members)
    outcome = functions.invoke(name)
    lines = functions.log_lines(name)
    begin = next(number for number, line in enumerate(lines) if line.startswith(("START ", '{"time"')))
    end = next(number for number, line in enumerate(lines) if line.startswith("END ") or "platform.report" in line)
    return lines[begin + 1 : end], outcome


def json_records(functions: FunctionSet, body: str, level: str = "TRACE", runtime: str = OLD) -> list[dict[str, Any]]:
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": level}
    lines, outcome = logged(functions, body, runtime, LoggingConfig=logging)
    records = [json.loads(line) for line in lines if '"message"' in line or '"level"' in line]
    own = [record for record in records if "timestamp" in record]
    for record in own:
        assert re.fullmatch(TIME, record.pop("timestamp"))
        assert record.pop("requestId") == outcome.request_id
    return own


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_method_has_its_level(functions: FunctionSet, runtime: str) -> None:
    name = create(functions, LEVELS, runtime)
    outcome = functions.invoke(name)
    found = [line for line in outcome.log.splitlines() if "\t" in line and not line.startswith("REPORT")]
    for line, (method, level) in zip(found, METHODS.items(), strict=True):
        assert re.fullmatch(rf"{TIME}\t{outcome.request_id}\t{level}\t{method}", line)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("console.log('a %s %d', 'b', 3, { c: 1 })", "a b 3 { c: 1 }"),
        ("console.log({ a: [1, { b: 2 }] })", "{ a: [ 1, { b: 2 } ] }"),
        ("console.log()", "undefined"),
        ("console.log(undefined, null, 1n)", "undefined null 1n"),
        ("console.log('')", ""),
        ("console.log('ü \\u{1f600}')", "ü \U0001f600"),
        ("console.log('one\\ntwo\\n\\nthree')", "one\ntwo\n\nthree"),
        ("console.log('tab\\there')", "tab\there"),
        ("console.count()", "default: 1"),
        ("console.group('in'); console.log('x'); console.groupEnd()", "in"),
        ("console.info('\\ud800')", "\N{REPLACEMENT CHARACTER}"),
        ("const { log } = console; log('loose')", "loose"),
    ],
)
def test_text_records(functions: FunctionSet, statement: str, text: str) -> None:
    records, outcome = logged(functions, statement)
    assert re.fullmatch(rf"{TIME}\t{outcome.request_id}\tINFO\t{re.escape(text)}\n", records[0])


def test_a_record_of_many_lines_is_one_record(functions: FunctionSet) -> None:
    records, _ = logged(functions, "console.table([{ a: 1 }]); console.log('after')")
    assert len(records) == 2
    assert records[0].count("\n") == 5


def test_what_bypasses_the_console_is_logged_as_it_is(functions: FunctionSet) -> None:
    body = "process.stdout.write('out\\n'); process.stderr.write('err\\n'); console.dir({ d: 1 }); console.log('log');"
    records, _ = logged(functions, body)
    assert [line for line in records if "\t" not in line] == ["out\n", "err\n", "{ d: 1 }\n"]
    assert records[-1].endswith("\tlog\n")


def test_the_order_of_all_output_is_kept(functions: FunctionSet) -> None:
    body = "for (let i = 0; i < 50; i++) { console.log(`c${i}`); process.stdout.write(`s${i}\\n`); }"
    records, _ = logged(functions, body)
    found = [line.rstrip("\n").rpartition("\t")[2] for line in records]
    assert found == [f"{kind}{number}" for number in range(50) for kind in "cs"]


def test_much_at_once(functions: FunctionSet) -> None:
    body = "for (let i = 0; i < 300; i++) console.log(`${i} ` + 'x'.repeat(5000)); console.log('end')"
    records, _ = logged(functions, body, MemorySize=256)
    assert [int(line.split("\t")[3].split()[0]) for line in records[:-1]] == list(range(300))
    assert records[-1].endswith("\tend\n")


def test_a_record_of_more_than_one_frame(functions: FunctionSet) -> None:
    body = "console.log('x'.repeat(2500000) + '\u00fc'); console.log('after')"
    records, _ = logged(functions, body, MemorySize=256)
    text = "".join(record.rstrip("\n") for record in records[:-1])
    assert re.fullmatch(rf"{TIME}\t\S+\tINFO\tx{{2500000}}\u00fc", text)
    assert records[-1].endswith("\tafter\n")


def test_a_child_process_writes_to_the_log(functions: FunctionSet) -> None:
    body = "require('child_process').execFileSync('/bin/echo', ['from a child'], { stdio: 'inherit' });"
    records, _ = logged(functions, body)
    assert records == ["from a child\n"]


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thrown", "fields"),
    [
        ("new Error('e')", {"errorType": "Error", "errorMessage": "e"}),
        (
            "Object.assign(new Error('x'), { status: 4, code: 'EX', deep: { a: [1] } })",
            {"errorType": "Error", "errorMessage": "x", "code": "EX", "status": 4, "deep": {"a": [1]}},
        ),
        ("new Error('outer', { cause: new Error('inner') })", {"errorType": "Error", "errorMessage": "outer"}),
        ("'text'", {"errorType": "Error", "errorMessage": "text"}),
    ],
)
def test_an_error_in_text(functions: FunctionSet, thrown: str, fields: dict[str, Any]) -> None:
    records, outcome = logged(functions, f"throw {thrown}")
    head, _, told = records[0].rpartition("\t")
    assert re.fullmatch(rf"{TIME}\t{outcome.request_id}\tERROR\tInvoke Error ", head)
    found = json.loads(told)
    stack = found.pop("stack")
    assert found == fields
    assert list(found) == list(fields)
    assert stack[0] == f"Error: {fields['errorMessage']}"
    assert not any("environments/node" in line for line in stack)


def test_an_error_that_holds_itself(functions: FunctionSet) -> None:
    records, _ = logged(functions, "const e = new Error('c'); e.self = e; throw e;")
    assert list(json.loads(records[0].rpartition("\t")[2])) == ["errorType", "errorMessage", "trace"]


def test_an_unhandled_rejection_tells_its_reason(functions: FunctionSet) -> None:
    body = "Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 5000));"
    records, outcome = logged(functions, body)
    assert outcome.value["errorType"] == "Runtime.UnhandledPromiseRejection"
    assert "\tERROR\tUnhandled Promise Rejection \t" in records[0]
    told = json.loads(records[0].rpartition("\t")[2])
    assert told["reason"]["errorMessage"] == "lost"
    assert told["promise"] == {}


def test_an_uncaught_exception_in_the_newer_way(functions: FunctionSet) -> None:
    body = "setTimeout(() => { throw new Error('later'); }, 5); await new Promise((r) => setTimeout(r, 5000));"
    records, _ = logged(functions, body, NEW)
    assert "Error: later\n" in records


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize("member", ["name", "message", "stack", "constructor"])
def test_an_error_that_cannot_be_read(functions: FunctionSet, log_format: str, member: str) -> None:
    thrown = f"Object.defineProperty(new Error('e'), '{member}', {{ get() {{ throw new Error('no'); }} }})"
    name = create(
        functions, f"exports.handler = async () => {{ throw {thrown}; }};", LoggingConfig={"LogFormat": log_format}
    )
    answer = functions.invoke(name)
    if member != "constructor":
        assert answer.value["errorType"] == "handled"
    # It was posted, and logged; the process serves on.
    assert "Init Duration" not in functions.invoke(name).log
    assert answer.log.count("ERROR") == 1


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "fields"),
    [
        ("console.log('text')", {"level": "INFO", "message": "text"}),
        ("console.log('%s-%d', 'q', 3)", {"level": "INFO", "message": "q-3"}),
        ("console.warn({ a: { b: [1] } })", {"level": "WARN", "message": {"a": {"b": [1]}}}),
        ("console.log('with', { a: 1 })", {"level": "INFO", "message": "with { a: 1 }"}),
        ("console.log(5)", {"level": "INFO", "message": 5}),
        ("console.log(true)", {"level": "INFO", "message": True}),
        ("console.log([1])", {"level": "INFO", "message": [1]}),
        ("console.log(null)", {"level": "INFO", "message": None}),
        ("console.log(1n)", {"level": "INFO", "message": "1n"}),
        ("console.log({ big: 2n })", {"level": "INFO", "message": "{ big: 2n }"}),
        ("const z = {}; z.z = z; console.log(z)", {"level": "INFO", "message": "<ref *1> { z: [Circular *1] }"}),
        ("console.log()", {"level": "INFO"}),
        ("console.log('')", {"level": "INFO", "message": ""}),
        ("console.log('a\\nb')", {"level": "INFO", "message": "a\nb"}),
        ("console.fatal('f')", {"level": "FATAL", "message": "f"}),
        ("console.trace('t')", {"level": "TRACE", "message": "t"}),
    ],
)
def test_json_records(functions: FunctionSet, statement: str, fields: dict[str, Any]) -> None:
    assert json_records(functions, statement) == [fields]


ERROR = "class Mine extends Error { constructor(m) { super(m); this.name = 'Named'; this.code = 'C1'; } }"


def test_an_error_alone_in_json(functions: FunctionSet) -> None:
    (record,) = json_records(functions, f"{ERROR} console.error(new Mine('m'))")
    message = record.pop("message")
    assert record == {"level": "ERROR"}
    assert message.pop("stackTrace")[0] == "Named: m"
    assert message == {"errorType": "Mine", "errorMessage": "m", "name": "Named", "code": "C1"}


def test_an_error_beside_a_text_in_json(functions: FunctionSet) -> None:
    (record,) = json_records(functions, f"{ERROR} console.error('before', new Mine('m'))")
    assert record["message"].startswith("before Named: m\n")
    assert (record["errorType"], record["errorMessage"], record["stackTrace"][0]) == ("Mine", "m", "Named: m")


def test_a_failed_invocation_in_json(functions: FunctionSet) -> None:
    (record,) = json_records(functions, "throw new RangeError('r')")
    assert record["level"] == "ERROR"
    assert (record["message"]["errorType"], record["message"]["errorMessage"]) == ("RangeError", "r")


@pytest.mark.parametrize(
    ("level", "shown"), [("TRACE", 7), ("DEBUG", 6), ("INFO", 5), ("WARN", 3), ("ERROR", 2), ("FATAL", 1)]
)
def test_levels_are_left_out(functions: FunctionSet, level: str, shown: int) -> None:
    body = LEVELS.partition("{")[2].rpartition("}")[0]
    found = [record["message"] for record in json_records(functions, body, level)]
    assert found == list(METHODS)[-shown:]


@pytest.mark.parametrize(("level", "records"), [("ERROR", 1), ("FATAL", 0)])
def test_a_failure_is_a_record_of_level_error(functions: FunctionSet, level: str, records: int) -> None:
    assert len(json_records(functions, "console.warn('w'); throw new Error('e')", level)) == records


def test_from_nodejs24_on_a_record_belongs_to_the_invocation_that_began_it(functions: FunctionSet) -> None:
    source = """
let say = () => {};
exports.handler = async (event) => {
  if (event === 'begin') { setTimeout(() => console.log('later'), 50); return 1; }
  await new Promise((resolve) => setTimeout(resolve, 300));
};
"""
    for runtime, belongs_to in ((OLD, 1), (NEW, 0)):
        name = create(functions, source, runtime)
        ids = [functions.invoke(name, event).request_id for event in ("begin", "wait")]
        (line,) = [line for line in functions.log_lines(name) if line.endswith("\tlater\n")]
        assert line.split("\t")[1] == ids[belongs_to], runtime
