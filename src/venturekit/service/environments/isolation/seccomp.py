"""A seccomp filter: system calls that a function has no business with are refused with EPERM.

Three kinds. Calls that reach other processes, the kernel's own insides or its rarely used corners, where most of its
holes have been. Ways around Landlock's rule on TCP ports: TCP fast open connects while it sends, and Multipath TCP, SMC
and SCTP are no TCP to it. And, where paths and abstract names of Unix sockets are not kept apart otherwise, new Unix
sockets (a pair that is connected from the start is always allowed).

Source: the kernel's page "Seccomp BPF", `linux/filter.h`, socket(2), clone(2). Pure but for `install`.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from .kernel import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel import Kernel

    Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

DENIED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"),
    *("mount", "umount2", "pivot_root", "chroot", "setns", "open_tree", "open_tree_attr", "move_mount", "fsopen"),
    *(
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "open_by_handle_at",
        "quotactl",
        "quotactl_fd",
        "fanotify_init",
    ),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("keyctl", "add_key", "request_key"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "syslog", "acct"),
    *("swapon", "swapoff", "settimeofday", "clock_settime", "sethostname", "setdomainname", "vhangup"),
    *("iopl", "ioperm"),
)

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000  # with the error's number

_AT_NUMBER = 0
_AT_ARCHITECTURE = 4
_AT_ARGUMENTS = 16
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

NEW_NAMESPACES = 0x7E020000
"""clone(2)'s flags for mount, control group, UTS, IPC, user, process and network namespaces."""
NEW_TIME_NAMESPACE = 0x80
FAST_OPEN = 0x20000000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)  # none, ICMP, TCP, UDP, ICMPv6
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2


def _refuse(code: int) -> Instruction:
    return (_RETURN, 0, 0, _REFUSE | code)


def _argument(index: int) -> Instruction:
    # The lower half: both architectures are little endian, and all arguments that are looked at are `int`s.
    return (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * index)


_ALLOWED = (_RETURN, 0, 0, _ALLOW)


def _for_call(number: int, body: list[Instruction]) -> list[Instruction]:
    """`body`, which has to end in a return, for one system call only."""
    return [(_IF_EQUAL, 0, len(body), number), *body]


def _if_bits(index: int, bits: int, code: int) -> list[Instruction]:
    return [_argument(index), (_IF_ANY_BIT, 0, 1, bits), _refuse(code), _ALLOWED]


def _if_none_of(index: int, values: tuple[int, ...], code: int) -> list[Instruction]:
    checks = [(_IF_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *checks, _refuse(code), _ALLOWED]


def _socket_rules(*, unix_sockets: bool) -> list[Instruction]:
    internet = _if_none_of(2, _INTERNET_PROTOCOLS, errno.EPROTONOSUPPORT)
    routes = _if_none_of(2, (0,), errno.EPROTONOSUPPORT)  # addresses and interfaces, no other part of netlink
    rules = [_argument(0)]
    if unix_sockets:
        rules += [(_IF_EQUAL, 0, 1, _AF_UNIX), _ALLOWED]
    rules += [(_IF_EQUAL, 0, len(routes), _AF_NETLINK), *routes]
    rules += [(_IF_EQUAL, 1, 0, _AF_INET), (_IF_EQUAL, 0, len(internet), _AF_INET6), *internet]
    return [*rules, _refuse(errno.EPERM)]


def build_filter(machine: str, *, unix_sockets: bool) -> bytes:
    """The program for an architecture, as the kernel takes it. Raises UnsupportedMachineError."""

    def number(name: str) -> int:
        found = number_of(name, machine)
        assert found is not None, name
        return found

    denied = [found for name in DENIED if (found := number_of(name, machine)) is not None]
    # Of another architecture (32 bit on x86_64 and aarch64) the numbers mean something else.
    program = [(_LOAD, 0, 0, _AT_ARCHITECTURE), (_IF_EQUAL, 1, 0, ARCHITECTURES[machine]), _refuse(errno.EPERM)]
    program.append((_LOAD, 0, 0, _AT_NUMBER))
    if machine == "x86_64":
        program += [(_IF_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.EPERM)]
    for unwanted in denied:
        program += _for_call(unwanted, [_refuse(errno.EPERM)])
    # Its flags are in memory, which a filter cannot read. The C library uses clone instead when it is missing.
    program += _for_call(number("clone3"), [_refuse(errno.ENOSYS)])
    program += _for_call(number("clone"), _if_bits(0, NEW_NAMESPACES, errno.EPERM))
    program += _for_call(number("unshare"), _if_bits(0, NEW_NAMESPACES | NEW_TIME_NAMESPACE, errno.EPERM))
    for name, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        program += _for_call(number(name), _if_bits(index, FAST_OPEN, errno.EOPNOTSUPP))
    program += _for_call(number("socket"), _socket_rules(unix_sockets=unix_sockets))
    program.append(_ALLOWED)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install(kernel: Kernel, program: bytes) -> None:
    """Hold this process, and all it starts, to the filter from now on. Needs no_new_privs. Raises OSError."""
    instructions = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)), struct.calcsize("@HP")
    )
    # The second argument of PR_SET_SECCOMP is a word, the third an address.
    kernel.control_process(_PR_SET_SECCOMP, _MODE_FILTER, header)
