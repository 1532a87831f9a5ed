"""Which isolation level a service gets, and what old kernels cannot do of it: tables, without a kernel."""

from __future__ import annotations

import itertools

import pytest

from venturekit.service import config
from venturekit.service.environments.isolation.levels import (
    AUTO,
    LEVELS,
    Finding,
    IsolationUnavailableError,
    Level,
    decide,
    gaps_of,
)


class Machine:
    """Answers for a kernel, and keeps what it was asked."""

    def __init__(self, **found: Finding) -> None:
        self.found = found
        self.asked: list[str] = []

    def examine(self, level: Level) -> Finding:
        self.asked.append(level)
        return self.found.get(level, Finding(level))


MISSING = {level: Finding(level, f"no {level} here") for level in LEVELS}
GAPPED = {level: Finding(level, None, ("do this", "do that")) for level in LEVELS}


def test_the_settings_know_the_same_levels() -> None:
    assert config.ISOLATION_LEVELS == LEVELS


@pytest.mark.parametrize("wanted", LEVELS)
def test_a_level_that_can_be_had_is_taken(wanted: Level) -> None:
    machine = Machine()
    assert decide(wanted, "process", accept_gaps=False, examine=machine.examine) == Finding(wanted)
    # The default costs no probe.
    assert machine.asked == [level for level in [wanted] if level != "process"]


@pytest.mark.parametrize("wanted", LEVELS[1:])
def test_a_level_that_cannot_be_had_is_refused_with_the_reason(wanted: Level) -> None:
    machine = Machine(**MISSING)
    with pytest.raises(IsolationUnavailableError, match=f"'{wanted}' cannot be had here: no {wanted} here"):
        decide(wanted, "process", accept_gaps=True, examine=machine.examine)


@pytest.mark.parametrize("wanted", LEVELS[1:])
def test_gaps_are_refused_unless_they_are_accepted(wanted: Level) -> None:
    machine = Machine(**GAPPED)
    with pytest.raises(IsolationUnavailableError, match=r"do this; do that.*--accept-isolation-gaps"):
        decide(wanted, "process", accept_gaps=False, examine=machine.examine)
    assert decide(wanted, "process", accept_gaps=True, examine=machine.examine) == GAPPED[wanted]


@pytest.mark.parametrize(
    ("machine", "accept_gaps", "reached"),
    [
        (Machine(), False, "namespace"),
        (Machine(namespace=MISSING["namespace"]), False, "confined"),
        (Machine(namespace=GAPPED["namespace"]), False, "confined"),
        (Machine(namespace=GAPPED["namespace"]), True, "namespace"),
        (Machine(**MISSING), True, "process"),
        (Machine(**GAPPED), False, "process"),
    ],
)
def test_auto_takes_the_highest_whole_level(machine: Machine, accept_gaps: bool, reached: Level) -> None:
    assert decide(AUTO, "process", accept_gaps=accept_gaps, examine=machine.examine).level == reached


@pytest.mark.parametrize(("wanted", "required"), list(itertools.product((*LEVELS, AUTO), LEVELS)))
def test_nothing_below_the_required_level_is_returned(wanted: str, required: Level) -> None:
    for machine in (Machine(), Machine(**MISSING), Machine(namespace=MISSING["namespace"])):
        try:
            reached = decide(wanted, required, accept_gaps=False, examine=machine.examine)
        except IsolationUnavailableError:
            continue
        assert LEVELS.index(reached.level) >= LEVELS.index(required)
        assert wanted in (reached.level, AUTO)


def test_a_required_level_that_is_missing_is_named_with_its_reason() -> None:
    machine = Machine(**MISSING)
    with pytest.raises(IsolationUnavailableError, match="'confined' cannot be had here: no confined here"):
        decide(AUTO, "confined", accept_gaps=False, examine=machine.examine)


def test_a_level_below_the_required_one_names_the_option() -> None:
    with pytest.raises(IsolationUnavailableError, match="add --isolation confined"):
        decide("process", "confined", accept_gaps=False, examine=Machine().examine)


@pytest.mark.parametrize(
    ("level", "abi", "parts"),
    [
        ("process", 0, []),
        ("confined", 1, ["emptied", "TCP ports", "signalled"]),
        ("confined", 2, ["emptied", "TCP ports", "signalled"]),
        ("confined", 3, ["TCP ports", "signalled"]),
        ("confined", 4, ["signalled"]),
        ("confined", 5, ["signalled"]),
        ("confined", 6, []),
        ("confined", 9, []),
        # Other processes and files outside are not there at all.
        ("namespace", 1, ["TCP ports"]),
        ("namespace", 4, []),
    ],
)
def test_gaps_by_version_of_landlock(level: Level, abi: int, parts: list[str]) -> None:
    gaps = gaps_of(level, abi)
    assert len(gaps) == len(parts)
    for gap, part in zip(gaps, parts, strict=True):
        assert part in gap
        assert f"here is ABI {abi}" in gap


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"require_isolation": "confined"}, "--isolation process is below --require-isolation confined"),
        ({"isolation": "confined", "require_isolation": "namespace"}, "use --isolation namespace, or auto"),
        ({"isolation": "most"}, "must be one of auto, process, confined, namespace"),
        ({"connect_ports": "80,http"}, "ports from 1 to 65535"),
        ({"connect_ports": "0"}, "ports from 1 to 65535"),
        ({"bind_ports": "65536"}, "ports from 1 to 65535"),
    ],
)
def test_settings_that_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(config.ConfigurationError, match=words):
        config.load_settings(given, {})


OTHERS = {"host": "0.0.0.0", "access_key_id": "AKID", "secret_access_key": "s" * 32, "behind_tls": True}


def test_other_addresses_take_functions_that_are_kept_apart() -> None:
    with pytest.raises(config.ConfigurationError, match=r"functions that are kept apart \(--isolation confined"):
        config.load_settings(OTHERS, {})
    for level in ("confined", "namespace", "auto"):
        settings, _ = config.load_settings({**OTHERS, "isolation": level}, {})
        assert config.least_isolation(settings) == "confined"
    settings, _ = config.load_settings({**OTHERS, "isolation": "auto", "require_isolation": "namespace"}, {})
    assert config.least_isolation(settings) == "namespace"
    assert config.least_isolation(config.Settings()) == "process"


def test_ports_may_be_added_to_the_default_ones() -> None:
    settings, _ = config.load_settings({"connect_ports": "default, 8080", "bind_ports": "8080,9000,8080"}, {})
    assert settings.connect_ports == tuple(sorted({*config.DEFAULT_CONNECT_PORTS, 8080}))
    assert settings.bind_ports == (8080, 9000)
    assert config.Settings().connect_ports == tuple(sorted(config.DEFAULT_CONNECT_PORTS))
    settings, _ = config.load_settings({}, {"VENTUREKIT_CONNECT_PORTS": "443"})
    assert settings.connect_ports == (443,)
