"""Many requests against a service that holds something, each judged: the answer, the state, and what was logged."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tests.service.harness import PYTHON, ROLE
from tests.service.model_requests import ARCHIVES, Known, RequestMaker
from tests.service.model_values import model, operation
from tests.service.raw_http import TIMEOUT_SECONDS, RawConnection
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.api.registry import Level

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from botocore.model import Shape

    from tests.service.harness import RunningService
    from tests.service.model_requests import Subject
    from tests.service.raw_http import RawAnswer
    from tests.service.wire_requests import Request
    from venturekit.service.functions.layer_registry import LayerVersion
    from venturekit.service.functions.registry import Function

FUNCTIONS: Final = ("alpha", "beta", "gamma", "delta")
LAYERS: Final = ("libraries", "tools")
# Errors that the model does not have: their status and the key of their message.
UNMODELLED: Final = {
    "ValidationException": ({400}, "message"),
    "SerializationException": ({400}, "message"),
    "MalformedHttpRequestException": ({400, 414, 431}, "message"),
    "UnknownOperationException": ({404}, "message"),
    "AccessDeniedException": ({403}, "Message"),
    "RequestEntityTooLargeException": ({413}, "message"),
    "NotImplementedException": ({501}, "message"),
}
# What the service may say of a function that it cannot run: not its own failure.
FOREIGN_FAULTS: Final = frozenset({"InvalidRuntimeException"})
INVOKES: Final = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})
# They change by themselves: events are run.
QUEUE_TABLES: Final = frozenset({"events", "event_payloads", "event_history", "deliveries", "steady_clock"})
# Recorded without the members that the model requires: a function without a code signing configuration.
EMPTY_ANSWERS: Final = frozenset({"GetFunctionCodeSigningConfig"})
SERVED_SHARE: Final = 4
KINDS: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "long": int,
    "double": (int, float),
    "float": (int, float),
    "boolean": bool,
    "timestamp": (int, float),
    "blob": str,
    "structure": dict,
    "list": list,
    "map": dict,
}


class Campaign:
    """Sends requests that follow from ``seed`` and judges every answer; raises AssertionError for the first bad one."""

    def __init__(
        self,
        running: RunningService,
        seed: int,
        *,
        operations: Collection[str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        populate: bool = True,
    ) -> None:
        self.tallies: dict[str, Counter[int]] = {}
        self._running = running
        self._seed = seed
        self._account = running.service._accounts.own
        self._draws = random.Random(seed)
        self._known = Known()
        self._maker = RequestMaker(self._draws, self._known)
        self._connection = RawConnection(running.port, timeout_seconds)
        self._database = sqlite3.connect(f"file:{running.data_dir / 'venturekit.sqlite3'}?mode=ro", uri=True)
        self._names = self._operation_names(operations)
        self._table = OperationTable(service_model().operations.values())
        self._history: deque[str] = deque(maxlen=5)
        if populate:
            self._populate()
        self._look()

    def close(self) -> None:
        self._connection.close()
        self._database.close()

    def memory(self) -> str:
        """A digest of all that the service has in memory."""
        digest: str = self._running.do(self._digest_memory)
        return digest

    def run(self, count: int) -> None:
        """Send so many requests, every operation in turn."""
        turn: list[str] = []
        for number in range(count):
            if not turn:
                turn = self._draws.sample(self._names, len(self._names))
            request = self._maker.make(turn.pop())
            self._history.append(str(request))
            try:
                self._judge(request, self._connection.ask(request.method, request.target, request.fields, request.body))
            except AssertionError as error:
                shown = "\n  ".join(self._history)
                raise AssertionError(
                    f"seed {self._seed}, request {number}: {error}\nThe last are:\n  {shown}"
                ) from error

    def _operation_names(self, chosen: Collection[str] | None) -> list[str]:
        """What one turn consists of: what is served comes more often than what is not."""
        names = []
        for name in sorted(model().operation_names if chosen is None else chosen):
            names += [name] * (SERVED_SHARE if self._is_served(name) else 1)
        return names

    def _is_served(self, name: str) -> bool:
        return self._account.operations.status(name).level is not Level.NOT

    # --- the judge ------------------------------------------------------------------------------------------------

    def _judge(self, request: Request, answer: RawAnswer) -> None:
        tally = self.tallies.setdefault(request.operation, Counter())
        tally[answer.status] += 1
        self._check_form(request, answer)
        changed = self._snapshot() if answer.status >= 400 or request.method == "GET" else None
        if changed is not None and changed != self._state:
            raise AssertionError(f"an answer {answer.status} {answer.code} to a {request.method} changed the state")
        self._check_queue(answer)
        if answer.status < 400 and request.method != "GET":
            self._running.run(self._account.plane.tasks.settled())
            self._learn(request, answer)
            if request.method == "DELETE":
                self._populate()
            self._look()
        elif answer.status < 300 and request.operation not in INVOKES:
            self._known.learn(answer.json if answer.body else {})
        if self._running.trouble.found:
            raise AssertionError(f"the service logged {self._running.trouble.found}")

    def _learn(self, request: Request, answer: RawAnswer) -> None:
        if request.operation not in INVOKES and request.kind == "valid":
            self._known.learn(dict(request.members))
            self._known.learn(answer.json if answer.body else {})

    def _check_form(self, request: Request, answer: RawAnswer) -> None:
        if not answer.field("x-amzn-RequestId"):
            raise AssertionError("the answer has no request id")
        if answer.status >= 400:
            self._check_error(request, answer)
        else:
            # A spoilt address may well be another operation's.
            name = request.operation if request.kind == "valid" else self._addressed(request)
            if name not in INVOKES:
                self._check_success(name, answer)

    def _check_error(self, request: Request, answer: RawAnswer) -> None:
        code = answer.field("x-amzn-ErrorType")
        if code in UNMODELLED:
            statuses, key = UNMODELLED[code]
        else:
            shape = model().shape_for(code)
            assert shape.metadata.get("exception"), f"{code} is no error"
            statuses = {shape.metadata["error"]["httpStatusCode"]}
            key = next(name for name in shape.members if name.lower() == "message")
        assert answer.status in statuses, f"{code} has the status {answer.status}"
        assert answer.field("Content-Type") == "application/json", answer
        body = answer.json
        assert isinstance(body, dict), answer
        assert isinstance(body.get(key), str | None), answer
        assert key in body, f"{code} has no {key}: {answer}"
        assert body.get("Type") in (None, "Service" if answer.status >= 500 else "User"), answer
        assert "Traceback" not in str(body), answer
        if answer.status >= 500:
            self._check_fault(request, answer, code)

    def _check_fault(self, request: Request, answer: RawAnswer, code: str) -> None:
        """A 5xx: it must say that something is not served, or not the service's doing."""
        if code == "NotImplementedException":
            status = self._account.operations.status(self._addressed(request))
            assert status.level is not Level.SERVED, f"it is served: {answer}"
        else:
            assert code in FOREIGN_FAULTS, answer

    def _check_queue(self, answer: RawAnswer) -> None:
        """The queue works by itself, but an event is in it if and only if its caller was answered 202."""
        queued = self._database.execute(
            "SELECT count(*) FROM events WHERE request_id = ?", (answer.field("x-amzn-RequestId"),)
        ).fetchone()[0]
        # Layers and the like have a 202 of their own: those have a body.
        accepted = answer.status == 202 and not answer.body
        assert queued == int(accepted), f"an answer {answer.status} {answer.code} has queued {queued} events"

    def _addressed(self, request: Request) -> str:
        return self._table.match(request.method, request.target).operation.name

    def _check_success(self, name: str, answer: RawAnswer) -> None:
        made = operation(name)
        expected = {204 if name == "DeleteFunction" else made.http.get("responseCode", 200)}
        assert answer.status in expected, f"a success is {expected}: {answer}"
        assert "x-amzn-errortype" not in answer.fields, answer
        is_empty = name in EMPTY_ANSWERS and answer.json == {}
        if answer.body and made.output_shape is not None and not is_empty:
            assert answer.field("Content-Type") == "application/json", answer
            differences = list(nonconforming(made.output_shape, answer.json, name))
            assert not differences, f"{differences}: {answer}"

    # --- the state ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Take what the service has now for the state, and requests from now on are about that."""
        plane = self._account.plane
        self._known.functions = [function_subject(function) for function in plane.registry.functions()]
        arns = list(plane.layers.layer_arns(""))
        self._known.layers = [layer_subject(plane.layers.versions(arn)) for arn in arns]
        self._state = self._snapshot()

    def _snapshot(self) -> tuple[str, str]:
        """Digests of what the service has in memory and on disk."""
        return self.memory(), self._digest_disk()

    def _digest_memory(self) -> str:
        plane = self._account.plane
        told: list[object] = [plane.layers.versions(arn) for arn in plane.layers.layer_arns("")]
        for function in sorted(plane.registry.functions(), key=lambda each: each.name):
            told.append((function.name, function.last_version, sorted(function.settings.items())))
            told += [alias for _, alias in sorted(function.aliases.items())]
            # No repr shows the environment.
            told += [(version, version.environment) for _, version in sorted(function.versions.items())]
        return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()

    def _digest_disk(self) -> str:
        """Of every row of every table but the queue's; computed only when somebody has written since."""
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        if version != getattr(self, "_disk_version", None):
            found = self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            tables = [name for (name,) in found if name not in QUEUE_TABLES]
            rows = {name: sorted(map(repr, self._database.execute(f'SELECT * FROM "{name}"'))) for name in tables}
            self._disk_version = version
            self._disk_digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        return self._disk_digest

    def _populate(self) -> None:
        """Make what is missing of the functions, versions, aliases and layers that requests are about."""
        present = {function.name: function for function in self._account.plane.registry.functions()}
        for name in FUNCTIONS:
            function = present.get(name)
            if function is None or not function.aliases or len(function.versions) < 2:
                self._populate_function(name)
        if self._is_served("PublishLayerVersion"):
            for name in LAYERS:
                if not self._account.plane.layers.versions(f"arn:aws:lambda:us-east-1:000000000000:layer:{name}"):
                    self._try("publish_layer_version", LayerName=name, Content={"ZipFile": ARCHIVES[3]})
        self._running.run(self._account.plane.tasks.settled())

    def _populate_function(self, name: str) -> None:
        settled = self._account.plane.tasks.settled
        code = {"ZipFile": ARCHIVES[0]}
        self._try(
            "create_function",
            FunctionName=name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Code=code,
            Tags={"team": name},
        )
        self._running.run(settled())
        for archive in ARCHIVES[:2]:
            self._try("update_function_code", FunctionName=name, ZipFile=archive)
            self._running.run(settled())
            version = self._try("publish_version", FunctionName=name).get("Version", "1")
            self._running.run(settled())
        self._try("create_alias", FunctionName=name, Name="live", FunctionVersion=version)
        self._try("list_versions_by_function", FunctionName=name)
        self._try(
            "add_permission",
            FunctionName=name,
            StatementId="one",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
        )
        self._try("put_function_event_invoke_config", FunctionName=name, MaximumRetryAttempts=1)
        self._try("create_function_url_config", FunctionName=name, AuthType="NONE")

    def _try(self, method: str, **members: Any) -> dict[str, Any]:
        """Call through boto3; what is there already, or is not served, is no matter."""
        try:
            answer: dict[str, Any] = getattr(self._running.client, method)(**members)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in ("ResourceConflictException", "NotImplementedException", "InvalidParameterValueException"):
                raise
            return {}
        del answer["ResponseMetadata"]
        self._known.learn({name: value for name, value in members.items() if not isinstance(value, bytes)})
        self._known.learn(json.loads(json.dumps(answer, default=str)))
        return answer


