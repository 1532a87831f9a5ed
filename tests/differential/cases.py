"""The functions that both clients run: small sources, grouped by what they show."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from tests.differential.scripted_api import Event

PYTHON_312 = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}
JSON_LOG = {"AWS_LAMBDA_LOG_FORMAT": "JSON"}


@dataclass(frozen=True)
class Case:
    """One function, what it is sent, and how its environment is set up."""

    name: str
    files: dict[str, str]
    handler: str = "fn.handler"
    events: list[Event] = field(default_factory=lambda: [Event()])
    environ: dict[str, str] = field(default_factory=dict)
    framed: bool = False


CASES: list[Case] = []


def _case(name: str, source: str, **options: object) -> None:
    files = {"fn.py": textwrap.dedent(source)} | options.pop("files", {})  # type: ignore[operator]
    CASES.append(Case(name, files, **options))  # type: ignore[arg-type]


def _returns(name: str, expression: str, imports: str = "", **options: object) -> None:
    _case(f"returns {name}", f"{imports}\ndef handler(event, context):\n    return {expression}\n", **options)


def _raises(name: str, statement: str, before: str = "", **options: object) -> None:
    source = f"{before}\ndef handler(event, context):\n" + textwrap.indent(textwrap.dedent(statement).strip(), "    ")
    _case(f"raises {name}", source + "\n", **options)


# --- results ---------------------------------------------------------------------------------------------------------
_returns("a dict", "{'statusCode': 200, 'headers': {}, 'body': 'ok', 'nested': {'list': [1, [2, [3]]]}}")
_returns("the event", "event", events=[Event(b'{"a": [1, 2.5, null, true, "\\u00e9"], "a": 2}')])
_returns("a list", "[1, 'two', 3.0, None, True, False, []]")
_returns("a tuple", "(1, (2, 3), ())")
_returns("None", "None")
_returns("an empty string", "''")
_returns("text with emoji", "'caf\u00e9 \U0001f600 \\u2028 </script> \\x7f \\x00 \"\\\\'")
_returns("text with emoji on 3.12", "{'caf\u00e9': '\U0001f600 \\u2028 \\x7f \\x00'}", environ=PYTHON_312)
_returns("a lone surrogate", "'\\ud800'")
_returns("a lone surrogate on 3.12", "'\\ud800'", environ=PYTHON_312)
_returns("integers", "[0, -1, 2**53 + 1, 10**40]")
_returns("an integer with too many digits", "10**5000")
_returns("floats", "[1.0, -0.0, 1e22, 1e-7, 0.1, 1e16]")
_returns("NaN", "[float('nan'), float('inf'), float('-inf')]")
_returns("a Decimal", "Decimal('1.10')", "from decimal import Decimal")
_returns("Decimals", "{'d': [Decimal('1E+3'), Decimal('NaN'), Decimal('Infinity')]}", "from decimal import Decimal")
_returns("a Decimal key", "{Decimal('1'): 1}", "from decimal import Decimal")
_returns("a date", "datetime.datetime(2020, 1, 1)", "import datetime")
_returns("bytes", "b'\\x00\\xffraw'")
_returns("empty bytes", "b''")
_returns("bytes within", "{'a': b'text', b'key': [b'\\xc3\\xa9']}")
_returns("undecodable bytes within", "{'a': b'\\xff'}")
_returns("a bytearray", "bytearray(b'x')")
_returns("a set", "{1}")
_returns("a set deep inside", "{'a': [1, {'b': {1}}]}")
_returns("a custom object", "Thing()", "class Thing: pass")
_returns("a named tuple", "[Point(1, b'2')]", "import collections\nPoint = collections.namedtuple('Point', 'x y')")
_returns("an object with _asdict", "Thing()", "class Thing:\n    def _asdict(self): return {'a': 1}")
_returns("a wrong _asdict", "Thing()", "class Thing:\n    def _asdict(self): return [1]")
_returns(
    "enumerations",
    "{Colour.RED: Colour.RED, 'n': Number.ONE}",
    "import enum\nclass Colour(str, enum.Enum):\n    RED = 'red'\nclass Number(enum.IntEnum):\n    ONE = 1",
)
_returns("a plain enumeration", "Colour.RED", "import enum\nclass Colour(enum.Enum):\n    RED = 'red'")
_returns(
    "subclasses of plain types",
    "[Text('t'), Whole(3), Real(2.5), collections.OrderedDict(b=1, a=2), collections.Counter('aab')]",
    "import collections\nclass Text(str): pass\nclass Whole(int):\n    def __repr__(self): return 'no'\n"
    "class Real(float):\n    def __repr__(self): return 'no'",
)
_returns("keys that are not text", "{1: 1, 1.5: 2, None: 3, True: 4, float('nan'): 5}")
_returns("a tuple as key", "{(1, 2): 3}")
_returns("a cycle", "loop", "loop = []\nloop.append(loop)")
_returns("a shared part", "[part, part, {'p': part}]", "part = {'x': [1]}")
_returns("something too deep", "deep", "deep = []\nfor _ in range(100000):\n    deep = [deep]")
_returns("a generator", "(n for n in range(3))")
_returns("an iterator", "iter([1, 2])")
_case("is a generator", "def handler(event, context):\n    yield 'text'\n")
_case("is an asynchronous generator", "async def handler(event, context):\n    yield b'bytes'\n")
_returns("a function", "handler")
_returns("an exception", "ValueError('x')")
_returns("a complex number", "1j")
_returns("6 MB of text", "'x' * (6 * 1024 * 1024)")
_returns("a large structure", "[{'id': n, 'name': 'n%d' % n, 'tags': ['a', None, 1.5]} for n in range(20000)]")
_returns("two results in turn", "{'n': event['n']}", events=[Event(b'{"n": 1}'), Event(b'{"n": 2}')])

# --- exceptions ------------------------------------------------------------------------------------------------------
_raises("an exception", "raise ValueError('no such thing')")
_raises("a nested call", "outer()", "def inner():\n    return {}['missing']\ndef outer():\n    return inner()")
_raises("a chain", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('wrapped') from e")
_raises("in an except block", "try:\n    1 / 0\nexcept ZeroDivisionError:\n    [][1]")
_raises("unicode", "raise ValueError('caf\u00e9 \U0001f600 \\x00 \\x1b[31m')")
_raises("unicode on 3.12", "raise ValueError('caf\u00e9 \U0001f600')", environ=PYTHON_312)
_raises("a custom class", "raise ShopError(7)", "class ShopError(Exception):\n    def __str__(self): return 'code 7'")
_raises("no message", "raise ValueError")
_raises("a message of spaces", "raise ValueError('   ')")
_raises("many lines", "raise ValueError('one\\n  two\\r\\nthree\\n\\n')")
_raises("many arguments", "raise ValueError('a', 1, None)")
_raises("a key error", "return event['missing']")
_raises("an assertion", "assert event == 1, {'why': 'because'}")
_raises("recursion", "return handler(event, context)")
_raises("from the standard library", "import json\njson.loads('{')")
_raises("from generated code", "exec('def f():\\n    1/0\\nf()')")
_raises("an exception group", "raise ExceptionGroup('several', [ValueError('a'), TypeError('b')])")
_raises("with notes", "e = ValueError('noted')\ne.add_note('a note')\nraise e")
_raises("without a traceback line", "compile('(', 'made-up.py', 'exec')")
_raises("a long message", "raise ValueError('m' * 300_000)")
_raises("a message past the cause limit", "raise ValueError('m' * 1_200_000)")
_raises("an error named like AWS's", "raise type('Runtime.Custom', (Exception,), {})('x')")
_raises("StopIteration", "raise StopIteration('end')")
_raises("text that fails", "raise Bad()", "class Bad(Exception):\n    def __str__(self): raise KeyError('inner')")
_raises("a lone surrogate", "raise ValueError('\\ud800')")
_raises(
    "once, then works",
    "if event.get('bad'):\n    raise ValueError('bad')\nreturn 'good'",
    events=[Event(b'{"bad": 1}'), Event(b"{}"), Event(b'{"bad": 1}')],
)
_raises("SystemExit 0", "import sys\nsys.exit(0)")
_raises("SystemExit 3", "import sys\nprint('leaving')\nsys.exit(3)")
_raises("SystemExit with text", "import sys\nsys.exit('leaving')")
_raises("os._exit", "import os, sys\nsys.stdout.write('unfinished')\nsys.stderr.write('line')\nos._exit(9)")
_raises("KeyboardInterrupt", "raise KeyboardInterrupt")
_raises("GeneratorExit", "raise GeneratorExit('x')")
_raises("a bare BaseException", "raise BaseException('base')")
_raises("SIGKILL", "import os\nos.kill(os.getpid(), 9)")

# --- initialisation --------------------------------------------------------------------------------------------------
_case("init: exception", "import json\nraise ValueError('broken at import')\n")
_case("init: exception in JSON", "raise ValueError('broken')\n", environ=JSON_LOG)
_case("init: exception, framed", "raise ValueError('broken')\n", framed=True)
_case("init: exception, framed JSON", "raise ValueError('broken')\n", framed=True, environ=JSON_LOG)
_case("init: exception in a helper", "import helper\n", files={"helper.py": "def f():\n    1 / 0\nf()\n"})
_case("init: syntax error", "def handler(:\n    pass\n")
_case("init: indentation error", "def handler():\npass\n")
_case("init: syntax error in a helper", "import helper\n", files={"helper.py": "x = = 1\n"})
_case("init: import error", "import does_not_exist_anywhere\n")
_case("init: import error of a name", "from json import nothing_of_the_sort\n")
_case("init: missing module", "", handler="absent.handler")
_case("init: missing attribute", "x = 1\n")
_case("init: missing attribute of a package", "", handler="pkg.handler", files={"pkg/__init__.py": ""})
_case("init: no dot", "", handler="handler")
_case("init: empty name", "", handler="")
_case("init: trailing dot", "", handler="fn.")
_case("init: leading dot", "", handler=".handler")
_case("init: relative", "", handler="..fn.handler")
_case("init: built-in module", "", handler="sys.exit")
_case("init: slash at the end", "", handler="pkg/.handler", files={"pkg/__init__.py": ""})
_case("init: absolute path", "", handler="/var/task/fn.handler")
_case("init: sys.exit", "import sys\nsys.exit(4)\n")
_case("init: os._exit", "import os\nprint('gone')\nos._exit(5)\n")
_case("init: KeyboardInterrupt", "raise KeyboardInterrupt\n")
_case("init: recursion", "def f():\n    return f()\nf()\n")
_case("init: text that fails", "class Bad(Exception):\n    def __str__(self): raise KeyError('x')\nraise Bad()\n")
_case(
    "init: prints and logs", "import logging\nprint('at import')\nlogging.warning('careful')\ndef handler(e, c): pass\n"
)
_case("init: warning hidden by the level", "1 / 0\n", environ={"AWS_LAMBDA_LOG_LEVEL": "ERROR"})

# --- handlers --------------------------------------------------------------------------------------------------------
_case("handler: callable instance", "class H:\n    def __call__(self, e, c): return 'instance'\nhandler = H()\n")
_case("handler: partial", "import functools\ndef f(x, e, c): return x\nhandler = functools.partial(f, 'partial')\n")
_case("handler: lambda", "handler = lambda e, c: 'lambda'\n")
_case("handler: bound method", "class H:\n    def m(self, e, c): return 'method'\nhandler = H().m\n")
_case("handler: class", "class handler(dict):\n    def __init__(self, e, c): super().__init__(made=True)\n")
_case("handler: built-in function", "import operator\nhandler = operator.eq\n")
_case(
    "handler: lru_cache", "import functools\n@functools.lru_cache\ndef handler(e, c): return 1\n", events=[Event(b"1")]
)
_case(
    "handler: decorated",
    """
    import functools
    def twice(function):
        @functools.wraps(function)
        def wrapper(event, context):
            return [function(event, context), function(event, context)]
        return wrapper
    @twice
    def handler(event, context):
        return event
    """,
)
_case("handler: path", "", handler="pkg/mod.fn", files={"pkg/mod.py": "def fn(e, c): return [__name__, 'path']\n"})
_case(
    "handler: dotted",
    "",
    handler="a.b.c.fn",
    files={
        "a/__init__.py": "",
        "a/b/__init__.py": "",
        "a/b/c.py": "from . import d\ndef fn(e, c): return d.V\n",
        "a/b/d.py": "V = 4",
    },
)
_case("handler: module __getattr__", "def __getattr__(name): return lambda e, c: name\n", handler="fn.whatever")
_case("handler: not callable", "handler = {}\n")
_case("handler: too few parameters", "def handler(event): pass\n")
_case(
    "handler: global state", "n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n", events=[Event()] * 3
)
_case(
    "handler: other threads",
    """
    import threading
    def handler(event, context):
        # One after the other: print writes a text and its line end apart, and threads may come between.
        for _ in range(3):
            thread = threading.Thread(target=print, args=("thread",))
            thread.start()
            thread.join()
    """,
)
_case("handler: subprocess", "import subprocess\ndef handler(e, c): subprocess.run(['echo', 'child'])\n")
_case("handler: at exit", "import atexit, sys\natexit.register(print, 'bye')\ndef handler(e, c): sys.exit(2)\n")

# --- events ----------------------------------------------------------------------------------------------------------
_ECHO = "def handler(event, context):\n    return [type(event).__name__, repr(event)[:200]]\n"
for _name, _body in {
    "nothing": b"",
    "a word": b"nope",
    "an open object": b"{",
    "an open object and space": b"{\n \n",
    "an open list": b"[",
    "an open list with a value": b'{"k": [1',
    "a list without comma": b"[1 2]",
    "an object without comma": b'{"a":1 "b":2}',
    "a missing colon": b'{"a" 1}',
    "a missing value": b'{"a":',
    "a trailing comma": b"[1,]",
    "a trailing comma in an object": b'{"a":1,}',
    "a comma only": b"[,]",
    "a number as key": b"{1:2}",
    "two values": b"1 2",
    "a value and rubbish": b"{}\n x",
    "an open string": b'"abc',
    "a control character": b'"a\x01"',
    "a line feed": b'["a\nb"]',
    "a bad escape": b'["\\q"]',
    "a bad unicode escape": b'"\\u12"',
    "a leading zero": b"01",
    "a bare point": b"1.",
    "single quotes": b"{'a': 1}",
    "NaN": b'{"s": "NaN", "a": [1, NaN]}',
    "infinity": b"-Infinity",
    "bad UTF-8": b'"\xff"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a NUL": b"\x00",
    "depth": b"[" * 100_000,
    "too many digits": b"1" * 5000,
}.items():
    _case(f"event: {_name}", _ECHO, events=[Event(_body), Event()])
_case("event: byte order mark", _ECHO, events=[Event(b'\xef\xbb\xbf{"a": 1}')])
_case("event: unicode", _ECHO, events=[Event('{"a": "caf\u00e9 \U0001f600", "b": "\\ud83d\\ude00 \\ud800"}'.encode())])
_case("event: numbers", _ECHO, events=[Event(b"[1e400, -0, 1.0, 12345678901234567890, 1E5]")])
_case("event: repeated keys", _ECHO, events=[Event(b'{"a": 1, "a": 2}')])
_case("event: 6 MB", "def handler(e, c): return len(e['t'])\n", events=[Event(b'{"t": "%b"}' % (b"x" * 6_000_000))])
_case(
    "event: another content type", _ECHO, events=[Event(b"\x00raw\xff", {"Content-Type": "application/octet-stream"})]
)
_case(
    "event: content type with charset",
    _ECHO,
    events=[Event(b"{}", {"Content-Type": "application/json; charset=utf-8"})],
)

# --- context and environment -----------------------------------------------------------------------------------------
_CONTEXT = """
import os
def handler(event, context):
    names = "aws_request_id log_group_name log_stream_name function_name function_version invoked_function_arn"
    return {
        **{name: getattr(context, name) for name in names.split()},
        "memory": context.memory_limit_in_mb, "tenant": context.tenant_id, "w3c": context.w3c(),
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "client": str(context.client_context), "repr": repr(context), "names": list(vars(context)),
        "remaining": 10**11 < context.get_remaining_time_in_millis() < 10**13,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
    }
