"""Environments that are kept initialised, with a scripted runtime and a manual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import INIT_ERROR, NEXT, scenario
from venturekit.service.environments.environment import EXIT_GRACE_SECONDS, PROVISIONED_INIT_SECONDS
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.provision import MOST_FAILURES, RETRY_SECONDS
from venturekit.service.environments.provisioner import INIT_FAILED

if TYPE_CHECKING:
    from tests.service.runtime_support import Bench, RuntimeConnection
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.pool import Pool
    from venturekit.service.environments.provision import Provision


def provision_of(pool: Pool) -> Provision:
    assert pool.provision is not None
    return pool.provision


async def kept(bench: Bench, count: int) -> list[tuple[Environment, RuntimeConnection]]:
    """``count`` environments that are kept initialised, the one that was initialised last at the end."""
    bench.host.provisioner.want(bench.pool, count, "a")
    found = []
    for number in range(count):
        environment = (await bench.launched(number + 1))[number]
        connection = await bench.connect(environment)
        await bench.ask_next(environment, connection)
        found.append((environment, connection))
    return found


@scenario()
async def test_no_invocation_is_needed_and_none_is_kept_waiting(bench: Bench) -> None:
    ((environment, connection),) = await kept(bench, 1)
    assert bench.launchers.launches[environment.number].environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == (
        "provisioned-concurrency"
    )
    event = bench.submit()
    assert environment.invocation is event
    await connection.read()
    assert (await connection.respond(event)).status == 202
    await bench.ask_next(environment, connection)
    assert len(await bench.launched()) == 1


@scenario()
async def test_those_that_are_kept_serve_first_and_the_others_last(bench: Bench) -> None:
    ((first, one), (second, two)) = await kept(bench, 2)
    events = [bench.submit() for _ in range(3)]
    assert [events[0], events[1]] == [second.invocation, first.invocation]
    third = (await bench.launched(3))[-1]
    three = await bench.connect(third)
    three.ask("GET", NEXT)
    await bench.until(lambda: third.invocation is events[2])
    assert not third.provisioned
    # In whatever order they come back, the one on demand is the last to be taken.
    for environment, connection, event in (
        (first, one, events[1]),
        (third, three, events[2]),
        (second, two, events[0]),
    ):
        await connection.read()
        await connection.respond(event)
        await bench.ask_next(environment, connection)
    assert bench.pool.idle == [third, first, second]
    bench.host.sweep(bench.clock.now + 301)
    assert bench.pool.idle == [first, second]


@scenario()
async def test_starts_take_turns_and_leave_room_for_invocations(bench: Bench) -> None:
    limit = bench.host.provisioner.limit
    other = bench.pool_of("g")
    bench.host.provisioner.want(bench.pool, 50, "a")
    bench.host.provisioner.want(other, 50, "a")
    await bench.until(lambda: len(bench.launchers.launches) == limit)
    assert (bench.host.provisioner.starting, bench.host.starting) == (limit, 0)
    for environment in await bench.launched(limit):
        await bench.ask_next(environment, await bench.connect(environment))
    await bench.until(lambda: len(bench.launchers.launches) == 2 * limit)
    assert provision_of(other).starting > 0
    assert provision_of(bench.pool).starting > 0
    third = bench.pool_of("h")
    bench.submit(pool=third)
    (environment,) = await bench.launched(1, pool=third)
    await (await bench.connect(environment)).call("GET", NEXT)
    bench.host.provisioner.want(bench.pool, 0)
    bench.host.provisioner.want(other, 0)
    await bench.until(lambda: len(bench.launchers.launches) == 1)
    assert (bench.host.provisioner.starting, provision_of(bench.pool).ready) == (0, 0)


@scenario(timeout_ms=3000)
async def test_an_init_has_its_own_time(bench: Bench) -> None:
    bench.host.provisioner.want(bench.pool, 1, "a")
    (environment,) = await bench.launched(1)
    waiting = bench.submit()
    (_, other) = await bench.launched(2)
    await (await bench.connect(other)).call("GET", NEXT)
    assert other.invocation is waiting
    bench.loop.now += 1  # its own timeout is not the subject
    other.deadline += 1000
    bench.loop.advance(PROVISIONED_INIT_SECONDS - 2)
    assert environment.state is State.STARTING
    bench.loop.advance(2)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert waiting.ended == 0
    assert "INIT_REPORT Init Duration: 13" in bench.log()
    assert "\tPhase: init\tStatus: timeout\n" in bench.log()


@scenario(timeout_ms=400_000)
async def test_a_long_timeout_is_time_for_the_init_as_well(bench: Bench) -> None:
    bench.host.provisioner.want(bench.pool, 1, "a")
    (environment,) = await bench.launched(1)
    assert environment.deadline - environment.started_at == 400


@pytest.mark.parametrize("how", ["error", "exit", "refused"])
@scenario()
async def test_an_init_that_fails_is_nobodys_answer(bench: Bench, how: str) -> None:
    waiting = bench.submit()
    await bench.launched(1)
    if how == "refused":
        bench.launchers.refuses = "no more processes"
    bench.host.provisioner.want(bench.pool, 2, "a")
    while not provision_of(bench.pool).failure:
        for environment in [each for each in await bench.launched() if each.provisioned]:
            if how == "error":
                await (await bench.connect(environment)).call("POST", INIT_ERROR, body=b"{}")
            bench.launchers.exit(environment.number, 1)
        await bench.until(lambda: not bench.tasks)
    assert provision_of(bench.pool).failure == ("no more processes" if how == "refused" else INIT_FAILED)
    assert (waiting.ended, bench.host.provisioner.starting, provision_of(bench.pool).starting) == (0, 0, 0)
    bench.launchers.refuses = ""
    bench.loop.now += RETRY_SECONDS
    bench.host.sweep(bench.clock.now)
    again = (await bench.launched(2))[-1]
    runtime = await bench.connect(again)
    runtime.ask("GET", NEXT)
    await bench.until(lambda: again.state is not State.STARTING)
    assert provision_of(bench.pool).failure == ""
    # Two inits may have been under way at the third failure.
    assert bench.log().count("Status: error") in (MOST_FAILURES, MOST_FAILURES + 1)
    await bench.launched(3)


@scenario()
async def test_an_init_that_failed_is_counted_once_when_its_process_lingers(bench: Bench) -> None:
    bench.host.provisioner.want(bench.pool, 1, "a")
    (environment,) = await bench.launched(1)
    answer = await (await bench.connect(environment)).call("POST", INIT_ERROR, body=b"{}")
    assert (answer.status, environment.state) == (202, State.INIT_FAILED)
    (again,) = [each for each in await bench.launched(2) if each is not environment]
    # It does not end itself, and is ended.
    bench.loop.advance(EXIT_GRACE_SECONDS + 0.1)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert (provision_of(bench.pool).ready, bench.host.provisioner.starting) == (0, 1)
    assert await bench.launched() == [again]


@scenario()
async def test_what_is_not_wanted_any_more_goes_when_it_rests(bench: Bench) -> None:
    ((idle, _), (busy, connection)) = await kept(bench, 2)
    event = bench.submit()
    assert busy.invocation is event
    bench.host.provisioner.want(bench.pool, 0)
    await bench.until(lambda: idle.state is State.TERMINATED)
    await connection.read()
    assert (await connection.respond(event)).status == 202
    connection.ask("GET", NEXT)
    await bench.until(lambda: busy.state is State.TERMINATED)
    assert event.ended == 1


@scenario()
async def test_a_retired_pool_keeps_none(bench: Bench) -> None:
    ((environment, _),) = await kept(bench, 1)
    bench.pool.retire()
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert (bench.pool not in bench.host.pools.values(), provision_of(bench.pool).wanted) == (True, 0)
    bench.host.provisioner.fill()
    assert bench.launchers.launches == {}


@scenario()
async def test_the_scratch_directory_of_one_that_was_reset_goes_on(bench: Bench) -> None:
    ((environment, connection),) = await kept(bench, 1)
    event = bench.submit()
    await connection.read()
    bench.launchers.exit(environment.number, 3)
    assert event.ended == 1
    (following,) = await bench.launched(1)
    assert (following.provisioned, following.stream) == (True, environment.stream)
    await bench.ask_next(following, await bench.connect(following))