def function_subject(function: Function) -> Subject:
    """The identifiers of a function, under the names of members that take them."""
    arn = function.latest.function_arn
    published = [version for version in function.versions if version != "$LATEST"]
    revisions = [function.latest.revision_id, *(alias.revision_id for alias in function.aliases.values())]
    return {
        "FunctionName": [function.name, function.name, function.name, arn, f"000000000000:function:{function.name}"],
        "Resource": [arn],
        "Qualifier": [*function.versions, *function.aliases],
        "FunctionVersion": published or ["$LATEST"],
        "Name": list(function.aliases),
        "TagKeys": list(function.tags),
        "StatementId": list(statement_ids(function.settings)),
        "RevisionId": revisions,
        "CodeSha256": [function.latest.code_sha256],
    }


def layer_subject(versions: Sequence[LayerVersion]) -> Subject:
    """The identifiers of a layer, under the names of members that take them."""
    return {
        "LayerName": [versions[0].name, versions[0].layer_arn],
        "VersionNumber": [version.version for version in versions],
        "Arn": [version.arn for version in versions],
        "Layers": [version.arn for version in versions],
        "StatementId": list(statement_ids([version.policy for version in versions])),
    }


def statement_ids(value: Any) -> Iterator[str]:
    """Every ``Sid`` in a document."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from [inner] if key == "Sid" else statement_ids(inner)
        case list() | tuple():
            for inner in value:
                yield from statement_ids(inner)


def nonconforming(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """Where an answer is not as the model says: unknown members, other types, required members that are missing."""
    kind: Any = KINDS[shape.type_name]
    if not isinstance(value, kind) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{where} is no {shape.type_name}"
    elif shape.type_name == "structure":
        members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        yield from (f"{where}.{name} is unknown" for name in value.keys() - members.keys())
        yield from (f"{where}.{name} is missing" for name in shape.required_members if name not in value)
        for name in value.keys() & members.keys():
            yield from nonconforming(members[name], value[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            yield from nonconforming(shape.member, inner, f"{where}[]")
    elif shape.type_name == "map":
        for inner in value.values():
            yield from nonconforming(shape.value, inner, f"{where}{{}}")
