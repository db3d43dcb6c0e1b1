"""Processes: which one this is, and whether another one on this machine has ended.

A process id alone does not name a process, because ids are used again. With the time at which the
process started it does, within one boot of a machine and one namespace of process ids. All of this
is read from Linux's `/proc`; where it cannot be read, no process is known to have ended.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Process"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACES: Final = ("/proc/self/ns/pid", "/proc/self/ns/time")
"""The namespaces of process ids, and of the clock that start times are counted by."""


class _Stat(NamedTuple):
    """What `/proc/PID/stat` says; see proc_pid_stat(5)."""

    pid: int
    state: str
    threads: int
    started: int
    """Clock ticks from the boot until the process started."""

    @classmethod
    def of(cls, pid: int | str) -> Self | None:
        try:
            text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
            number, _, rest = text.partition(" (")
            fields = rest.rpartition(") ")[2].split()  # the name may hold parentheses
            return cls(int(number), fields[0], int(fields[17]), int(fields[19]))
        except (OSError, ValueError, IndexError):
            return None

    @property
    def is_over(self) -> bool:
        """Whether the process has ended, though its parent has not asked for its status yet."""
        return self.state in {"Z", "X"} and self.threads <= 1


@attrs.frozen(kw_only=True)
class Process:
    """A process, as named in the row of an owner; parts that are not known are None."""

    host: str | None
    boot_id: str | None
    pid_namespace: str | None
    pid: int | None
    pid_started: int | None

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        found = _Stat.of("self")
        # In another namespace's /proc, process ids mean other processes.
        is_ours = found is not None and found.pid == os.getpid()
        return cls(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid_namespace=_pid_namespace(),
            pid=os.getpid(),
            pid_started=found.started if found is not None and is_ours else None,
        )

    @property
    def is_known(self) -> bool:
        """Whether every part is known."""
        return None not in attrs.astuple(self)

    def knows_as_ended(self, other: Process) -> bool:
        """Return whether `other` is a process of this machine that has certainly ended."""
        if not self.is_known or not other.is_known or self._place != other._place:
            return False
        return other.pid is not None and _has_ended(other.pid, other.pid_started)

    @property
    def _place(self) -> tuple[str | None, ...]:
        """Where its process id means something."""
        return self.host, self.boot_id, self.pid_namespace


def _has_ended(pid: int, started: int | None) -> bool:
    if pid <= 0:
        return False  # which names a group of processes
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # it may be another user's
    found = _Stat.of(pid)  # None if /proc hides the processes of others
    return found is not None and (found.started != started or found.is_over)


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


def _pid_namespace() -> str | None:
    try:
        # Old kernels have no namespaces of clocks.
        return " ".join(os.readlink(it) for it in _NAMESPACES if os.path.lexists(it)) or None  # noqa: PTH115
    except OSError:
        return None
