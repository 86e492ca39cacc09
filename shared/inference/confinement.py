"""Takes from a process what decoding a file does not need, before it sees one. Linux."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

_OPEN_FILES = 32  # a guess: those that came with the process, and a few modules that codecs load late

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_MODE_FILTER = 2
_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # the last with errno EPERM
_X32 = 0x40000000  # the bit of x86-64's other system calls

# What no codec needs: processes, sockets, others' memory, signals, changes to files. The numbers are of x86-64
# (asm/unistd_64.h) and of arm64 (asm-generic/unistd.h), where None stands for a call that it does not have.
_REFUSED_CALLS: Mapping[str, tuple[int, int | None]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "mount": (165, 40),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "chmod": (90, None),
    "fchmod": (91, 52),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # the column above, and linux/audit.h's name


def confine(memory_bytes: int) -> None:
    """Bounds what this process may take from now on, for good: so much memory more, few files, no others' business.

    It cannot write files, dump core, gain rights, start programs, open sockets, or send signals; it dies with its
    parent, and before it where the machine runs out of memory.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_AS, taken + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _refuse_calls()


def die_first() -> None:
    """Asks the kernel to end this process and its children before others, where memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:  # a read-only /proc; the limit of its own remains
        return


def _refuse_calls() -> None:
    """Has the kernel refuse system calls that no codec needs, on the machines whose numbers are known here."""
    if platform.machine() not in _MACHINES:
        return
    column, machine = _MACHINES[platform.machine()]
    refused = [number for each in _REFUSED_CALLS.values() if (number := each[column]) is not None]
    count = len(refused)
    steps = [
        (_LOAD_WORD, 0, 0, 4),  # the machine that the call is meant for
        (_JUMP_IF_EQUAL, 0, count + 4, machine),
        (_LOAD_WORD, 0, 0, 0),  # the call
        (_JUMP_IF_ANY, count + 2, 0, _X32),
        *((_JUMP_IF_EQUAL, count - at, 0, number) for at, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _KILL_PROCESS),
    ]
    _load(steps)


def _load(steps: Sequence[tuple[int, int, int, int]]) -> None:
    """Hands a filter to the kernel; one that has none goes without."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    _libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program), 0, 0)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
