"""The Telemetry and Logs APIs: what extensions receive, and receivers that are slow, gone or somebody else's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.extension_programs import python_extension
from tests.service.harness import until
from tests.service.runtime_support import NEXT, scenario
from tests.service.test_extensions import layer_of
from tests.service.test_extensions_life import ID, Extension, error_of
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.telemetry.receiver import NotDeliveredError, Receiver
from venturekit.service.environments.telemetry.subscription import TELEMETRY as TELEMETRY_API
from venturekit.service.environments.telemetry.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.harness import FunctionSet
    from tests.service.runtime_support import Answer, Bench, Event, RuntimeConnection
    from venturekit.service.environments.environment import Environment

TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"
# It ends when its own last words have reached it, which are the last there is.
SUBSCRIBED = """
ENDED = threading.Event()

class Last(Receiver):
    def took(self, events):
        super().took(events)
        if any("ends by" in str(event["record"]) for event in events):
            ENDED.set()

register("SHUTDOWN")
assert subscribe(listen(Last){members}) == (200, "OK")
until_shutdown()
ENDED.wait(1.2)
"""
FUNCTION = """
import json
def handler(event, context):
    print("printed")
    print(json.dumps({"level": "INFO", "message": "quiet"}))
    if event.get("exit"):
        import os
        os._exit(3)
    return event
