"""What ``venturekit.runtime`` is from outside: what it loads, what it exports, and that its docstrings are true."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import itertools
import json
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import venturekit.runtime
from tests.unit.runtime.support import Context, v2
from venturekit.runtime import VentureError, _process, build_context, patterns
from venturekit.runtime.context import _current
from venturekit.runtime.invocation.http_transport import HttpInvoker
from venturekit.runtime.invocation.request import LambdaReply

SOURCE = Path(venturekit.runtime.__file__).parents[2]
NEVER = {
    *("asyncio", "dataclasses", "inspect", "logging", "uuid", "http", "ssl", "datetime", "urllib", "hashlib"),
    *("threading", "socket", "email", "decimal", "random", "subprocess", "tempfile", "traceback", "ast", "pathlib"),
}
EXPORTS = [
    "BadRequestError",
    "BaseContext",
    "BatchFailedError",
    "BatchHandler",
    "BatchRecord",
    "ConflictError",
    "DbApiTransactions",
    "ForbiddenError",
    "Handler",
    "HandlerConfigError",
    "IdempotencyKeyReusedError",
    "IdempotencyPendingError",
    "IdempotencyResultError",
    "InternalError",
    "InvalidEventError",
    "InvokeError",
    "InvokeResult",
    "Invoker",
    "Issue",
    "LambdaInvoker",
    "Logger",
    "MetricError",
    "Metrics",
    "Middleware",
    "MiddlewareError",
    "NotFoundError",
    "PayloadTooLargeError",
    "RateLimitDecision",
    "RateLimitError",
    "RateLimiter",
    "RequestContext",
    "RequestTimeoutError",
    "Response",
    "SagaBusyError",
    "SagaCompensationError",
    "SagaError",
    "SagaResult",
    "SagaSuspendedError",
    "Schema",
    "SchemaError",
    "ServiceUnavailableError",
    "SqlAlchemyTransactions",
    "TaskContext",
    "TaskError",
    "TaskHandler",
    "TaskTimeoutError",
    "TaskValidationError",
    "TenantContext",
    "TransactionError",
    "TransactionProvider",
    "UnauthorizedError",
    "UserContext",
    "ValidationError",
    "VentureError",
    "ainvoke",
    "api_key_auth_middleware",
    "batch_handler",
    "bridge_logging",
    "build_context",
    "compose",
    "cors_middleware",
    "create_default_idempotency_store",
    "create_default_rate_limiter",
    "create_default_saga_store",
    "create_dynamodb_idempotency_store",
    "create_dynamodb_saga_store",
    "create_invoker",
    "create_lambda_invoker",
    "create_local_invoker",
    "create_logger",
    "create_memory_idempotency_store",
    "create_memory_saga_store",
    "create_metrics",
    "create_rate_limiter",
    "create_redis_idempotency_store",
    "create_redis_saga_store",
    "create_sqlite_idempotency_store",
    "create_sqlite_saga_store",
    "created",
    "current_context",
    "default_function_name_resolver",
    "error",
    "error_boundary_middleware",
    "error_response",
    "extract_locale",
    "extract_user_context",
    "handler",
    "hash_api_key",
    "idempotency_middleware",
    "idempotent",
    "invoke",
    "is_venture_error",
    "logger",
    "logging_middleware",
    "metrics_middleware",
    "no_content",
    "parallel",
    "rate_limit_middleware",
    "redirect",
    "request_id_middleware",
    "saga",
    "set_transaction_provider",
    "step",
    "stream",
    "success",
    "task_handler",
    "timeout_middleware",
    "timing_middleware",
]
PATTERNS = [
    "BreakerReport",
    "CircuitBreaker",
    "CircuitOpenError",
    "DynamoDbRateLimitStore",
    "DynamoDbRecordStore",
    "ForeignRecordError",
    "IdempotencyKeyReusedError",
    "IdempotencyPendingError",
    "IdempotencyResultError",
    "MemoryRateLimitStore",
    "MemoryRecordStore",
    "RateLimitDecision",
    "RateLimitStore",
    "RateLimiter",
    "Record",
    "RecordPage",
    "RecordStore",
    "RecordStoreError",
    "RecordValueError",
    "RedisRecordStore",
    "Saga",
    "SagaBusyError",
    "SagaChangedError",
    "SagaCompensationError",
    "SagaContextError",
    "SagaDefinitionError",
    "SagaError",
    "SagaGroup",
    "SagaIdInUseError",
    "SagaNotFoundError",
    "SagaPage",
    "SagaRecord",
    "SagaRecordError",
    "SagaResult",
    "SagaStatus",
    "SagaStep",
    "SagaStepTimeoutError",
    "SagaSuspendedError",
    "SharedBreakerReport",
    "SqliteRateLimitStore",
    "SqliteRecordStore",
    "StepRecord",
    "StepState",
    "StoreFullError",
    "alist_shared_breakers",
    "configure_circuit_breaker",
    "create_circuit_breaker",
    "create_default_breaker_store",
    "create_default_idempotency_store",
    "create_default_rate_limiter",
    "create_default_saga_store",
    "create_dynamodb_breaker_store",
    "create_dynamodb_idempotency_store",
    "create_dynamodb_saga_store",
    "create_memory_breaker_store",
    "create_memory_idempotency_store",
    "create_memory_saga_store",
    "create_rate_limiter",
    "create_redis_breaker_store",
    "create_redis_idempotency_store",
    "create_redis_saga_store",
    "create_sqlite_breaker_store",
    "create_sqlite_idempotency_store",
    "create_sqlite_saga_store",
    "idempotent",
    "list_circuit_breakers",
    "list_shared_breakers",
    "parallel",
    "saga",
    "step",
]


def in_a_bare_interpreter(program: str) -> Any:
    """The JSON that a program prints, in an interpreter without site-packages."""
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import json\n{program}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LOADED = "print(json.dumps(sorted(sys.modules)))"
EVENT = json.dumps(v2("PUT", body={"a": 1}))


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("import venturekit.runtime", set()),
        ("from venturekit.runtime import handler, task_handler, success, NotFoundError, logger", set()),
        (
            (
                "from venturekit.runtime import handler\n"
                "main = handler(lambda body, ctx, logger: logger.info('m', {'a': body}), log_level='silent')\n"
                f"assert main(json.loads({EVENT!r}))['statusCode'] == 200"
            ),
            set(),
        ),
    ],
)
def test_what_a_function_loads(program: str, allowed: set[str]) -> None:
    loaded = {name.partition(".")[0] for name in in_a_bare_interpreter(f"{program}\n{LOADED}")}
    assert loaded & (NEVER - allowed) == set()
    assert "_asyncio" not in loaded


def test_every_export_can_be_had_in_a_bare_interpreter() -> None:
    program = "import venturekit.runtime as r; print(json.dumps([n for n in r.__all__ if not hasattr(r, n)]))"
    assert in_a_bare_interpreter(program) == []


def test_the_exports_are_these() -> None:
    assert sorted(venturekit.runtime.__all__) == sorted(EXPORTS)
    assert sorted(patterns.__all__) == sorted(PATTERNS)
    assert set(EXPORTS) <= set(dir(venturekit.runtime))
    with pytest.raises(AttributeError, match="no attribute 'handlers'"):
        venturekit.runtime.handlers  # type: ignore[attr-defined]


def test_no_module_has_the_name_of_a_public_function() -> None:
    modules = {module.name.rpartition(".")[2] for module in walk()}
    assert modules & set(EXPORTS) == set()


def walk() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.walk_packages(venturekit.runtime.__path__, "venturekit.runtime."))


@pytest.mark.parametrize("name", EXPORTS)
def test_every_public_name_says_what_it_is(name: str) -> None:
    value = getattr(venturekit.runtime, name)
    text = inspect.getdoc(value)
    assert text
    assert len(text) > 30
    if inspect.isclass(value):
        undocumented = [
            member
            for member, found in vars(value).items()
            if not member.startswith("_") and callable(found) and not inspect.getdoc(found)
        ]
        assert undocumented == []


# --- the examples of docstrings -------------------------------------------------------------------------------------

INLINE = re.compile(r"``((?:raise|return|await(?! next)) [^`]+|\w+ = \w+\([^`]*\)|if \w+\([^`]+)``")


def examples() -> list[Any]:
    """Every block after ``::``, and every statement in double backticks, of every docstring of the framework."""
    found = []
    for module in [venturekit.runtime.__name__, *(info.name for info in walk())]:
        file = Path(importlib.import_module(module).__file__ or "")
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node)
            if text:
                name = getattr(node, "name", "module")
                codes = [*blocks(text), *INLINE.findall(re.sub(r"\s*\n\s*", " ", text))]
                found += [pytest.param(code, id=f"{module[11:]}-{name}-{n}") for n, code in enumerate(codes)]
    return found


def blocks(text: str) -> list[str]:
    """The indented lines after every line that ends in ``::``."""
    found, lines = [], text.split("\n")
    for number, line in enumerate(lines):
        if line.rstrip().endswith("::"):
            rest = lines[number + 1 :]
            first = next((after for after in rest if after.strip()), "")
            # Where a docstring has nothing but the block after its first line, its indentation is not seen.
            is_all = not first.startswith("    ")
            taken = rest if is_all else list(itertools.takewhile(lambda after: after[:4].strip() == "", rest))
            found.append(textwrap.dedent("\n".join(taken)).strip())
    return found


PRELUDE = """
import logging, sqlite3, time
from dataclasses import dataclass
from typing import Any
from venturekit.runtime import *
from venturekit.runtime.patterns import *
from venturekit.runtime.middleware.steps import NEXT, from_steps

