"""System calls that Python's library has no function for, by ctypes.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Name: number on x86_64, number on aarch64 (the generic table); None where an architecture does not have it.
NUMBERS: dict[str, tuple[int, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chmod": (90, None),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "creat": (85, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "open": (2, None),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "openat": (257, 56),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
MACHINES = ("x86_64", "aarch64")

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


class UnsupportedMachineError(OSError):
    """The numbers of this architecture's system calls are not known here."""


def unsupported(machine: str) -> UnsupportedMachineError:
    """The error for a machine other than `MACHINES`."""
    return UnsupportedMachineError(f"isolation is made for {' and '.join(MACHINES)}, this machine is {machine}")


def number_of(name: str, machine: str) -> int | None:
    """The number of a system call, None where the architecture does not have it. Raises UnsupportedMachineError."""
    if machine not in MACHINES:
        raise unsupported(machine)
    return NUMBERS[name][MACHINES.index(machine)]


class Kernel:
    """The kernel below this process. Every method raises OSError with the kernel's reason."""

    def __init__(self) -> None:
        self.machine = os.uname().machine
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def call(self, name: str, *arguments: int | bytes | ctypes.Array[Any] | None) -> int:
        """One system call; integers are passed as words, bytes and buffers as their address."""
        number = number_of(name, self.machine)
        if number is None:
            raise UnsupportedMachineError(f"{self.machine} has no system call {name}")
        given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        result: int = self._libc.syscall(ctypes.c_long(number), *given)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"{name}: {os.strerror(code)}")
        return result

    def control_process(self, option: int, *arguments: int | ctypes.Array[Any]) -> None:
        """`prctl(option, ...)`; arguments that are left out are 0."""
        filled = [*arguments, *(0 for _ in range(4 - len(arguments)))]
        given = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in filled]
        if self._libc.prctl(ctypes.c_int(option), *given) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"prctl {option}: {os.strerror(code)}")

    def forbid_new_privileges(self) -> None:
        """No exec gives rights any more: set-user-id programs run without them."""
        self.control_process(_PR_SET_NO_NEW_PRIVS, 1)

    def drop_capabilities(self) -> None:
        """Give up root's powers and those of a namespace's maker. With no_new_privs, exec does not return them."""
        header = ctypes.create_string_buffer(_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
        self.call("capset", header, ctypes.create_string_buffer(24))