"""


def sunk(sink: Path, name: str = "spy", *, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """What a receiver has taken, as soon as that is ``count`` events of one kind."""

    def found() -> list[dict[str, Any]]:
        path = sink / name
        taken = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return taken if sum(event["type"] == kind for event in taken) >= count else []

    return list(until(found, f"{count} of {kind}"))


def subscriber(functions: FunctionSet, sink: Path, members: str = "", **function: Any) -> str:
    """Create a function with an extension that writes what it receives to ``sink``."""
    layer = layer_of(functions, spy=python_extension(SUBSCRIBED.replace("{members}", members)))
    variables = {"Variables": {"SINK": str(sink)}}
    return functions.create(FUNCTION, Layers=[layer], Environment=variables, MemorySize=256, **function)


def test_all_events_of_an_environments_life(leak_free: FunctionSet, tmp_path: Path) -> None:
    name = subscriber(leak_free, tmp_path)
    request_id = leak_free.invoke(name, {"a": 1}).request_id
    failed_id = leak_free.invoke(name, {"exit": True}).request_id
    events = sunk(tmp_path, kind="platform.report", count=2)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["platform.initStart", "platform.telemetrySubscription"]
    expected = ["platform.initRuntimeDone", "platform.initReport", "platform.extension", "platform.start", "function"]
    assert kinds[2:7] == expected
    records: dict[str, Any] = {event["type"]: event["record"] for event in reversed(events)}
    assert records["platform.initStart"]["functionName"] == name
    assert records["platform.initRuntimeDone"]["status"] == "success"
    assert records["platform.initReport"]["metrics"]["durationMs"] > 0
    types = ["platform", "function", "extension"]
    assert records["platform.telemetrySubscription"] == {"name": "spy", "state": "Subscribed", "types": types}
    assert records["platform.extension"] == {"name": "spy", "state": "Ready", "events": ["SHUTDOWN"]}
    start = records["platform.start"]
    assert (start["requestId"], start["version"]) == (request_id, "$LATEST")
    assert start["tracing"]["type"] == "X-Amzn-Trace-Id"
    assert start["tracing"]["value"].startswith("Root=1-")
    assert records["function"] == "printed"
    done = records["platform.runtimeDone"]
    assert (done["requestId"], done["status"], done["metrics"]["producedBytes"]) == (request_id, "success", 8)
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration"]
    report = records["platform.report"]
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"} == {
        *report["metrics"]
    }
    assert (report["status"], report["tracing"]) == ("success", start["tracing"])
    failed = [event["record"] for event in events if event["record"] and failed_id in str(event["record"])]
    assert [(each.get("status"), each.get("errorType")) for each in failed] == [
        (None, None),
        ("error", "Runtime.ExitError"),
        ("error", "Runtime.ExitError"),
    ]
    assert "TELEMETRY\tName: spy\tState: Subscribed\t" in "".join(leak_free.log_lines(name))
    # What the extension itself says while it shuts down arrives as well.
    assert sunk(tmp_path, kind="extension")[-1]["record"] == "spy ends by failure"


def test_levels_of_the_log_do_not_matter_to_subscribers(functions: FunctionSet, tmp_path: Path) -> None:
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    name = subscriber(functions, tmp_path, LoggingConfig=logging)
    functions.invoke(name)
    events = sunk(tmp_path, kind="platform.report")
    written = [event["record"] for event in events if event["type"] == "function"]
    assert written[0] == "printed"
    assert (written[1]["message"], written[1]["level"]) == ("quiet", "INFO")
    assert not [line for line in functions.log_lines(name) if "quiet" in line or "platform.start" in line]


def test_the_logs_api(functions: FunctionSet, tmp_path: Path) -> None:
    name = subscriber(functions, tmp_path, f', "{LOGS}", schemaVersion="2021-03-18"')
    request_id = functions.invoke(name).request_id
    events = sunk(tmp_path, kind="platform.report")
    kinds = [event["type"].removeprefix("platform.") for event in events if event["type"] != "function"]
    assert kinds == ["logsSubscription", "extension", "start", "runtimeDone", "end", "report"]
    records = {event["type"]: event["record"] for event in events}
    assert records["platform.start"] == {"requestId": request_id, "version": "$LATEST"}
    assert records["platform.end"] == {"requestId": request_id}
    assert records["platform.runtimeDone"] == {"requestId": request_id, "status": "success"}
    assert set(records["platform.report"]) == {"requestId", "metrics"}
    assert "LOGS\tName: spy\tState: Subscribed\t" in "".join(functions.log_lines(name))


# --- receivers of the test's own ------------------------------------------------------------------------------------


class Subscriber:
    """An environment of which the test is runtime, extension and receiver."""

    def __init__(self, bench: Bench, environment: Environment, extension: Extension, event: Event) -> None:
        self.bench = bench
        self.environment = environment
        self.extension = extension
        self.event = event
        self.runtime: RuntimeConnection
        self.taken: list[dict[str, Any]] = []
        self.requests: list[bytes] = []
        self.statuses: list[int] = []
        self.answers = True
        self.server: asyncio.Server | None = None

    @classmethod
    async def begin(cls, bench: Bench, pid: int | None = None) -> Subscriber:
        event = bench.submit()
        (environment,) = await bench.launched()
        environment.pid = os.getpid() if pid is None else pid
        extension = Extension(await bench.connect(environment), "own")
        await extension.register("INVOKE")
        made = cls(bench, environment, extension, event)
        made.runtime = await bench.connect(environment)
        return made

    async def listen(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
        except asyncio.IncompleteReadError as error:
            self.requests.append(error.partial)
            writer.close()
            return
        self.requests.append(head.encode())
        if not self.answers:
            await reader.read()
            writer.close()
            return
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken += json.loads(body)
        writer.write(b"HTTP/1.1 %d Status\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    async def put(self, body: Any, api: str = TELEMETRY) -> Answer:
        fields = {ID: self.extension.identifier}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.extension.connection.call("PUT", api, fields, data)

    async def subscribe(self, port: int, protocol: str = "HTTP", **members: Any) -> None:
        destination = {"protocol": protocol, "URI": f"http://sandbox.localdomain:{port}/in"}
        body = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": destination, **members}
        answer = await self.put(body)
        assert (answer.status, answer.body) == (200, b'"OK"')

    async def start(self) -> None:
        """End the init phase; the first invocation begins."""
        self.extension.ask_next()
        assert (await self.runtime.call("GET", NEXT)).status == 200
        await self.extension.event()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.002)

    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("platform.") for event in self.taken]

    async def close(self) -> None:
        self.bench.launchers.exit(self.environment.number)
        await self.until(lambda: self.environment.state is State.TERMINATED and not self.bench.tasks)
        if self.server is not None:
            self.server.close()


def sending(bench: Bench) -> bool:
    return bool(bench.tasks)


@scenario()
async def test_events_are_gathered_for_as_long_as_was_asked(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    await own.subscribe(await own.listen(), buffering={"timeoutMs": 500})
    await own.start()
    bench.loop.advance(0.4)
    assert (own.requests, sending(bench)) == ([], False)
    bench.loop.advance(0.2)
    await own.until(lambda: own.taken)
    assert own.kinds() == ["initStart", "telemetrySubscription", "initRuntimeDone", "initReport", "extension", "start"]
    assert len(own.requests) == 1
    assert own.requests[0].startswith(b"POST /in HTTP/1.1\r\nHost: sandbox.localdomain:")
    await own.close()


@scenario("uvloop")
async def test_a_receiver_that_fails_is_tried_again(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    own.statuses = [500, 404]
    await own.subscribe(await own.listen())
    bench.loop.advance(1.1)
    await own.until(lambda: own.taken)
    assert len(own.requests) == 3
    assert own.kinds() == ["initStart", "telemetrySubscription"]
    await own.close()


@scenario("uvloop")
async def test_what_a_receiver_refuses_for_good_is_told_when_it_works_again(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    own.statuses = [500] * 3
    await own.subscribe(await own.listen())
    bench.loop.advance(1.1)
    await own.until(lambda: len(own.requests) == 3 and not bench.tasks)
    await own.start()
    bench.loop.advance(1.1)
    await own.until(lambda: own.taken)
    assert own.kinds() == ["initRuntimeDone", "initReport", "extension", "start", "logsDropped"]
    record = own.taken[-1]["record"]
    assert (record["droppedRecords"], record["droppedBytes"] > 300) == (2, True)
    assert record["reason"]
    await own.close()


@scenario("uvloop")
async def test_a_receiver_that_is_gone_holds_nobody_up(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    port = await own.listen()
    assert own.server is not None
    own.server.close()
    await own.server.wait_closed()
    await own.subscribe(port)
    bench.loop.advance(1.1)
    await own.start()
    await own.until(lambda: not bench.tasks)
    # It comes back: what was lost meanwhile is told.
    await own.listen(port)
    await own.runtime.respond(own.event)
    bench.loop.advance(1.1)
    await own.until(lambda: own.taken)
    assert own.kinds()[-1] == "logsDropped"
    await own.close()


@scenario("uvloop")
async def test_a_receiver_that_never_answers_holds_nobody_up_and_what_waits_is_bounded(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    own.answers = False
    await own.subscribe(await own.listen(), types=["platform", "function"])
    bench.loop.advance(1.1)
    await own.until(lambda: own.requests)
    await own.start()
    telemetry = own.environment.extensions.telemetry  # type: ignore[union-attr]
    for _ in range(20_000):
        telemetry.wrote("function", b"x" * 100)
    stream = telemetry._streams["own"]
    assert stream._buffer._size <= 4 * 262_144
    assert stream._buffer._dropped_records > 5_000
    own.answers = True
    await own.close()


@scenario()
async def test_lines_over_tcp(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    lines: list[bytes] = []
    connections = 0

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while line := await reader.readline():
            lines.append(line)
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    await own.subscribe(server.sockets[0].getsockname()[1], "TCP")
    bench.loop.advance(1.1)
    await own.until(lambda: len(lines) == 2)
    await own.start()
    bench.loop.advance(1.1)
    await own.until(lambda: len(lines) == 6)
    assert [json.loads(line)["type"] for line in lines][-1] == "platform.start"
    assert connections == 1
    await own.close()
    server.close()


@scenario("uvloop")
async def test_ports_of_others_get_nothing(bench: Bench) -> None:
    """Another process of this machine listens there: the environment may not have the service speak to it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        own = await Subscriber.begin(bench, pid=stranger.pid)
        await own.subscribe(await own.listen())
        bench.loop.advance(1.1)
        await own.until(lambda: len(own.requests) == 3 and not bench.tasks)
        assert own.requests == [b""] * 3
        await own.close()
        stranger.communicate(b"\n")


