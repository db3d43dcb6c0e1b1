"""The watcher of a state manager: one thread, one query a turn, and no follower forgotten."""

from __future__ import annotations

import errno
import queue
import sqlite3
import threading

import psycopg
import pytest
import sqlalchemy as sa

from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.channels import FOLLOWED, payload, runs_in
from actorflow.state.sql.engines import Engines
from actorflow.state.sql.watching import postgresql as listening
from actorflow.state.sql.watching import watcher as watching
from actorflow.testing.contracts.accounts import (
    COMPLETED,
    STARTED,
    accept,
    accepted,
    happened,
    write,
)

HANGS = 60.0
HANG_UP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


class News:
    """What a follower is told."""

    def __init__(self):
        self._told = queue.SimpleQueue()

    def __call__(self, status):
        """Take note of a status."""
        self._told.put(status)

    def until(self, status):
        """Wait until it is told."""
        while self._told.get(timeout=HANGS) != status:
            pass


def watchers():
    """The threads that watch."""
    return [it for it in threading.enumerate() if it.name == "actorflow watcher"]


def tell(url, statement):
    """Execute a statement on a connection of its own."""
    with Engines.to(url) as engines, engines.writing.begin() as connection:
        connection.execute(sa.text(statement))


def followed(make):
    """A run that is followed; the state managers that write and follow it, and the news."""
    owner, other, news = make(), make(), News()
    accept(owner, accepted())
    other.follow("run", news)
    news.until("pending")
    return owner, other, news


# ── One thread ───────────────────────────────────────────────────────────────────────────────


def test_a_thread_watches_only_while_a_run_is_followed(make, monkeypatch):
    """One for all of them; it ends soon after the last one has stopped."""
    monkeypatch.setattr(watching, "_LINGERS", 0.0)
    state, news = make(), News()
    accept(state, accepted())
    before = watchers()
    stops = [state.follow("run", news) for _ in range(3)]
    news.until("pending")
    during = watchers()
    for stop in stops:
        stop()
    for thread in during:
        thread.join(HANGS)

    assert ([], 1, []) == (before, len(during), watchers())


def test_the_thread_ends_when_the_manager_is_closed(make):
    """Though runs are followed; to follow again is to begin again."""
    owner, other, _ = followed(make)
    other.close()
    closed, news = watchers(), News()
    other.follow("run", news)
    write(owner, happened(*COMPLETED))
    news.until("completed")

    assert [] == closed


def test_any_number_of_followers_costs_one_query_a_turn(make):
    """Ten thousand of ten thousand runs are told of one change by one look."""
    owner, other, news = make(), make(), News()
    accept(owner, accepted())
    for number in range(10_000):
        other.follow(f"absent {number}", lambda _status: None)
    other.follow("run", news)
    news.until("pending")
    asked, looks = [], other._watcher.looks
    channel = other._watcher._channel
    look = channel.look
    channel.look = lambda run_ids: asked.append(len(run_ids)) or look(run_ids)
    write(owner, happened(*COMPLETED))
    news.until("completed")

    assert asked
    assert len(asked) == other._watcher.looks - looks <= 3


def test_a_watcher_whose_database_fails_goes_on_and_says_so(make, monkeypatch):
    """In the manager's health, until it can look again."""
    owner, other, news = followed(make)
    broken, failed = threading.Event(), threading.Event()
    channel = type(other._watcher._channel)
    look = channel.look

    def fail_or_look(self, run_ids):
        if not broken.is_set():
            return look(self, run_ids)
        failed.set()
        raise sa.exc.OperationalError("look", {}, Exception("gone"))

    monkeypatch.setattr(channel, "look", fail_or_look)
    broken.set()
    write(owner, happened(*STARTED))
    assert failed.wait(HANGS)
    while other.health.status == "ok":
        failed.wait(0)
    during = other.health
    broken.clear()
    news.until("running")

    assert ("retrying", True) == (during.status, "gone" in during.error)
    while other.health.status != "ok":
        failed.wait(0)


def test_a_watcher_survives_a_moment_with_too_many_open_files(make, monkeypatch):
    """It needs some for itself; until there are, it tries again, and says so."""
    bell, full, failed = watching.Bell, [True], threading.Event()

    def lacking():
        if full:
            failed.set()
            raise OSError(errno.EMFILE, "too many open files")
        return bell()

    monkeypatch.setattr(watching, "Bell", lacking)
    monkeypatch.setattr(watching, "_LONGEST_PAUSE", 0.01)
    owner, other, news = make(), make(), News()
    accept(owner, accepted())
    other.follow("run", news)
    assert failed.wait(HANGS)
    full.clear()

    news.until("pending")
    assert 1 == len(watchers())


def test_a_file_that_was_replaced_is_noticed(tmp_path, sqlite_tables):
    """The watcher does not look at a file without a name for ever."""
    path = tmp_path / "runs.db"
    path.write_bytes(sqlite_tables.read_bytes())
    state, news = SQLStateManager(f"sqlite:///{path}"), News()
    try:
        state.follow("run", news)
        news.until(None)
        former = state._watcher._channel._driver
        for file in tmp_path.iterdir():
            file.unlink()
        path.write_bytes(sqlite_tables.read_bytes())
        state._watcher._channel.net = 0.0
        state._watcher._bell.ring()
        other = SQLStateManager(f"sqlite:///{path}")
        accept(other, accepted())
        other.close()

        news.until("pending")
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            former.execute("SELECT 1")
    finally:
        state.close()


