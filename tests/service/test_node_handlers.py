"""Node.js handlers of every kind, by the rules up to nodejs22.x and by those from nodejs24.x on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.node_support import NEW, OLD, RUNTIMES, Threw, call, create, create_cases, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet, RunningService

GONE = Threw("Runtime.ExitError", "Runtime exited without providing a reason")
UNSERIALIZABLE = "Unable to stringify response body"


@dataclass(frozen=True)
class Case:
    """A handler, and what it gives by the old rules and by the new ones (the same where nothing else is said)."""

    source: str
    old: Any
    new: Any = ...

    def expected(self, runtime: str) -> Any:
        return self.old if runtime == OLD or self.new is ... else self.new


NO_METHOD = "context.{0} is not a function"
UNREADABLE = (
    "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, "
    "and stack"
)
CASES = {
    # what it returns
    "promise of an object": Case("async (e) => ({ e })", {"e": {"k": "ü"}}),
    "promise of nothing": Case("async () => {}", None),
    "promise of null": Case("async () => null", None),
    "promise of false": Case("async () => false", False),
    "promise of zero": Case("async () => 0", 0),
    "promise of a text": Case("async () => 'täxt \\u{1f600}'", "täxt \U0001f600"),
    "promise of an empty text": Case("async () => ''", ""),
    "promise of NaN": Case("async () => NaN", None),
    "promise of a date": Case("async () => new Date(0)", "1970-01-01T00:00:00.000Z"),
    "promise of bytes": Case("async () => Buffer.from('hi')", {"type": "Buffer", "data": [104, 105]}),
    "promise of a map": Case("async () => new Map([[1, 2]])", {}),
    "half a surrogate pair": Case("async () => '\\ud800'", "\ud800"),
    "members that are undefined": Case("async () => ({ a: undefined, b: [undefined] })", {"b": [None]}),
    "its own toJSON": Case("async () => ({ toJSON: () => 'mine' })", "mine"),
    "a large result": Case("async () => 'x'.repeat(1000000)", "x" * 1_000_000),
    "no async, a promise": Case("() => Promise.resolve('p')", "p"),
    "no async, a thenable": Case("() => ({ then: (resolve) => resolve('thenable') })", "thenable"),
    "no async, a value": Case("() => 'value'", None, "value"),
    "no async, nothing": Case("() => {}", None),
    "no async, with a timer": Case("() => { setTimeout(() => {}, 20); return 1; }", None, 1),
    # what cannot be told
    "a bigint": Case(
        "async () => 1n", Threw("Error", UNSERIALIZABLE), Threw("Runtime.JSONStringifyError", UNSERIALIZABLE)
    ),
    "a circle": Case(
        "async () => { const a = {}; a.a = a; return a; }",
        Threw("Error", UNSERIALIZABLE),
        Threw("Runtime.JSONStringifyError", UNSERIALIZABLE),
    ),
    "a toJSON that throws": Case(
        "async () => ({ toJSON() { throw new Error('t'); } })",
        Threw("Error", UNSERIALIZABLE),
        Threw("Runtime.JSONStringifyError", UNSERIALIZABLE),
    ),
    "a function": Case("async () => () => 1", Threw("TypeError", "Wrong arguments")),
    "a symbol": Case("async () => Symbol('s')", Threw("TypeError", "Wrong arguments")),
    # what it throws
    "an error": Case("async () => { throw new Error('e'); }", Threw("Error", "e")),
    "an error of a kind": Case("async () => { throw new RangeError('r'); }", Threw("RangeError", "r")),
    "an error at once": Case("() => { throw new TypeError('at once'); }", Threw("TypeError", "at once")),
    "an error with a name": Case(
        "async () => { throw Object.assign(new Error('n'), { name: 'Named' }); }", Threw("Named", "n")
    ),
    "an error of an own class": Case(
        "async () => { class Mine extends Error {} throw new Mine('m'); }", Threw("Error", "m")
    ),
    "an error with a cause": Case(
        "async () => { throw new Error('outer', { cause: new Error('inner') }); }", Threw("Error", "outer")
    ),
    "many errors": Case(
        "async () => { throw new AggregateError([new Error('1')], 'many'); }", Threw("AggregateError", "many")
    ),
    "an error without a message": Case("async () => { throw new Error(); }", Threw("Error", "")),
    "an error in lines": Case("async () => { throw new Error('a\\nb'); }", Threw("Error", "a\nb")),
    "an error with DEL": Case("async () => { throw new Error('a\\x7fb'); }", Threw("Error", "a%7Fb")),
    "an error without a stack": Case(
        "async () => { const e = new Error('s'); e.stack = undefined; throw e; }",
        Threw("handled", UNREADABLE),
        Threw("Error", "s"),
    ),
    "a text thrown": Case("async () => { throw 'text'; }", Threw("string", "text")),
    "a number thrown": Case("async () => { throw 42; }", Threw("number", "42")),
    "null thrown": Case("async () => { throw null; }", Threw("string", "handled"), Threw("object", "null")),
    "undefined thrown": Case(
        "async () => { throw undefined; }", Threw("string", "handled"), Threw("undefined", "undefined")
    ),
    "null thrown at once": Case("() => { throw null; }", None, Threw("object", "null")),
    "an object thrown": Case("async () => { throw { message: 'no' }; }", Threw("object", "[object Object]")),
    "an object without a text thrown": Case(
        "async () => { throw Object.create(null); }",
        Threw("handled", UNREADABLE),
    ),
    "an error whose name cannot be read": Case(
        "async () => { throw Object.defineProperty(new Error('e'), 'name', { get() { throw new Error('n'); } }); }",
        Threw("handled", UNREADABLE),
    ),
    "an error whose name is no text": Case(
        "async () => { throw Object.assign(new Error('e'), { name: { a: 1 } }); }", Threw("handled", UNREADABLE)
    ),
    "an error whose message is a bigint": Case(
        "async () => { throw Object.assign(new Error(), { message: 5n }); }", Threw("handled", UNREADABLE)
    ),
    "an error that holds a bigint": Case(
        "async () => { throw Object.assign(new Error('b'), { big: 5n }); }", Threw("Error", "b")
    ),
    "a proxy that nobody may ask thrown": Case(
        "async () => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy; }",
        Threw("handled", UNREADABLE),
    ),
    # the context's methods
    "context.succeed": Case(
        "(e, context) => context.succeed('s')", "s", Threw("TypeError", NO_METHOD.format("succeed"))
    ),
    "context.fail": Case(
        "(e, context) => context.fail(new Error('f'))",
        Threw("Error", "f"),
        Threw("TypeError", NO_METHOD.format("fail")),
    ),
    "context.fail without a reason": Case(
        "(e, context) => context.fail()", Threw("string", "handled"), Threw("TypeError", NO_METHOD.format("fail"))
    ),
    "context.done": Case("(e, context) => context.done(null, 'd')", "d", Threw("TypeError", NO_METHOD.format("done"))),
    "context.done with an error": Case(
        "(e, context) => context.done('bad')", Threw("string", "bad"), Threw("TypeError", NO_METHOD.format("done"))
    ),
    "context.succeed before a promise": Case(
        "async (e, context) => { context.succeed('first'); return 'second'; }",
        "first",
        Threw("TypeError", NO_METHOD.format("succeed")),
    ),
    # what never comes
    "a promise that stays": Case("async () => { await new Promise(() => {}); }", None, GONE),
    "a promise that stays, with a timer": Case(
        "async () => { setTimeout(() => {}, 20); await new Promise(() => {}); }", None, GONE
    ),
    # the end of the process
    "process.exit": Case("async () => process.exit()", GONE),
    "process.exit with a status": Case(
        "async () => process.exit(5)", Threw("Runtime.ExitError", "Runtime exited with error: exit status 5")
    ),
    "process.abort": Case(
        "async () => process.abort()", Threw("Runtime.ExitError", "Runtime exited with error: signal: aborted")
    ),
    "killed": Case(
        "async () => { process.kill(process.pid, 'SIGKILL'); await new Promise((r) => setTimeout(r, 5000)); }",
        Threw("Runtime.ExitError", "Runtime exited with error: signal: killed"),
    ),
    "an exit status for later": Case("async () => { process.exitCode = 7; return 1; }", 1),
    "an uncaught exception": Case(
        "async () => { setTimeout(() => { throw new Error('later'); }, 5); await new Promise(() => {}); }",
        Threw("Error", "later"),
        Threw("Runtime.ExitError", "Runtime exited with error: exit status 1"),
    ),
    "an unhandled rejection": Case(
        "async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 5000)); }",
        Threw("Runtime.UnhandledPromiseRejection", "Error: lost"),
        Threw("Runtime.ExitError", "Runtime exited with error: exit status 1"),
    ),
    "an unhandled rejection of a text": Case(
        "async () => { Promise.reject('lost'); await new Promise((r) => setTimeout(r, 5000)); }",
        Threw("Runtime.UnhandledPromiseRejection", "lost"),
        Threw("Runtime.ExitError", "Runtime exited with error: exit status 1"),
    ),
    "a handled rejection": Case(
        "async () => { Promise.reject(new Error('x')).catch(() => {}); return 'fine'; }", "fine"
    ),
}

CALLBACKS = {
    "a value": ("(e, c, callback) => callback(null, { a: 1 })", {"a": 1}),
    "nothing": ("(e, c, callback) => callback()", None),
    "an error": ("(e, c, callback) => callback(new TypeError('cb'))", Threw("TypeError", "cb")),
    "a text for an error": ("(e, c, callback) => callback('bad')", Threw("string", "bad")),
    "later": ("(e, c, callback) => { setTimeout(() => callback(null, 'later'), 20); }", "later"),
    "twice": ("(e, c, callback) => { callback(null, 1); callback(null, 2); }", 1),
    "an error after a value": ("(e, c, callback) => { callback(null, 1); callback(new Error('late')); }", 1),
    "never": ("(e, c, callback) => {}", None),
    "never, with a timer": ("(e, c, callback) => { setTimeout(() => {}, 20); }", None),
    "in an async function": ("async (e, c, callback) => { callback(null, 'called'); }", "called"),
    "an async function that returns": ("async (e, c, callback) => 'returned'", "returned"),
    "a sync function that throws": ("(e, c, callback) => { throw new Error('thrown'); }", Threw("Error", "thrown")),
    "a value that cannot be told": ("(e, c, callback) => callback(null, 1n)", Threw("Error", UNSERIALIZABLE)),
}


@pytest.fixture(scope="module", params=RUNTIMES)
def handlers(request: pytest.FixtureRequest, shared_service: RunningService) -> Iterator[tuple[FunctionSet, str, str]]:
    """A function with the handlers of CASES: the set it belongs to, its name, its runtime."""
    functions = shared_service.functions()
    sources = {name: case.source for name, case in CASES.items()}
    yield functions, create_cases(functions, sources, request.param), request.param
    functions.delete_all()


@pytest.mark.parametrize("case", CASES)
def test_a_handler(handlers: tuple[FunctionSet, str, str], case: str) -> None:
    functions, name, runtime = handlers
    answer = call(functions, name, case, {"k": "ü"})
    found = outcome(answer)
    if isinstance(found, Threw) and found.type == "Runtime.ExitError":
        found = Threw(found.type, found.message.removeprefix(f"RequestId: {answer.request_id} Error: "))
    assert found == CASES[case].expected(runtime)


@pytest.fixture(scope="module")
def callbacks(shared_service: RunningService) -> Iterator[tuple[FunctionSet, str]]:
    functions = shared_service.functions()
    yield functions, create_cases(functions, {name: source for name, (source, _) in CALLBACKS.items()})
    functions.delete_all()


@pytest.mark.parametrize("case", CALLBACKS)
def test_a_callback(callbacks: tuple[FunctionSet, str], case: str) -> None:
    functions, name = callbacks
    assert outcome(call(functions, name, case)) == CALLBACKS[case][1]


@pytest.mark.parametrize("source", ["(e, c, callback) => callback(null, 1)", "async (e, c, callback) => 1"])
def test_callbacks_are_refused_from_nodejs24_on(functions: FunctionSet, source: str) -> None:
    answer = functions.invoke(create(functions, f"exports.handler = {source};", NEW))
    assert outcome(answer).type == "Runtime.CallbackHandlerDeprecated"
    assert "starting with Node.js 24" in answer.value["errorMessage"]


@pytest.mark.parametrize("source", ["(e, c, x = 1) => 'default'", "(...all) => `rest of ${all.length}`"])
def test_only_what_has_a_third_parameter_counts_as_a_callback(functions: FunctionSet, source: str) -> None:
    answer = functions.invoke(create(functions, f"exports.handler = {source};", NEW))
    assert answer.value in ("default", "rest of 2")


WAITING = """
const finished = [];
exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event;
  const before = [...finished];
  setTimeout(() => finished.push('timer'), 100);
  callback(null, before);
};
"""


def test_a_callback_waits_for_an_empty_event_loop(functions: FunctionSet) -> None:
    name = create(functions, WAITING)
    assert [functions.invoke(name, True).value for _ in range(3)] == [[], ["timer"], ["timer", "timer"]]


def test_a_callback_need_not_wait(functions: FunctionSet) -> None:
    # The function's time is over long before the timer is.
    source = WAITING.replace("100)", "60000)")
    assert functions.invoke(create(functions, source), False).value == []


CONTEXT = """
const describe = async (event, context) => {
  const { getRemainingTimeInMillis, ...rest } = context;
  return { members: Object.keys(context), left: context.getRemainingTimeInMillis(), rest };
};
exports.handler = async (event, context) => describe(event, context);
"""
TOLD = ["clientContext", "identity", "invokedFunctionArn", "awsRequestId", "tenantId"]
OWN = ["functionVersion", "functionName", "memoryLimitInMB", "logGroupName", "logStreamName"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_context(functions: FunctionSet, runtime: str) -> None:
    name = create(functions, CONTEXT, runtime, Timeout=20, MemorySize=256)
    answer = functions.invoke(name, ClientContext="eyJjdXN0b20iOnsiYSI6ImLDvCJ9fQ==")
    found = answer.value
    assert 15_000 < found["left"] <= 20_000
    if runtime == OLD:
        expected = [
            "callbackWaitsForEmptyEventLoop",
            "succeed",
            "fail",
            "done",
            *OWN,
            *TOLD,
            "getRemainingTimeInMillis",
        ]
        assert found["members"] == expected
    else:
        moved = ["functionName", "functionVersion", *OWN[2:]]
        assert sorted(found["members"]) == sorted([*TOLD, "xRayTraceId", "getRemainingTimeInMillis", *moved])
        assert found["rest"]["xRayTraceId"].startswith("Root=1-")
    rest = found["rest"]
    assert rest["clientContext"] == {"custom": {"a": "bü"}}
    assert (rest["functionName"], rest["functionVersion"], rest["memoryLimitInMB"]) == (name, "$LATEST", "256")
    assert (rest["awsRequestId"], rest["logGroupName"]) == (answer.request_id, f"/aws/lambda/{name}")
    assert rest["invokedFunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert rest["logStreamName"].partition("[")[2].startswith("$LATEST]")


def test_events_of_every_kind(functions: FunctionSet) -> None:
    name = create(functions, "exports.handler = async (event) => [typeof event, event];")
    for event in (None, True, 0, -1.5, "ü", [], {"": {"ä": [None]}}, "x" * 300_000):
        kind = {type(None): "object", bool: "boolean", int: "number", float: "number", str: "string"}.get(
            type(event), "object"
        )
        body = functions.invoke(name, raw=json.dumps(event).encode()).value
        assert body == [kind, event]


def test_state_is_kept_and_the_process_serves_on_after_an_error(functions: FunctionSet) -> None:
    source = "let n = 0; exports.handler = async (e) => { n += 1; if (e === 'bad') throw new Error('x'); return n; };"
    name = create(functions, source)
    assert [outcome(functions.invoke(name, e)) for e in (1, "bad", 2)] == [1, Threw("Error", "x"), 3]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("wait", ["", "await null; "])
def test_a_stack_trace_shows_the_functions_frames_alone(functions: FunctionSet, runtime: str, wait: str) -> None:
    source = f"exports.handler = async () => {{ {wait}throw new Error('here'); }};"
    trace = functions.invoke(create(functions, source, runtime)).value["trace"]
    assert trace[0] == "Error: here"
    assert len(trace) == 2
    assert re.fullmatch(r"    at exports\.handler \(/.*/app\.js:1:\d+\)", trace[1])


STORE = """
const store = awslambda.InvokeStore;
const before = [store.hasContext(), store.getRequestId()];
exports.handler = async () => {
  const kept = store.get('kept');
  store.set('kept', 1);
  let refused;
  try { store.set(Symbol.for('_AWS_LAMBDA_REQUEST_ID'), 'mine'); } catch (error) { refused = error.message; }
  return [before, store.getRequestId(), store.getXRayTraceId(), kept, store.get('kept'), store.hasContext(), refused];
};
"""


def test_the_store_of_an_invocation(functions: FunctionSet) -> None:
    name = create(functions, STORE, NEW)
    for _ in range(2):
        answer = functions.invoke(name)
        before, request_id, trace, kept, keeps, has_context, refused = answer.value
        assert (before, request_id) == ([False, "-"], answer.request_id)
        assert trace.startswith("Root=1-")
        assert (kept, keeps, has_context) == (None, 1, True)
        assert refused == "Cannot modify protected Lambda context field: Symbol(_AWS_LAMBDA_REQUEST_ID)"


@pytest.mark.parametrize(
    ("runtime", "variables", "found"),
    [
        (OLD, {}, ["streamifyResponse", "HttpResponseStream"]),
        (NEW, {}, ["streamifyResponse", "HttpResponseStream", "InvokeStore"]),
        (NEW, {"AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA": "true"}, []),
    ],
)
def test_the_global_of_a_runtime(
    functions: FunctionSet, runtime: str, variables: dict[str, str], found: list[str]
) -> None:
    source = "exports.handler = async () => Object.keys(globalThis.awslambda ?? {});"
    name = create(functions, source, runtime, Environment={"Variables": variables})
    assert functions.invoke(name).value == found


def test_the_trace_is_a_variable_while_the_function_runs(functions: FunctionSet) -> None:
    name = create(functions, "exports.handler = async () => process.env._X_AMZN_TRACE_ID;")
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    assert functions.post(name, X_Amzn_Trace_Id=trace).json.startswith("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;")
    assert functions.invoke(name).value.startswith("Root=1-")
