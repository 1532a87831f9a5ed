"""A seccomp filter: system calls that a function has no business with are refused with EPERM.

* Calls that reach other processes, the kernel's own insides or its rarely used corners, where most of its holes have
  been.
* Ways around Landlock's rule on TCP ports: TCP fast open connects while it sends, and Multipath TCP, SMC and SCTP are
  no TCP to it.
* Programs that run with the rights of their owner (set-user-id): one in a folder that others reach would hand them the
  rights of the service's user.
* Ways out of the process tree by which memory is counted: another's child, orphans that go elsewhere.
* Where paths and abstract names of Unix sockets are not kept apart otherwise, new Unix sockets. A pair that is
  connected from the start is allowed, unless its ends could send elsewhere (datagrams).
* Without namespaces, what Landlock does not know of: System V memory, semaphores and messages, which also outlive every
  process, and the limits of other processes.

Source: the kernel's page "Seccomp BPF", `linux/filter.h`, socket(2), unix(7), clone(2), prlimit(2), inode(7). Pure but
for `install`.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from .kernel import number_of, unsupported

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

SHARED_BY_A_USER = (
    *("shmget", "shmat", "shmctl", "shmdt", "semget", "semctl", "semop", "semtimedop"),
    *("msgget", "msgctl", "msgsnd", "msgrcv", "mq_open", "mq_unlink"),
)
"""What all processes of a user share, where there is no IPC namespace."""

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
SIBLING = 0x8000
"""clone(2)'s CLONE_PARENT."""
SET_ID_BITS = 0o6000
_CREATES = 0o20000100  # O_CREAT, and what tells O_TMPFILE
_DATAGRAM = 2  # of the types of Unix sockets: SOCK_DGRAM and SOCK_RAW, which is the same
_RARE_TYPES = 12  # SOCK_SEQPACKET is SCTP without saying so, SOCK_DCCP, SOCK_PACKET
FAST_OPEN = 0x20000000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)  # none, ICMP, TCP, UDP, ICMPv6
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
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


def _for_set_id() -> list[tuple[str, list[Instruction]]]:
    plain = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
    rules = [(name, _if_bits(index, SET_ID_BITS, errno.EPERM)) for name, index in plain.items()]
    for name, index in (("open", 1), ("openat", 2)):
        # Without one of these flags the mode means nothing, and may be anything.
        checked = _if_bits(index + 1, SET_ID_BITS, errno.EPERM)
        rules.append((name, [_argument(index), (_IF_ANY_BIT, 1, 0, _CREATES), _ALLOWED, *checked]))
    # Its flags and mode are in memory, which a filter cannot read. Programs use openat where it is missing.
    return [*rules, ("openat2", [_refuse(errno.ENOSYS)])]


def _pair_rules(*, unix_sockets: bool) -> list[Instruction]:
    rules = [_argument(0), (_IF_EQUAL, 1, 0, _AF_UNIX), _refuse(errno.EPERM)]
    return [*rules, *([_ALLOWED] if unix_sockets else _if_bits(1, _DATAGRAM, errno.EPERM))]


def _foreign_limit_rules() -> list[Instruction]:
    refuse_new = [
        *(_argument(2), (_IF_EQUAL, 0, 2, 0)),
        *((_LOAD, 0, 0, _AT_ARGUMENTS + 8 * 2 + 4), (_IF_EQUAL, 1, 0, 0)),
        *(_refuse(errno.EPERM), _ALLOWED),
    ]
    return [_argument(0), (_IF_EQUAL, 0, 1, 0), _ALLOWED, *refuse_new]


def _socket_rules(*, unix_sockets: bool) -> list[Instruction]:
    internet = [_argument(1), (_IF_ANY_BIT, 0, 1, _RARE_TYPES), _refuse(errno.ESOCKTNOSUPPORT)]
    internet += _if_none_of(2, _INTERNET_PROTOCOLS, errno.EPROTONOSUPPORT)
    routes = _if_none_of(2, (0,), errno.EPROTONOSUPPORT)  # addresses and interfaces, no other part of netlink
    rules = [_argument(0)]
    if unix_sockets:
        rules += [(_IF_EQUAL, 0, 1, _AF_UNIX), _ALLOWED]
    rules += [(_IF_EQUAL, 0, len(routes), _AF_NETLINK), *routes]
    rules += [(_IF_EQUAL, 1, 0, _AF_INET), (_IF_EQUAL, 0, len(internet), _AF_INET6), *internet]
    return [*rules, _refuse(errno.EPERM)]


def _rules(*, unix_sockets: bool, has_namespaces: bool) -> list[tuple[str, list[Instruction]]]:
    """By system call, what is done with it. Those with arguments first, the frequent ones before the others."""
    rules = sorted(_for_set_id(), key=lambda rule: rule[0] != "openat")
    for name, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        rules.append((name, _if_bits(index, FAST_OPEN, errno.EOPNOTSUPP)))
    rules.append(("socket", _socket_rules(unix_sockets=unix_sockets)))
    rules.append(("socketpair", _pair_rules(unix_sockets=unix_sockets)))
    # Its flags are in memory, too. The C library uses clone instead when it is missing.
    rules.append(("clone3", [_refuse(errno.ENOSYS)]))
    rules.append(("clone", _if_bits(0, NEW_NAMESPACES | SIBLING, errno.EPERM)))
    rules.append(("unshare", _if_bits(0, NEW_NAMESPACES | NEW_TIME_NAMESPACE, errno.EPERM)))
    no_orphans = [_argument(1), (_IF_EQUAL, 0, 1, 0), _refuse(errno.EPERM), _ALLOWED]
    rules.append(("prctl", [_argument(0), (_IF_EQUAL, 1, 0, _PR_SET_CHILD_SUBREAPER), _ALLOWED, *no_orphans]))
    if not has_namespaces:
        rules.append(("prlimit64", _foreign_limit_rules()))
    denied = DENIED if has_namespaces else (*DENIED, *SHARED_BY_A_USER)
    return [*rules, *((name, [_refuse(errno.EPERM)]) for name in denied)]


def build_filter(machine: str, *, unix_sockets: bool, has_namespaces: bool) -> bytes:
    """The program for an architecture, as the kernel takes it. Raises UnsupportedMachineError."""
    if machine not in ARCHITECTURES:
        raise unsupported(machine)
    # Of another architecture (32 bit on x86_64 and aarch64) the numbers mean something else.
    program = [(_LOAD, 0, 0, _AT_ARCHITECTURE), (_IF_EQUAL, 1, 0, ARCHITECTURES[machine]), _refuse(errno.EPERM)]
    program.append((_LOAD, 0, 0, _AT_NUMBER))
    if machine == "x86_64":
        program += [(_IF_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.EPERM)]
    for name, body in _rules(unix_sockets=unix_sockets, has_namespaces=has_namespaces):
        number = number_of(name, machine)
        if number is not None:
            program += _for_call(number, body)
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