# ── Requests to cancel ───────────────────────────────────────────────────────────────────────


def test_an_owner_hears_of_a_request_before_it_renews_its_lease(make):
    """Its lease is renewed every twenty minutes."""
    owner, other, heard = make(lease=3600.0), make(), queue.SimpleQueue()
    owner.listen(lambda *request: heard.put(request))
    accept(owner, accepted())
    write(owner, happened(*STARTED))
    other.ask_to_cancel("run", "enough", compensate=True)

    assert ("run", "enough", True) == heard.get(timeout=HANGS)


def test_an_owner_that_began_to_listen_late_hears_of_a_request(make):
    """When it next writes."""
    owner, other, heard = make(lease=3600.0), make(), queue.SimpleQueue()
    accept(owner, accepted())
    owner.listen(lambda *request: heard.put(request))
    write(owner, happened(*STARTED))
    other.ask_to_cancel("run", "enough")

    assert ("run", "enough", False) == heard.get(timeout=HANGS)


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server_url(postgresql, postgresql_tables):
    """A new database on a server."""
    return postgresql.copy_of(postgresql_tables)


@pytest.fixture
def open_state(server_url):
    """A function that opens state managers on it."""
    opened = []

    def make(**options):
        opened.append(SQLStateManager(server_url, **options))
        return opened[-1]

    yield make
    for state in opened:
        state.close()


class Listener:
    """A connection that listens to what writers announce."""

    def __init__(self, url):
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self._connection.execute("LISTEN actorflow_runs")

    def heard(self):
        """Return the payloads so far: those of everything that was committed by now."""
        self._connection.execute("SELECT 1")
        return [it.payload for it in self._connection.notifies(timeout=0)]

    def until_none_follows(self):
        """Wait for the server to notice that the last follower has disconnected."""
        self._connection.execute(f"SET lock_timeout = '{HANGS:.0f}s'")
        for what in ("lock", "unlock"):
            self._connection.execute(f"SELECT pg_advisory_{what}({FOLLOWED})")

    def close(self):
        """Disconnect."""
        self._connection.close()


def test_writers_announce_runs_only_while_some_are_followed(open_state, server_url, monkeypatch):
    """To announce costs every writer of the server something."""
    monkeypatch.setattr(watching, "_LINGERS", 0.0)
    owner, other, news = open_state(), open_state(), News()
    listener = Listener(server_url)
    try:
        accept(owner, accepted())
        before = listener.heard()
        stop = other.follow("run", news)
        news.until("pending")
        write(owner, happened(*STARTED))
        news.until("running")
        during = listener.heard()
        stop()
        listener.until_none_follows()
        write(owner, happened(*COMPLETED[3:], after=3))

        assert ([], ['["run"]'], []) == (before, during, listener.heard())
    finally:
        listener.close()


def test_a_change_that_was_not_announced_is_found(open_state, server_url):
    """A poll is the net below the announcements."""
    _, other, news = followed(open_state)
    while other._watcher.looks < 2:  # the second look at once is for what was under way
        threading.Event().wait(0.001)
    tell(
        server_url,
        "UPDATE actorflow_runs SET status = 'cancelled', finished_at = now() WHERE run_id = 'run'",
    )

    news.until("cancelled")
    assert other.health.status == "ok"


def test_a_watcher_that_was_disconnected_connects_again(open_state, server_url):
    """And hears of what happened in between."""
    owner, _, news = followed(open_state)
    tell(server_url, HANG_UP + " AND query LIKE '%actorflow_runs WHERE%'")
    write(owner, happened(*COMPLETED))

    news.until("completed")


def test_a_server_that_never_answers_is_given_up(open_state, monkeypatch):
    """Its network is broken, say, and the connection seems to be alive."""
    monkeypatch.setattr(listening, "_LIMIT", 0.05)
    state = open_state()
    channel = listening.PostgreSQLChannel(state._engines.reading, state._requests.query)

    with pytest.raises(psycopg.OperationalError, match=r"not answered within 0\.05 s"):
        channel._ask(b"SELECT pg_sleep(60)")
    channel.close()


def test_an_id_of_any_characters_can_be_followed(open_state):
    """It is passed to the server as part of an array."""
    owner, other, news = open_state(), open_state(), News()
    accept(owner, accepted('{"\\,} ü'))
    other.follow('{"\\,} ü', news)

    news.until("pending")


@pytest.mark.parametrize(
    ("run_ids", "expected"),
    [
        (["run", 'an "other"'], ["run", 'an "other"']),
        ([f"{number:036}" for number in range(1000)], None),
        (["ü" * 5000], None),
    ],
)
def test_an_announcement_fits_whatever_it_announces(run_ids, expected):
    """Runs that it cannot name may be any."""
    text = payload(run_ids)

    assert expected == runs_in(text)
    assert len(text.encode()) < 8000


@pytest.mark.parametrize("text", ["", "run", '{"run": 1}', "[1]"])
def test_an_announcement_of_another_program_may_mean_any_run(text):
    """It is harmless to look."""
    assert None is runs_in(text)
