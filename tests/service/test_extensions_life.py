"""Extensions in the life of an execution environment: the test is runtime and extensions, and turns the clock."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.runtime_support import INIT_ERROR, NEXT, bench_in, scenario
from venturekit.service.environments.launcher import LaunchFailure
from venturekit.service.environments.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.service.runtime_support import Answer, Bench, Event, RuntimeConnection
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.pool import Pool

API = "/2020-01-01/extension"
BOTH = ("INVOKE", "SHUTDOWN")
ID = "Lambda-Extension-Identifier"
NOBODY = "00000000-0000-4000-8000-00000000ffff"


class Extension:
    """One extension as it is seen on the wire."""

    def __init__(self, connection: RuntimeConnection, name: str, number: int = 0) -> None:
        self.connection = connection
        self.name = name
        self.number = number
        self.identifier = ""

    async def register(self, *events: str, **headers: str) -> Answer:
        fields = {"Lambda-Extension-Name": self.name, **{key.replace("_", "-"): each for key, each in headers.items()}}
        body = json.dumps({"events": events}).encode()
        answer = await self.connection.call("POST", f"{API}/register", fields, body)
        self.identifier = answer.headers.get(ID.lower(), "")
        return answer

    def ask_next(self) -> None:
        self.connection.ask("GET", f"{API}/event/next", {ID: self.identifier})

    async def event(self) -> dict[str, Any]:
        answer = await self.connection.read()
        assert answer.status == 200, answer.body
        assert len(answer.headers["lambda-extension-event-identifier"]) == len(NOBODY)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def report(self, what: str, error_type: str = "Extension.Own") -> Answer:
        fields = {ID: self.identifier, "Lambda-Extension-Function-Error-Type": error_type}
        return await self.connection.call("POST", f"{API}/{what}/error", fields, b'{"errorMessage":"m"}')


def layer_pool(bench: Bench, *names: str, **spec: Any) -> Pool:
    """A pool of a function with a layer that has these extensions."""
    layer = bench.host.settings.directory.parent / f"layer-{len(bench.host.pools)}"
    (layer / "extensions" / "a-folder").mkdir(parents=True)
    (layer / "extensions" / "not-executable").write_text("")
    for name in names:
        (layer / "extensions" / name).write_text("#!/bin/sh\n")
        (layer / "extensions" / name).chmod(0o755)
    return bench.pool_of(f"g{len(bench.host.pools)}", layers=(layer,), **spec)


class Life:
    """An environment with external extensions, and the event for which it was started."""

    def __init__(self, bench: Bench, pool: Pool, event: Event, environment: Environment) -> None:
        self.bench = bench
        self.pool = pool
        self.event = event
        self.environment = environment
        self.extensions: list[Extension] = []
        self.runtime: RuntimeConnection

    @classmethod
    async def begin(cls, bench: Bench, *names: str, **spec: Any) -> Life:
        """The extensions have been launched; none has registered."""
        pool = layer_pool(bench, *names, **spec)
        event = bench.submit(pool=pool, tail=True)
        await bench.until(lambda: len(bench.launchers.launches) >= len(names))
        (environment,) = pool.environments
        life = cls(bench, pool, event, environment)
        for number, launch in sorted(bench.launchers.launches.items()):
            name = launch.argv[0].rpartition("/")[2]
            life.extensions.append(Extension(await bench.connect(environment), name, number))
        return life

    async def start_runtime(self) -> None:
        await self.bench.launched(1, pool=self.pool)
        self.runtime = await self.bench.connect(self.environment)

    @classmethod
    async def running(cls, bench: Bench, *names: str, events: Sequence[str] = BOTH, **spec: Any) -> Life:
        """The runtime and every extension that wants it have an invocation."""
        life = await cls.begin(bench, *names, **spec)
        for extension in life.extensions:
            assert (await extension.register(*events)).status == 200
            extension.ask_next()
        await life.start_runtime()
        assert (await life.runtime.call("GET", NEXT)).status == 200
        if "INVOKE" in events:
            for extension in life.extensions:
                assert (await extension.event())["eventType"] == "INVOKE"
        return life

    @classmethod
    async def idle(cls, bench: Bench, *names: str, **spec: Any) -> Life:
        life = await cls.running(bench, *names, **spec)
        await life.runtime.respond(life.event)
        life.runtime.ask("GET", NEXT)
        for extension in life.extensions:
            extension.ask_next()
        await bench.until(lambda: life.environment.state is State.IDLE)
        return life

    def gone(self) -> bool:
        return self.environment.state is State.TERMINATED

    def log(self) -> str:
        return self.bench.log(self.pool.spec.function_name)

    def exit_all(self) -> None:
        for number in [*self.bench.launchers.launches]:
            self.bench.launchers.exit(number)


async def end(bench: Bench) -> None:
    """Let everything end that a test leaves in its init phase."""
    bench.host.closing = True
    for number in [*bench.launchers.launches]:
        bench.launchers.exit(number)
    await bench.until(lambda: not bench.tasks and not bench.host.environments)


def error_of(answer: Answer) -> tuple[int, str]:
    body = json.loads(answer.body)
    assert set(body) == {"errorMessage", "errorType"}
    assert body["errorMessage"]
    return answer.status, body["errorType"]


def failure_of(event: Event) -> tuple[str, str]:
    payload, error = event.outcome
    assert error == b"Unhandled"
    body = json.loads(payload)
    prefix = f"RequestId: {event.request_id.decode()} Error: "
    assert body["errorMessage"].startswith(prefix)
    return body["errorType"], body["errorMessage"].removeprefix(prefix)


# --- init -----------------------------------------------------------------------------------------------------------


@scenario()
async def test_init_ends_when_runtime_and_all_extensions_have_asked_for_an_event(bench: Bench) -> None:
    life = await Life.begin(bench, "one", "two")
    one, two = life.extensions
    assert (one.name, two.name) == ("one", "two")
    environ = bench.launchers.launches[one.number].environ
    assert environ["AWS_LAMBDA_RUNTIME_API"].endswith(f":{life.environment.listener.port}")
    assert not {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_EXECUTION_ENV"} & set(environ)

    answer = await one.register("INVOKE", Lambda_Extension_Accept_Feature="accountId")
    known = {"functionName": "g1", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "0" * 12}
    assert (answer.status, json.loads(answer.body)) == (200, known)
    # The runtime is started when the last one has registered.
    assert life.environment.number not in bench.launchers.launches
    assert "accountId" not in json.loads((await two.register(*BOTH)).body)
    await life.start_runtime()
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.INIT_HELD)
    assert error_of(await (await bench.connect(life.environment)).call("GET", NEXT)) == (403, "InvalidStateTransition")
    internal = Extension(await bench.connect(life.environment), "internal")
    assert (await internal.register("INVOKE")).status == 200
    one.ask_next()
    two.ask_next()
    bench.loop.advance(2.0)
    assert life.event.ended == 0
    internal.ask_next()
    assert (await life.runtime.read()).status == 200
    invoke = await one.event()
    assert invoke == {
        "eventType": "INVOKE",
        "deadlineMs": int(life.environment.wall_started * 1000) + 3000,
        "requestId": life.event.request_id.decode(),
        "invokedFunctionArn": life.event.invoked_arn.decode(),
        "tracing": {"type": "X-Amzn-Trace-Id", "value": life.event.trace.decode()},
    }
    assert await two.event() == await internal.event() == invoke
    assert life.environment.init_ms == pytest.approx(2000.0)
    assert "EXTENSION\tName: two\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in life.log()
    late = Extension(internal.connection, "late")
    assert error_of(await late.register("INVOKE")) == (403, "Extension.RegistrationClosed")


@scenario("uvloop")
async def test_a_runtime_whose_connection_closed_while_extensions_initialise_may_ask_again(bench: Bench) -> None:
    life = await Life.begin(bench, "one")
    (one,) = life.extensions
    await one.register(*BOTH)
    await life.start_runtime()
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.INIT_HELD)
    life.runtime.reset()
    await bench.until(lambda: life.environment.state is State.STARTING)
    one.ask_next()
    runtime = await bench.connect(life.environment)
    assert (await runtime.call("GET", NEXT)).status == 200


@scenario()
async def test_extensions_that_never_register_fail_the_init_phase(bench: Bench) -> None:
    life = await Life.begin(bench, "one", "two")
    await life.extensions[1].register(*BOTH)
    bench.loop.advance(10.1)
    error_type, text = failure_of(life.event)
    assert error_type == "Extension.InitError"
    assert text.startswith("one did not register within 10")
    assert f"Status: error\tError Type: {error_type}" in life.log()
    # The one that registered is asked to end; the other one is killed.
    life.extensions[1].ask_next()
    assert (await life.extensions[1].event())["shutdownReason"] == "failure"
    assert bench.launchers.killed == [life.extensions[0].number]
    bench.launchers.exit(life.extensions[1].number)
    await bench.until(life.gone)


@scenario()
async def test_extensions_that_never_ask_have_the_init_phase_run_again(bench: Bench) -> None:
    life = await Life.begin(bench, "one")
    await life.extensions[0].register(*BOTH)
    await life.start_runtime()
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.INIT_HELD)
    bench.loop.advance(10.1)
    assert life.event.ended == 0
    assert sorted(bench.launchers.killed) == sorted([life.environment.number, life.extensions[0].number])
    await bench.until(life.gone)
    (again,) = life.pool.environments
    assert (again.suppressed_init, again.sandbox) == (True, life.environment.sandbox)
    await bench.until(lambda: bench.launchers.launches)
    extension = Extension(await bench.connect(again), "one")
    await extension.register("INVOKE")
    bench.loop.advance(3.1)
    error = json.loads(life.event.outcome[0])
    assert error["errorType"] == "Sandbox.Timedout"
    await bench.until(lambda: again.state is State.TERMINATED)


@pytest.mark.parametrize("how", ["launch", "exit", "signal", "init error", "exit error"])
@scenario("uvloop")
async def test_extensions_that_fail_in_the_init_phase(bench: Bench, how: str) -> None:
    life = await Life.begin(bench, "one", "two")
    one, two = life.extensions
    if how == "launch":
        bench.launchers.fail(one.number, LaunchFailure("exec", "EACCES", "no"))
        expected = ("Extension.LaunchError", "fork/exec /opt/extensions/one: permission denied")
    elif how == "exit":
        bench.launchers.exit(one.number, 3)
        expected = ("Extension.Crash", "exit status 3")
    elif how == "signal":
        bench.launchers.exit(one.number, None, 11)
        expected = ("Extension.Crash", "signal: segmentation fault")
    else:
        await one.register(*BOTH)
        answer = await one.report(how.split()[0])
        assert (answer.status, answer.body) == (202, b'{"status":"OK"}\n')
        name = "InitError" if how == "init error" else "ExitError"
        expected = (f"Extension.{name}", "the extension one reported Extension.Own")
        assert f"EXTENSION\tName: one\tState: {name}\tEvents: []\tError Type: Extension.Own\n" in life.log()
    assert failure_of(life.event) == expected
    assert b"Error Type: " + expected[0].encode() in life.event.log_tail
    # The other one has not registered, so it cannot be asked to end.
    await bench.until(lambda: two.number in bench.launchers.killed)
    life.exit_all()
    await bench.until(life.gone)
    # The next invocation tries again.
    bench.submit(pool=life.pool)
    await bench.until(lambda: len(bench.launchers.launches) == 2)
    await end(bench)


@scenario("uvloop")
async def test_a_runtime_that_fails_to_initialise_ends_its_extensions(bench: Bench) -> None:
    life = await Life.begin(bench, "one")
    (one,) = life.extensions
    await one.register(*BOTH)
    one.ask_next()
    await life.start_runtime()
    assert (await life.runtime.call("POST", INIT_ERROR, None, b'{"errorType":"E"}')).status == 202
    bench.launchers.exit(life.environment.number, 1)
    shutdown = await one.event()
    assert (shutdown["eventType"], shutdown["shutdownReason"]) == ("SHUTDOWN", "failure")
    bench.launchers.exit(one.number)
    await bench.until(life.gone)


@scenario("uvloop")
async def test_of_eleven_extensions_the_last_is_one_too_many(bench: Bench) -> None:
    life = await Life.begin(bench, *(f"{number:02}" for number in range(11)))
    for extension in life.extensions[:10]:
        assert (await extension.register("INVOKE")).status == 200
    assert error_of(await life.extensions[10].register("INVOKE")) == (403, "Extension.TooManyExtensions")
    bench.launchers.exit(life.extensions[10].number, 1)
    assert failure_of(life.event) == ("Extension.Crash", "exit status 1")


# --- invoke ---------------------------------------------------------------------------------------------------------


@scenario()
async def test_an_environment_is_busy_until_its_extensions_are_done(bench: Bench) -> None:
    life = await Life.running(bench, "one")
    (one,) = life.extensions
    await life.runtime.respond(life.event)
    assert life.event.outcome == (b'"done"', b"")
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.HELD)
    second = bench.submit(pool=life.pool)
    assert len(bench.host.environments) == 1
    one.ask_next()
    assert (await one.event())["requestId"] == second.request_id.decode()
    assert (await life.runtime.read()).status == 200
    # The other order: the extension is done first.
    one.ask_next()
    await life.runtime.respond(second)
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.IDLE)


@scenario("uvloop")
async def test_extensions_that_do_not_want_invocations_hold_nobody_up(bench: Bench) -> None:
    life = await Life.running(bench, "one", events=["SHUTDOWN"])
    await life.runtime.respond(life.event)
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.IDLE)


@scenario()
async def test_an_extension_that_is_not_done_within_the_functions_timeout_is_reset(bench: Bench) -> None:
    life = await Life.running(bench, "one")
    (one,) = life.extensions
    await life.runtime.respond(life.event)
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.HELD)
    bench.loop.advance(3.1)
    assert life.environment.state is State.STOPPING
    assert bench.launchers.signalled == [(life.environment.number, signal.SIGTERM)]
    bench.launchers.exit(life.environment.number, None, 15)
    one.ask_next()
    assert (await one.event())["shutdownReason"] == "timeout"
    life.exit_all()
    await bench.until(life.gone)


@scenario()
async def test_the_next_invocation_waits_until_a_reset_is_over_and_has_its_sandbox(bench: Bench) -> None:
    life = await Life.running(bench, "one")
    (one,) = life.extensions
    bench.loop.advance(3.1)
    assert json.loads(life.event.outcome[0])["errorType"] == "Sandbox.Timedout"
    second = bench.submit(pool=life.pool)
    bench.loop.advance(0.3)
    assert list(bench.host.environments.values()) == [life.environment]
    bench.launchers.exit(life.environment.number, None, 15)
    one.ask_next()
    assert (await one.event())["shutdownReason"] == "timeout"
    bench.launchers.exit(one.number)
    await bench.until(life.gone)
    await bench.until(lambda: len(bench.launchers.launches) == 1)
    (following,) = life.pool.environments
    assert following.sandbox is life.environment.sandbox
    assert second.ended == 0
    await end(bench)


@pytest.mark.parametrize("how", ["crash", "exit error"])
@pytest.mark.parametrize("when", ["invoke", "held", "idle"])
@scenario("uvloop")
async def test_extensions_that_fail_later(bench: Bench, when: str, how: str) -> None:
    life = await (Life.idle if when == "idle" else Life.running)(bench, "one", "two")
    one, two = life.extensions
    if when == "held":
        await life.runtime.respond(life.event)
        life.runtime.ask("GET", NEXT)
        await bench.until(lambda: life.environment.state is State.HELD)
    if how == "crash":
        bench.launchers.exit(one.number, 0)
        expected = ("Extension.Crash", "exit code 0")
    else:
        if when == "idle":
            one.connection = await bench.connect(life.environment)
        await one.report("exit")
        expected = ("Extension.ExitError", "the extension one reported Extension.Own")
    assert life.environment.state is State.STOPPING
    if when == "invoke":
        assert failure_of(life.event) == expected
    else:
        assert life.event.outcome == (b'"done"', b"")
    bench.launchers.exit(life.environment.number, None, 15)
    if when != "idle":
        two.ask_next()
    assert (await two.event())["shutdownReason"] == "failure"
    life.exit_all()
    await bench.until(life.gone)


@scenario("uvloop")
async def test_a_runtime_that_crashes_ends_its_extensions(bench: Bench) -> None:
    life = await Life.running(bench, "one")
    (one,) = life.extensions
    bench.launchers.exit(life.environment.number, 5)
    assert failure_of(life.event) == ("Runtime.ExitError", "Runtime exited with error: exit status 5")
    one.ask_next()
    shutdown = await one.event()
    assert shutdown["shutdownReason"] == "failure"
    assert shutdown["deadlineMs"] == pytest.approx(bench.host.wall() * 1000 + 2000, abs=2)
    bench.loop.advance(1.9)
    assert bench.launchers.killed == []
    bench.loop.advance(0.2)
    await bench.until(life.gone)
    assert bench.launchers.killed[-1] == one.number


@scenario()
async def test_an_extension_may_lose_its_connection_and_ask_again(bench: Bench) -> None:
    life = await Life.idle(bench, "one")
    (one,) = life.extensions
    one.connection.reset()
    group = life.environment.extensions
    assert group is not None
    await bench.until(lambda: group.roster.extensions[0].stage.name == "AWAY")
    second = bench.submit(pool=life.pool)
    assert (await life.runtime.read()).status == 200
    await life.runtime.respond(second)
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.HELD)
    one.connection = await bench.connect(life.environment)
    one.ask_next()
    assert (await one.event())["requestId"] == second.request_id.decode()
    one.ask_next()
    await bench.until(lambda: life.environment.state is State.IDLE)


# --- shutdown -------------------------------------------------------------------------------------------------------


@scenario("uvloop")
async def test_one_that_is_kept_initialised_is_replaced_when_its_extensions_have_ended(bench: Bench) -> None:
    pool = layer_pool(bench, "one")
    bench.host.provisioner.want(pool, 1, "a")
    await bench.until(lambda: bench.launchers.launches)
    (environment,) = pool.environments
    (number,) = bench.launchers.launches
    one = Extension(await bench.connect(environment), "one", number)
    await one.register(*BOTH)
    one.ask_next()
    await bench.launched(1, pool=pool)
    runtime = await bench.connect(environment)
    runtime.ask("GET", NEXT)
    await bench.until(lambda: environment.state is State.IDLE)
    event = bench.submit(pool=pool)
    assert environment.invocation is event
    bench.launchers.exit(environment.number, 3)
    assert (await one.event())["eventType"] == "INVOKE"
    # Two extensions of one name would want the same ports.
    bench.host.sweep(bench.clock.now)
    assert (event.ended, pool.environments, pool.resetting) == (1, set(), 1)
    bench.launchers.exit(number)
    await bench.until(lambda: pool.environments and bench.launchers.launches)
    (following,) = pool.environments
    assert (following.provisioned, following.stream, pool.resetting) == (True, environment.stream, 0)
    bench.host.provisioner.want(pool, 0)
    for left in [*bench.launchers.launches]:
        bench.launchers.exit(left)
    await bench.until(lambda: not bench.tasks and not bench.host.environments)


@scenario("uvloop")
async def test_code_is_released_when_the_last_extension_that_uses_it_has_ended(bench: Bench) -> None:
    life = await Life.idle(bench, "one")
    used: list[set[str]] = []

    async def release() -> None:
        used.append(bench.host.running_code_keys())

    bench.host._release_code = release
    life.pool.retire()
    await bench.until(lambda: used)
    assert used[-1]
    life.exit_all()
    await bench.until(lambda: life.gone() and not bench.tasks)
    assert used[-1] == set()


@scenario()
async def test_the_shutdown_phase_of_external_extensions(bench: Bench) -> None:
    life = await Life.idle(bench, "one")
    (one,) = life.extensions
    life.environment.stop()
    assert life.pool.idle == []
    assert bench.launchers.signalled == [(life.environment.number, signal.SIGTERM)]
    bench.loop.advance(0.5)
    assert bench.launchers.killed == []
    bench.loop.advance(0.2)
    assert bench.launchers.killed == [life.environment.number]
    shutdown = await one.event()
    assert shutdown["shutdownReason"] == "spindown"
    assert set(shutdown) == {"eventType", "shutdownReason", "deadlineMs"}
    bench.loop.advance(1.2)
    assert bench.launchers.killed == [life.environment.number]
    bench.loop.advance(0.2)
    assert one.number in bench.launchers.killed
    await bench.until(life.gone)


@scenario("uvloop")
async def test_extensions_that_did_not_subscribe_to_it_are_killed_without_a_word(bench: Bench) -> None:
    life = await Life.idle(bench, "one", events=["INVOKE"])
    life.environment.stop()
    bench.launchers.exit(life.environment.number, 0)
    await bench.until(life.gone)
    assert bench.launchers.killed == [life.extensions[0].number]


@scenario("uvloop")
async def test_those_that_survive_being_killed_are_killed_again(bench: Bench) -> None:
    life = await Life.idle(bench, "one")
    bench.launchers.dies_when_killed = False
    life.environment.stop()
    bench.loop.advance(4.2)
    assert bench.launchers.killed.count(life.extensions[0].number) >= 2
    life.exit_all()
    assert life.gone()


@scenario("uvloop")
async def test_a_host_that_closes_gives_extensions_their_time(bench: Bench) -> None:
    life = await Life.idle(bench, "one")
    (one,) = life.extensions
    closing = bench.host.loop.create_task(bench.host.close())
    await bench.until(lambda: bench.launchers.signalled)
    bench.launchers.exit(life.environment.number, None, 15)
    assert (await one.event())["shutdownReason"] == "spindown"
    assert not closing.done()
    bench.launchers.exit(one.number)
    await closing
    assert life.gone()


@scenario()
async def test_an_environment_with_internal_extensions_has_half_a_second(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    internal = Extension(await bench.connect(environment), "internal")
    assert error_of(await internal.register(*BOTH)) == (403, "Extension.InvalidEventType")
    assert (await internal.register("INVOKE")).status == 200
    runtime = await bench.connect(environment)
    runtime.ask("GET", NEXT)
    internal.ask_next()
    assert (await runtime.read()).status == 200
    assert (await internal.event())["eventType"] == "INVOKE"
    environment.stop()
    assert bench.launchers.signalled == [(environment.number, signal.SIGTERM)]
    bench.loop.advance(0.4)
    assert bench.launchers.killed == []
    bench.loop.advance(0.2)
    assert bench.launchers.killed == [environment.number]
    await bench.until(lambda: environment.state is State.TERMINATED)


@scenario("uvloop")
async def test_environments_without_extensions_end_at_once(bench: Bench) -> None:
    environment, _ = await bench.idle_runtime()
    environment.stop()
    assert (bench.launchers.killed, bench.launchers.signalled) == ([environment.number], [])


def test_an_outdated_function_lets_its_extensions_finish_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        async with bench_in(tmp_path) as bench:
            life = await Life.running(bench, "one")
            await life.runtime.respond(life.event)
            life.runtime.ask("GET", NEXT)
            await bench.until(lambda: life.environment.state is State.HELD)
            life.pool.retire()
            bench.launchers.exit(life.environment.number, None, 15)
            life.extensions[0].ask_next()
            assert (await life.extensions[0].event())["shutdownReason"] == "spindown"
            life.exit_all()
            assert life.gone()
            assert life.pool not in bench.host.pools.values()

    import asyncio

    asyncio.run(body())


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "identifier", "expected"),
    [
        ("GET", "/event/next", None, (403, "Extension.MissingExtensionIdentifier")),
        ("GET", "/event/next", "nonsense", (403, "Extension.InvalidExtensionIdentifier")),
        ("GET", "/event/next", NOBODY, (403, "Extension.UnknownExtensionIdentifier")),
        ("POST", "/init/error", NOBODY, (403, "Extension.UnknownExtensionIdentifier")),
        ("POST", "/exit/error", None, (403, "Extension.MissingExtensionIdentifier")),
        ("POST", "/init/error", "own", (403, "Extension.MissingHeader")),
        ("POST", "/exit/error", "own", (403, "Extension.MissingHeader")),
        ("POST", "/register", None, (403, "Extension.InvalidExtensionName")),
        ("GET", "/register", None, (405, "MethodNotAllowed")),
        ("POST", "/event/next", "own", (405, "MethodNotAllowed")),
        ("GET", "/nothing", None, (404, "NotFound")),
    ],
)
@scenario("uvloop")
async def test_calls_that_are_refused(
    bench: Bench, method: str, path: str, identifier: str | None, expected: tuple[int, str]
) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    internal = Extension(await bench.connect(environment), "internal")
    assert (await internal.register("INVOKE")).status == 200
    fields = {} if identifier is None else {ID: internal.identifier if identifier == "own" else identifier}
    assert error_of(await internal.connection.call(method, API + path, fields)) == expected


@scenario("uvloop")
async def test_bodies_that_are_refused(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    connection = await bench.connect(environment)
    fields = {"Lambda-Extension-Name": "internal"}
    for body, expected in (
        (b'{"events":["OTHER"]}', (403, "Extension.InvalidEventType")),
        (b"{", (400, "InvalidRequestFormat")),
        (b" " * 300_000, (413, "RequestEntityTooLarge")),
    ):
        assert error_of(await connection.call("POST", f"{API}/register", fields, body)) == expected
    assert environment.extensions is None
    origin = {"Origin": "http://page.example"}
    assert error_of(await connection.call("POST", f"{API}/register", fields | origin)) == (403, "Forbidden")


@scenario("uvloop")
async def test_registrations_that_are_refused_leave_nothing_behind(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    journal = environment.journal
    internal = Extension(await bench.connect(environment), "internal")
    assert error_of(await internal.register("SHUTDOWN")) == (403, "Extension.InvalidEventType")
    runtime = await bench.connect(environment)
    assert (await runtime.call("GET", NEXT)).status == 200
    # As a function does that registers whenever it is invoked.
    for _ in range(3):
        assert error_of(await internal.register("INVOKE")) == (403, "Extension.RegistrationClosed")
    assert environment.journal is journal
    assert environment.extensions is None


@scenario("uvloop")
async def test_a_runtime_that_gave_up_waiting_while_an_extension_is_busy_may_ask_again(bench: Bench) -> None:
    life = await Life.running(bench, "one")
    await life.runtime.respond(life.event)
    life.runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.state is State.HELD)
    parked = life.environment.parked
    assert parked is not None
    life.runtime.close()
    await bench.until(lambda: parked.connection.eof)
    runtime = await bench.connect(life.environment)
    runtime.ask("GET", NEXT)
    await bench.until(lambda: life.environment.parked not in (parked, None))
    event = bench.submit(pool=life.pool)
    life.extensions[0].ask_next()
    assert (await runtime.read()).headers["lambda-runtime-aws-request-id"] == event.request_id.decode()


@scenario("uvloop")
async def test_calls_in_the_wrong_order_are_refused(bench: Bench) -> None:
    life = await Life.begin(bench, "one", "two")
    one, _two = life.extensions
    await one.register("INVOKE")
    assert error_of(await one.register("INVOKE")) == (403, "Extension.InvalidExtensionState")
    one.identifier = next(each.identifier for each in life.environment.extensions.roster.extensions)  # type: ignore[union-attr]
    one.ask_next()
    other = await bench.connect(life.environment)
    again = await other.call("GET", f"{API}/event/next", {ID: one.identifier})
    assert error_of(again) == (403, "Extension.InvalidExtensionState")
    one.connection = other
    assert error_of(await one.report("init")) == (403, "Extension.InvalidExtensionState")
    assert (await one.report("exit")).status == 202
    assert error_of(await one.report("exit")) == (403, "Extension.InvalidExtensionState")
    await end(bench)
