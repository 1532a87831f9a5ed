"""What an extension may do when: the table, registrations, and that no sequence of calls leaves them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from venturekit.service.environments.extensions.messages import wanted_events
from venturekit.service.environments.extensions.roster import (
    INVOKE,
    LIMIT,
    READY,
    SHUTDOWN,
    TABLE,
    RefusedError,
    Roster,
    Stage,
    Step,
)

EXPECTED = {
    Stage.LAUNCHED: {Step.REGISTER: Stage.REGISTERED},
    Stage.REGISTERED: {
        Step.NEXT: Stage.WAITING,
        Step.DELIVER: Stage.OWED,
        Step.INIT_ERROR: Stage.FAILED,
        Step.EXIT_ERROR: Stage.FAILED,
    },
    Stage.WAITING: {Step.NEXT_GONE: Stage.AWAY, Step.DELIVER: Stage.BUSY, Step.EXIT_ERROR: Stage.FAILED},
    Stage.AWAY: {Step.NEXT: Stage.WAITING, Step.DELIVER: Stage.OWED, Step.EXIT_ERROR: Stage.FAILED},
    Stage.OWED: {Step.NEXT: Stage.BUSY, Step.DELIVER: Stage.OWED, Step.EXIT_ERROR: Stage.FAILED},
    Stage.BUSY: {Step.NEXT: Stage.WAITING, Step.DELIVER: Stage.OWED, Step.EXIT_ERROR: Stage.FAILED},
    Stage.FAILED: {},
    Stage.GONE: {},
}


@pytest.mark.parametrize("stage", Stage)
def test_each_row_of_the_table(stage: Stage) -> None:
    expected = EXPECTED[stage] | ({} if stage is Stage.GONE else {Step.EXITED: Stage.GONE})
    assert {step: following for step in Step if (following := TABLE[stage][step]) is not None} == expected


def refusal(roster: Roster, name: str, *events: object) -> tuple[str, int]:
    before = [(each.name, each.stage) for each in roster.extensions]
    with pytest.raises(RefusedError) as caught:
        roster.register(name, events, "id")
    assert [(each.name, each.stage) for each in roster.extensions] == before
    return caught.value.error_type, caught.value.status


def test_names_and_events() -> None:
    roster = Roster()
    external = roster.expect("file")
    assert roster.unregistered == [external]
    assert refusal(roster, "", INVOKE) == ("Extension.InvalidExtensionName", 403)
    assert refusal(roster, "file", "RESTORE") == ("Extension.InvalidEventType", 403)
    assert refusal(roster, "file", INVOKE, 5) == ("Extension.InvalidEventType", 403)
    assert refusal(roster, "other", INVOKE, SHUTDOWN) == ("Extension.InvalidEventType", 403)
    assert roster.register("file", [SHUTDOWN, INVOKE, SHUTDOWN], "1") is external
    assert (external.events, external.stage, external.is_external) == ((SHUTDOWN, INVOKE), Stage.REGISTERED, True)
    internal = roster.register("other", [], "2")
    assert (internal.events, internal.is_external) == ((), False)
    assert refusal(roster, "file", INVOKE) == ("Extension.InvalidExtensionState", 403)
    assert refusal(roster, "other", INVOKE) == ("Extension.InvalidExtensionState", 403)
    assert (roster.find("1"), roster.find("2"), roster.find("3"), roster.find("")) == (external, internal, None, None)


def test_ten_may_register() -> None:
    roster = Roster()
    last = [roster.expect(f"file-{number}") for number in range(LIMIT + 1)][-1]
    for number in range(LIMIT):
        roster.register(f"file-{number}", [INVOKE], str(number))
    assert refusal(roster, last.name, INVOKE) == ("Extension.TooManyExtensions", 403)
    assert refusal(roster, "internal", INVOKE) == ("Extension.TooManyExtensions", 403)


def test_nobody_registers_after_the_init_phase() -> None:
    roster = Roster(is_closed=True)
    assert refusal(roster, "late", INVOKE) == ("Extension.RegistrationClosed", 403)


@pytest.mark.parametrize(
    ("body", "events"),
    [(b"", []), (b"{}", []), (b'{"events":["INVOKE"],"more":1}', ["INVOKE"]), (b'{"events":[]}', [])],
)
def test_bodies_of_registrations(body: bytes, events: list[object]) -> None:
    assert wanted_events(body) == events


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"events":"INVOKE"}', b'{"events":null}', b"\xff", b"[" * 100_000])
def test_bodies_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        wanted_events(body)
    assert (caught.value.error_type, caught.value.status) == ("InvalidRequestFormat", 400)


class Calls(RuleBasedStateMachine):
    """Any calls in any order, of an external extension and an internal one."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.roster.expect("external")
        self.delivered = self.taken = 0

    @rule(name=st.sampled_from(["external", "internal"]), event=st.sampled_from([INVOKE, SHUTDOWN]))
    def registers(self, name: str, event: str) -> None:
        try:
            extension = self.roster.register(name, [event], name)
        except RefusedError:
            return
        assert not self.roster.is_closed
        assert extension.is_external or event == INVOKE

    @rule(place=st.integers(0, 1), step=st.sampled_from([step for step in Step if step is not Step.REGISTER]))
    def happens(self, place: int, step: Step) -> None:
        if place >= len(self.roster.extensions):
            return
        extension = self.roster.extensions[place]
        before, allowed = extension.stage, extension.allows(step)
        if allowed:
            extension.take(step)
            return
        with pytest.raises(RefusedError) as caught:
            extension.take(step)
        assert caught.value.error_type == "Extension.InvalidExtensionState"
        assert extension.stage is before

    @rule()
    def init_is_over(self) -> None:
        self.roster.is_closed = self.roster.is_closed or self.roster.is_initialised

    @invariant()
    def it_is_known_who_is_waited_for(self) -> None:
        stages = [extension.stage for extension in self.roster.extensions]
        assert self.roster.is_initialised == (set(stages) <= READY)
        assert self.roster.is_done or any(each.stage not in READY for each in self.roster.extensions if each.events)
        assert len(self.roster.extensions) <= 2


TestCalls = Calls.TestCase