"""
_CLIENT = (
    '{"client": {"installation_id": "i", "app_title": "t", "app_version_name": "n", "app_version_code": "c",'
    ' "app_package_name": "p", "other": 1}, "custom": {"k": "caf\u00e9"}, "env": {"locale": "de"}, "services": {}}'
)


def _context(name: str, *headers: dict[str, str | None], **options: object) -> None:
    _case(f"context: {name}", _CONTEXT, events=[Event(headers=each) for each in headers], **options)


_context("plain", {})
_context("client context", {"Lambda-Runtime-Client-Context": _CLIENT})
_context("client context without client", {"Lambda-Runtime-Client-Context": '{"custom": {"a": 1}}'})
_context("client context null", {"Lambda-Runtime-Client-Context": "null"})
_context("client context not JSON", {"Lambda-Runtime-Client-Context": "{oops"}, {})
_context("client context a list", {"Lambda-Runtime-Client-Context": "[1]"})
_context("client a list", {"Lambda-Runtime-Client-Context": '{"client": [1]}'})
_context("w3c", {"Lambda-Runtime-Client-Context": '{"w3c": {"traceparent": "00-1", "baggage": 1, "x": "y"}}'})
_context("w3c not an object", {"Lambda-Runtime-Client-Context": '{"w3c": "x", "custom": 1}'})
_context("identity", {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}'})
_context("identity in part", {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i"}'})
_context("identity not JSON", {"Lambda-Runtime-Cognito-Identity": "]"})
_context("identity a number", {"Lambda-Runtime-Cognito-Identity": "7"})
_context("tenant", {"Lambda-Runtime-Aws-Tenant-Id": "blue"}, {})
_context("trace", {"Lambda-Runtime-Trace-Id": "Root=1-a-b;Sampled=1"}, {}, {"Lambda-Runtime-Trace-Id": "Root=1-c-d"})
_context(
    "empty headers",
    dict.fromkeys(
        [
            "Lambda-Runtime-Client-Context",
            "Lambda-Runtime-Cognito-Identity",
            "Lambda-Runtime-Aws-Tenant-Id",
            "Lambda-Runtime-Trace-Id",
            "Lambda-Runtime-Invocation-Id",
        ],
        "",
    ),
)
_context("no deadline", {"Lambda-Runtime-Deadline-Ms": None})
_context("deadline passed", {"Lambda-Runtime-Deadline-Ms": "1000"})
_context("no ARN", {"Lambda-Runtime-Invoked-Function-Arn": None})
_context("invocation id", {"Lambda-Runtime-Invocation-Id": "0000-invocation"}, {})
_context(
    "header names in lower case",
    {
        "Lambda-Runtime-Aws-Request-Id": None,
        "lambda-runtime-aws-request-id": "5a",
        "lambda-runtime-trace-id": "Root=1-x",
        "LAMBDA-RUNTIME-DEADLINE-MS": "4102444800001",
    },
)
_context("few variables", {}, environ={"AWS_LAMBDA_FUNCTION_NAME": "", "AWS_LAMBDA_LOG_GROUP_NAME": ""})
_case(
    "context: invocation id with an error",
    "def handler(e, c): raise ValueError('x')\n",
    events=[Event(headers={"Lambda-Runtime-Invocation-Id": "7"})],
)
_case("context: log", "def handler(e, c):\n    c.log('a line\\n')\n    c.log(7)\n    c.log({'a': 1})\n")
_case("context: log, framed", "def handler(e, c):\n    c.log('a line\\n')\n    c.log(7)\n", framed=True)
_case(
    "context: new attributes",
    "def handler(e, c):\n    c.mine = 1\n    c.function_name = 'x'\n    return repr(c) + str(c.mine)\n",
)
_case("environment: variables", "import os\ndef handler(e, c): return dict(os.environ)\n", framed=True)
_case(
    "environment: arguments and paths",
    """
    import os, sys
    def handler(event, context):
        return [len(sys.argv), sys.argv[1:], os.getcwd(), sys.path[0], sys.flags.isolated, __file__, os.umask(0o22)]
    """,
)
_case(
    "environment: directory removed",
    """
    import os, tempfile
    def handler(event, context):
        os.chdir(tempfile.mkdtemp())
        os.rmdir(os.getcwd())
        raise ValueError("nowhere")
    """,
)
_case(
    "environment: standard streams",
    """
    import sys
    def handler(event, context):
        return [[s.encoding, s.isatty(), s.fileno(), s.errors, s.writable()] for s in (sys.stdout, sys.stderr)]
    """,
)
_case("environment: recursion limit", "import sys\ndef handler(e, c): return sys.getrecursionlimit()\n")
_case(
    "environment: signals",
    """
    import signal
    def handler(event, context):
        return [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)]
    """,
)

# --- output and logging ----------------------------------------------------------------------------------------------
_case(
    "output: prints",
    """
    import sys
    print("import", end=";")
    def handler(event, context):
        print("a", 1, sep="-")
        print("caf\u00e9 \U0001f600")
        print("to stderr", file=sys.stderr)
        sys.stdout.writelines(["x\\n", "y"])
        sys.stdout.write("no end")
    """,
)
_case(
    "output: binary", "import sys\ndef handler(e, c):\n    sys.stdout.buffer.write(b'\\xff\\n')\n    print('after')\n"
)
_case("output: surrogate", "def handler(e, c): print('\\ud800')\n")
_case("output: large", "def handler(e, c): print('x' * 300_000)\n")
_case(
    "output: redirected",
    """
    import contextlib, io
    def handler(event, context):
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            print("caught")
        return caught.getvalue()
    """,
)

_LOGGING = """
import logging
logger = logging.getLogger("shop.orders")
logging.getLogger().warning("at import")
def handler(event, context):
    for level in (1, 5, 10, 20, 25, 30, 40, 50, 70):
        logger.log(level, "level %d", level)
    logger.warning("extra", extra={"order": 7, "odd": {1}, "level": "mine", "none": None})
    logger.warning({"a": 1, "b": [1, None]})
    logger.warning("%(a)s", {"a": 1})
    logger.warning("caf\u00e9 \U0001f600\\nsecond line")
    logger.error("stack", stack_info=False)
    try:
        {}["missing"]
    except KeyError:
        logger.exception("failed")
        logger.warning("with info", exc_info=True)
    logging.getLogger("root.child").critical("end")
    logger.warning(ValueError("an object"))