@scenario("uvloop")
async def test_an_environment_that_ends_while_it_is_looked_whose_port_it_is(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    subscription = Subscription(TELEMETRY_API, "2022-12-13", ("platform",), "HTTP", await own.listen())

    def roots() -> list[int]:
        receiver.abort()
        return [os.getpid()]

    receiver = Receiver(subscription, roots)
    with pytest.raises(NotDeliveredError, match="ended meanwhile"):
        await receiver.send([b"{}"])
    await own.close()


@scenario("uvloop")
async def test_what_waits_goes_out_when_the_environment_ends(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    await own.subscribe(await own.listen(), buffering={"timeoutMs": 30_000})
    await own.start()
    own.environment.stop()
    await own.until(lambda: "report" in own.kinds())
    assert "runtimeDone" in own.kinds()
    await own.close()


@scenario("uvloop")
async def test_a_second_subscription_replaces_the_first(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    port = await own.listen()
    await own.subscribe(port)
    await own.subscribe(port, types=["function"])
    await own.start()
    bench.loop.advance(1.1)
    await own.until(lambda: not bench.tasks)
    assert own.taken == []
    await own.close()


@pytest.mark.parametrize(("api", "name"), [(TELEMETRY, "Telemetry"), (LOGS, "Logs")])
@scenario("uvloop")
async def test_subscriptions_that_are_refused(bench: Bench, api: str, name: str) -> None:
    own = await Subscriber.begin(bench)
    assert error_of(await own.put(b"{", api)) == (400, "ValidationError")
    assert error_of(await own.put({"types": []}, api)) == (400, "ValidationError")
    stranger = await own.extension.connection.call("PUT", api, {}, b"{}")
    assert error_of(stranger) == (403, "Extension.MissingExtensionIdentifier")
    assert error_of(await own.extension.connection.call("POST", api, {}, b"{}")) == (405, "MethodNotAllowed")
    await own.start()
    assert error_of(await own.put({"types": []}, api)) == (403, f"{name}.ServiceClosed")
    await own.close()


@scenario("uvloop")
async def test_nothing_is_listened_to_where_nobody_has_subscribed(bench: Bench) -> None:
    own = await Subscriber.begin(bench)
    listening = own.environment.journal
    await own.start()
    assert own.environment.journal is listening.inner  # type: ignore[attr-defined]
    await own.close()