@dataclass
class CreateUser:
    name: str = ""

@dataclass
class User:
    id: str
    name: str = ""

Order = CreateUser

def create_user(body, ctx): return {}
def lines(): yield "a"
def charge(card): return "receipt"
async def main(body, ctx): return {}
main = handler(main, access_log=False)
def kept(ctx): return ctx
reserve_stock = release_stock = charge_card = refund_card = check_card = ship_order = kept
order_saga = saga("order", [step("reserve", kept)])
list_users = list_orders = order = place_order = search = report = upload = create_user
card = "card"
email = "a@example.com"
users, user = [], User("1")
orders = OrderTable = Orders = type("Table", (), {"put": lambda *_: None})()
stored = {hash_api_key("key"): "service"}
HASHES = list(stored)
psycopg = sqlite3
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
"""


class Lambda:
    """Answers every call in a way that every example is content with."""

    def invoke(self, request: Any) -> LambdaReply:
        if request.invocation_type == "Event":
            return LambdaReply(202, b"")
        user = {"id": "42", "name": "Alice", "jobId": 1}
        if "-fn-" in request.function_name:
            return LambdaReply(200, json.dumps(user).encode())
        return LambdaReply(200, json.dumps({"statusCode": 200, "headers": {}, "body": json.dumps(user)}).encode())

    async def ainvoke(self, request: Any) -> LambdaReply:
        return self.invoke(request)


EXAMPLES = examples()


def test_examples_are_found() -> None:
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_runs(code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "shop")
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("VENTURE_LOCAL_URLS", "app=http://localhost:3000")
    monkeypatch.chdir(tmp_path)
    _process.state.invoker = Lambda()
    root = logging_state()
    event = v2(claims={"sub": "u"}, body={"name": "a"})
    ctx = build_context(event, context=Context())
    names: dict[str, Any] = {"event": event, "ctx": ctx, "context": Context(), "body": {"userId": "42"}}
    exec(PRELUDE, names)
    if "invoke_eu(" in code:
        # Made as it says, and not asked: what it would call is at AWS.
        monkeypatch.setattr(HttpInvoker, "invoke", lambda _, request: Lambda().invoke(request))
    if code.startswith("if is_venture_error"):
        names["error"] = VentureError("m")
    kind = "async def" if re.search(r"^(?!\s*(async )?def).*\bawait\b", code, re.MULTILINE) else "def"
    exec(f"{kind} example():\n{textwrap.indent(code, '    ')}", names)
    token = _current.set(ctx)
    try:
        result = names["example"]()
        if kind == "async def":
            asyncio.run(result)
    except VentureError:
        assert code.startswith("raise")
    finally:
        _current.reset(token)
        root()


def logging_state() -> Any:
    """Puts the root logger back to what it is now."""
    import logging

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def back() -> None:
        root.handlers[:] = handlers
        root.setLevel(level)

    return back
