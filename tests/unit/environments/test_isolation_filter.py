"""The seccomp filter and Landlock's structures as data: run by a small interpreter of the kernel's filter language."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.environments.isolation import landlock, seccomp
from venturekit.service.environments.isolation.kernel import MACHINES, NUMBERS, UnsupportedMachineError, number_of

FILTERS = {
    (machine, inside): seccomp.build_filter(machine, unix_sockets=inside, has_namespaces=inside)
    for machine in MACHINES
    for inside in (False, True)
}
ALLOW = 0x7FFF0000
SPECIAL = {"clone", "clone3", "unshare", "sendto", "sendmsg", "sendmmsg", "socket", "socketpair", "prctl", "prlimit64"}
MODES = {"chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "mknod", "mknodat", "open", "openat", "openat2"}


def run(program: bytes, machine: str, number: int, *arguments: int, architecture: int | None = None) -> int | None:
    """What the filter answers to a system call: an error's number, None when it is allowed."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    found = seccomp.ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("=iIQ6Q", number, found, 0, *given)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        code, if_true, if_false, constant = instructions[position]
        position += 1
        if code == 0x06:
            assert constant == ALLOW or constant & 0xFFFF0000 == 0x00050000, hex(constant)
            return None if constant == ALLOW else constant & 0xFFFF
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, constant)[0]
            continue
        test = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}[code]
        position += if_true if test else if_false


def number(name: str, machine: str) -> int:
    found = number_of(name, machine)
    assert found is not None
    return found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("unix", [False, True])
def test_what_is_denied_is_refused(machine: str, unix: bool) -> None:
    for name in seccomp.DENIED if unix else (*seccomp.DENIED, *seccomp.SHARED_BY_A_USER):
        wanted = number_of(name, machine)
        if wanted is not None:
            assert run(FILTERS[machine, unix], machine, wanted) == errno.EPERM, name


@given(st.sampled_from(MACHINES), st.booleans(), st.integers(0, 600), st.integers(0, 2**64 - 1))
def test_everything_else_is_allowed(machine: str, unix: bool, wanted: int, argument: int) -> None:
    column = MACHINES.index(machine)
    known = {
        row[column]
        for name, row in NUMBERS.items()
        if name in (*seccomp.DENIED, *seccomp.SHARED_BY_A_USER, *SPECIAL, *MODES)
    }
    if wanted not in known:
        assert run(FILTERS[machine, unix], machine, wanted, argument) is None


@given(st.sampled_from(MACHINES), st.integers(0, 2**32 - 1), st.integers(0, 600))
def test_other_architectures_are_refused(machine: str, architecture: int, wanted: int) -> None:
    if architecture != seccomp.ARCHITECTURES[machine]:
        assert run(FILTERS[machine, True], machine, wanted, architecture=architecture) == errno.EPERM


@given(st.integers(0x40000000, 0x7FFFFFFF))
def test_the_x32_numbers_are_refused(wanted: int) -> None:
    assert run(FILTERS["x86_64", True], "x86_64", wanted) == errno.EPERM


