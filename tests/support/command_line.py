"""The command line as a process: started, read, interrupted, or put into a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

__all__ = [
    "COMMAND",
    "HANGS_AFTER",
    "ROOT",
    "Terminal",
    "environment",
    "finished",
    "killed_if_it_hangs",
    "read_until",
    "started",
]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "actorflow")
HANGS_AFTER = 60.0


def environment(**changes):
    """Return the environment of a command: this checkout, and an unconfigured terminal."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "NO_COLOR" and not name.startswith("PYTHON")
    }
    settings = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "80", "TERM": "xterm"}
    return kept | settings | changes


@contextlib.contextmanager
def killed_if_it_hangs(process):
    """End the process with the block, or earlier if nothing else does."""
    alarm = threading.Timer(HANGS_AFTER, process.kill)
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
        process.kill()


@contextlib.contextmanager
def started(*arguments, command=COMMAND, **options):
    """Start a command as a process of its own; it does not outlive the block."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = pipes | {"env": environment(), "encoding": "utf-8"} | options
    with (
        subprocess.Popen([*command, *arguments], **options) as process,
        killed_if_it_hangs(process),
    ):
        yield process


def finished(*arguments, **options):
    """Start a command, and return its exit status, stdout and stderr."""
    with started(*arguments, **options) as process:
        out, err = process.communicate(timeout=HANGS_AFTER)
        return process.returncode, out, err


def read_until(stream, text):
    """Read lines up to the one with this text."""
    read = []
    for line in stream:
        read.append(line)
        if text in line:
            return "".join(read)
    pytest.fail(f"{text!r} did not come, but:\n{''.join(read)}")


class Terminal:
    """A terminal with a process in it: what is typed goes in, what is shown comes out."""

    def __init__(self, *arguments, rows=30, columns=90, **changes):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = environment(**changes)
        del env["COLUMNS"]
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=env
        )
        os.close(slave)
        self._life = killed_if_it_hangs(self.process)
        self.shown = ""

    def __enter__(self):
        self._life.__enter__()
        return self

    def __exit__(self, *error):
        self._life.__exit__(*error)
        self.process.wait()
        os.close(self._master)

    def read(self):
        """Read what is shown next; nothing once the process has gone."""
        try:
            text = os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            return ""
        self.shown += text
        return text

    def read_until(self, text):
        """Read on until `text` has been shown."""
        while text not in self.plain:
            if not self.read():
                pytest.fail(f"{text!r} was not shown, but:\n{self.plain}")

    def type(self, text):
        """Type `text` on the keyboard."""
        os.write(self._master, text.encode())

    def read_all(self):
        """Read to the end, and return the exit status."""
        while self.read():
            pass
        return self.process.wait(HANGS_AFTER)

    @property
    def plain(self):
        """What has been shown, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown).replace("\r", "")