"""
for _level in ("", "TRACE", "trace", "debug", "INFO", "WARN", "ERROR", "FATAL", "nonsense"):
    for _format in ("", "JSON", "Text"):
        _environ = {"AWS_LAMBDA_LOG_LEVEL": _level, "AWS_LAMBDA_LOG_FORMAT": _format}
        _environ = {_key: _value for _key, _value in _environ.items() if _value}
        if _level in ("", "TRACE", "debug", "ERROR") or _format == "JSON":
            _case(
                f"logging: {_level or 'no level'} {_format or 'no format'}",
                _LOGGING,
                environ=_environ,
                framed=_level in ("TRACE", "ERROR", "FATAL") or _format == "Text",
                events=[Event(headers={"Lambda-Runtime-Aws-Tenant-Id": "blue"}), Event()],
            )
_case(
    "logging: own level",
    """
    import logging
    logging.getLogger().setLevel("INFO")
    def handler(event, context):
        logging.info("info")
        logging.debug("debug")
        return [type(h).__mro__[1].__name__ for h in logging.getLogger().handlers]
    """,
)
_case(
    "logging: own format",
    """
    import logging
    formatter = logging.Formatter("%(aws_request_id)s %(tenant_id)s %(levelname)s %(message)s\\n")
    for handler_ in logging.getLogger().handlers:
        handler_.setFormatter(formatter)
    def handler(event, context):
        logging.error("formatted")
        logging.getLogger("own").error("%s", "args")
    """,
)
_case(
    "logging: own handler",
    """
    import logging, sys
    own = logging.StreamHandler(sys.stdout)
    own.setFormatter(logging.Formatter("own %(asctime)s %(message)s", "%Z"))
    logging.getLogger("own").addHandler(own)
    def handler(event, context):
        logging.getLogger("own").error("twice")
    """,
)
_case(
    "logging: basicConfig",
    "import logging\nlogging.basicConfig(level='INFO')\ndef handler(e, c): logging.info('hidden')\n",
)
_case(
    "logging: handlers removed",
    """
    import logging
    logging.getLogger().handlers.clear()
    def handler(event, context):
        logging.warning("to stderr")
        context.log("direct")
    """,
)
_case("logging: wrong arguments", "import logging\ndef handler(e, c): logging.error('%d', 'x')\n")
_case(
    "logging: wrong arguments in JSON",
    "import logging\ndef handler(e, c): logging.error('%d', 'x')\n",
    environ=JSON_LOG,
)
_case("logging: raising in JSON", "def handler(e, c): raise ValueError('caf\u00e9\\n\"')\n", environ=JSON_LOG)
_case(
    "logging: raising in JSON on 3.12",
    "def handler(e, c): raise ValueError('\u00e9')\n",
    environ={**JSON_LOG, **PYTHON_312},
)
_case("logging: raising, framed", "def handler(e, c):\n    raise ValueError('a\\nb')\n", framed=True)
_case("logging: raising, framed JSON", "def handler(e, c):\n    raise ValueError('a')\n", framed=True, environ=JSON_LOG)
_case(
    "logging: framed",
    "import logging\ndef handler(e, c):\n    print('out')\n    logging.error('framed')\n",
    framed=True,
)
_case(
    "logging: captured warnings",
    """
    import logging, warnings
    logging.captureWarnings(True)
    def handler(event, context):
        warnings.warn_explicit("old", UserWarning, "file.py", 1)
    """,
)
_case("warnings", "import warnings\ndef handler(e, c): warnings.warn('careful')\n")

# --- SnapStart --------------------------------------------------------------------------------------------------------
_SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
_HOOKS = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
register_before_snapshot(print, "before 1")
register_before_snapshot(print, "before 2", flush=True)
register_after_restore(print, "after 1")
register_after_restore(print, "after 2")
def fail():
    raise ValueError("hook")
def handler(event, context):
    return "restored"
"""
_case("snap start: no hooks", "def handler(e, c): return 1\n", environ=_SNAP_START)
_case("snap start: hooks", _HOOKS, environ=_SNAP_START)
_case("snap start: not this type", _HOOKS, environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"})
_case("snap start: failure before", _HOOKS + "register_before_snapshot(fail)\n", environ=_SNAP_START)
_case("snap start: failure after", _HOOKS + "register_after_restore(fail)\n", environ=_SNAP_START)
_case("snap start: init fails", "1 / 0\n", environ=_SNAP_START)

# --- the Runtime API refuses -----------------------------------------------------------------------------------------
for _status in ("413 Request Entity Too Large", "400 Bad Request", "500 Internal Server Error"):
    _case(
        f"answer refused with {_status[:3]}",
        "def handler(e, c): return e\n",
        events=[Event(b'"first"', acknowledgement=f"HTTP/1.1 {_status}\r\n".encode()), Event()],
    )
_case("init error refused", "1 / 0\n", events=[Event(acknowledgement=b"HTTP/1.1 403 Forbidden\r\n")])