NEW_USERS, NEW_TIME, THREAD = 0x10000000, 0x80, 0x003D0F00
FAST_OPEN = 0x20000000


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("clone", (17,), None),
        ("clone", (THREAD,), None),
        # In clone the lowest byte is a signal's number.
        ("clone", (NEW_TIME | 17,), None),
        ("clone", (NEW_USERS | 17,), errno.EPERM),
        ("clone", (0x40000000,), errno.EPERM),
        ("clone", (0x8000 | 17,), errno.EPERM),  # a child of its parent
        ("clone3", (), errno.ENOSYS),
        ("openat2", (), errno.ENOSYS),
        ("openat", (3, 0, 0x80000, 0o4755), None),  # nothing is made: the mode is whatever it is
        ("openat", (3, 0, 0o102, 0o644), None),
        ("openat", (3, 0, 0o102, 0o4755), errno.EPERM),
        ("openat", (3, 0, 0o20200002, 0o4755), errno.EPERM),  # without a name
        ("fchmod", (3, 0o755), None),
        ("fchmod", (3, 0o2755), errno.EPERM),
        ("fchmodat", (3, 0, 0o1777), None),
        ("fchmodat", (3, 0, 0o4755), errno.EPERM),
        ("fchmodat2", (3, 0, 0o4755), errno.EPERM),
        ("mknodat", (3, 0, 0o104755), errno.EPERM),
        ("mknodat", (3, 0, 0o010644), None),
        ("prctl", (36, 1), None),
        ("prctl", (36, 0), errno.EPERM),  # orphans would leave the tree
        ("prctl", (15, 0), None),
        ("prlimit64", (0, 7, 2**32), None),
        ("prlimit64", (5, 7, 0, 1), None),
        ("socketpair", (1, 1 | 0x80800, 0), None),
        ("socketpair", (1, 5, 0), None),
        ("socketpair", (30, 1, 0), errno.EPERM),
        ("socket", (2, 5, 0), errno.ESOCKTNOSUPPORT),  # SCTP without saying so
        ("socket", (10, 6, 0), errno.ESOCKTNOSUPPORT),
        ("unshare", (0x400,), None),
        ("unshare", (NEW_USERS,), errno.EPERM),
        ("unshare", (0x00020000,), errno.EPERM),
        ("unshare", (NEW_TIME,), errno.EPERM),
        ("sendto", (3, 0, 0, 0x4000), None),
        ("sendto", (FAST_OPEN, 0, 0, FAST_OPEN | 0x4000), errno.EOPNOTSUPP),
        ("sendmsg", (3, 0, 0), None),
        ("sendmsg", (3, 0, FAST_OPEN), errno.EOPNOTSUPP),
        ("sendmmsg", (3, 0, 1, FAST_OPEN), errno.EOPNOTSUPP),
        ("socket", (2, 1, 0), None),
        ("socket", (2, 1 | 0x80800, 6), None),
        ("socket", (10, 2, 17), None),
        ("socket", (10, 1, 262), errno.EPROTONOSUPPORT),  # Multipath TCP
        ("socket", (2, 1, 132), errno.EPROTONOSUPPORT),  # SCTP
        ("socket", (2, 1, 256), errno.EPROTONOSUPPORT),  # SMC
        ("socket", (16, 3, 0), None),
        ("socket", (16, 3, 15), errno.EPROTONOSUPPORT),
        ("socket", (17, 3, 0), errno.EPERM),  # packets
        ("socket", (38, 5, 0), errno.EPERM),  # the kernel's ciphers
        ("socket", (40, 1, 0), errno.EPERM),  # the machine's host
        ("socket", (43, 1, 0), errno.EPERM),  # SMC
    ],
)
def test_arguments_decide(machine: str, name: str, arguments: tuple[int, ...], answer: int | None) -> None:
    for unix in (False, True):
        assert run(FILTERS[machine, unix], machine, number(name, machine), *arguments) == answer


@pytest.mark.parametrize("machine", MACHINES)
def test_unix_sockets_are_a_choice(machine: str) -> None:
    wanted = number("socket", machine)
    assert run(FILTERS[machine, False], machine, wanted, 1, 1, 0) == errno.EPERM
    assert run(FILTERS[machine, True], machine, wanted, 1, 1, 0) is None
    # The ends of a pair of datagram sockets can send elsewhere.
    pair = number("socketpair", machine)
    for kind in (2, 3, 2 | 0x80000):
        assert run(FILTERS[machine, False], machine, pair, 1, kind, 0) == errno.EPERM
        assert run(FILTERS[machine, True], machine, pair, 1, kind, 0) is None
    # Upper halves of `int` arguments are ignored by the kernel, too.
    assert run(FILTERS[machine, False], machine, wanted, 2**32 + 1, 1, 0) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("address", [8, 2**32, 2**47 + 2**32])
def test_limits_of_others_are_out_of_reach_without_namespaces(machine: str, address: int) -> None:
    wanted = number("prlimit64", machine)
    assert run(FILTERS[machine, False], machine, wanted, 5, 7, address) == errno.EPERM
    assert run(FILTERS[machine, True], machine, wanted, 5, 7, address) is None


def test_an_unknown_machine_is_refused_in_words() -> None:
    with pytest.raises(
        UnsupportedMachineError, match="isolation is made for x86_64 and aarch64, this machine is riscv64"
    ):
        seccomp.build_filter("riscv64", unix_sockets=True, has_namespaces=True)


def test_a_program_fits_what_the_kernel_takes() -> None:
    assert {len(program) % 8 for program in FILTERS.values()} == {0}
    assert max(len(program) // 8 for program in FILTERS.values()) <= 4096


@pytest.mark.parametrize(
    ("abi", "words"),
    [
        (1, [0x1FFF]),
        (2, [0x3FFF]),
        (3, [0x7FFF]),
        (4, [0x7FFF, 3]),
        (5, [0xFFFF, 3]),
        (6, [0xFFFF, 3, 3]),
    ],
)
def test_landlock_is_asked_for_what_its_version_knows(abi: int, words: list[int]) -> None:
    assert landlock.ruleset_attributes(abi) == struct.pack(f"={len(words)}Q", *words)


def test_writing_is_everything_but_device_files() -> None:
    missing = landlock.file_rights(landlock.NEWEST_ABI) & ~landlock.WRITE
    assert missing == landlock.MAKE_CHAR | landlock.MAKE_BLOCK | landlock.IOCTL_DEV
