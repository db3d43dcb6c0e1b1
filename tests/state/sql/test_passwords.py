"""Passwords of databases: no error, repr, log or command shows them."""

from __future__ import annotations

import logging
import traceback

import psycopg
import pytest

from actorflow import Orchestrator
from actorflow.cli import main
from actorflow.errors import ActorflowError
from actorflow.state.sql import SQLStateManager
from actorflow.state.sql.engines import Engines, connected

UNREACHABLE = "postgresql://me:secret1@127.0.0.1:1/none?password=secret2&sslpassword=secret3"
WRONG = [
    UNREACHABLE,
    "postgresql:/me:secret@host/runs",
    "postgresql//me:secret@host/runs",
    "postgresql://me:secret@host:port/runs",
    "postgresql://me:secret@with@host/runs",
    "postgresql+asyncpg://me:secret@host/runs",
    "mysql://me:secret@host/runs",
    "sqlite://me:secret@host/runs.db",
    "sqlite://me:se@cret@host/runs.db",
    "sqlite:///?password=secret",
    "sqlite:///a\0b.db?password=secret",
    "host=127.0.0.1 password=secret",
]


def texts_of(error):
    """The error's text, its repr, and its traceback with all causes."""
    return f"{error}\n{error!r}\n{''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize("url", WRONG)
@pytest.mark.parametrize("use", [SQLStateManager, Orchestrator], ids=["manager", "orchestrator"])
def test_an_error_about_a_url_does_not_show_its_password(use, url):
    """Wherever the password stands."""
    with pytest.raises(ActorflowError) as raised:
        use(url)

    # The line of this test's source that the traceback quotes has no secret in it.
    assert "secret" not in texts_of(raised.value)
    assert "cret@" not in texts_of(raised.value)


@pytest.mark.parametrize("url", [url for url in WRONG if "\0" not in url])
@pytest.mark.parametrize(
    "command",
    [
        ("db", "check"),
        ("db", "upgrade"),
        ("runs", "list", "--db"),
        ("runs", "show", "id", "--db"),
    ],
    ids=" ".join,
)
def test_a_command_does_not_show_the_password_of_its_url(command, url, capfd):
    """It exits with 2, and an error about the URL."""
    status = main([*command, url])

    out, err = capfd.readouterr()
    assert 2 == status
    assert "secret" not in out + err


@pytest.mark.parametrize("url", [UNREACHABLE, "postgresql:/me:secret@host/runs"])
@pytest.mark.parametrize(
    "command",
    [
        (),
        ("runs", "list", "--db", "sqlite:///runs.db"),
        ("db", "check", "sqlite:///runs.db"),
        ("run",),
        ("run", "json"),
        ("validate",),
    ],
    ids=" ".join,
)
def test_a_command_does_not_show_the_password_of_a_misplaced_url(command, url, capfd):
    """It is any other argument then."""
    status = main([*command, url])

    out, err = capfd.readouterr()
    assert 2 == status
    assert "secret" not in out + err


def test_the_repr_of_a_manager_and_its_engines_has_no_password():
    """SQLAlchemy's own would show those among the parameters of the URL."""
    engines = Engines.to(UNREACHABLE)

    assert "secret" not in f"{engines!r} {engines.reading!r} {engines.writing.url!r}"
    assert "postgresql://me:***@127.0.0.1:1/none" in engines.database


def test_passwords_still_reach_the_driver(monkeypatch):
    """All of them, although the engine's URL lacks some."""
    given = []

    def connect(*_, **options):
        given.append(options)
        raise psycopg.OperationalError("no")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    url = "postgresql://me:one@host/runs?sslpassword=two&options=-c%20a%3Db"
    with pytest.raises(ActorflowError):
        SQLStateManager(url)
    with Engines.to(url) as engines, pytest.raises(psycopg.OperationalError):
        connected(engines.reading)  # as a watcher does

    for options in given:
        kept = {name: options[name] for name in ("password", "sslpassword", "options")}
        assert {"password": "one", "sslpassword": "two", "options": "-c a=b"} == kept
    assert 2 == len(given)


def test_a_message_of_the_driver_does_not_show_a_password(monkeypatch, caplog):
    """Nor do the errors that it chains."""

    def connect(*_, **options):
        cause = ValueError(f"{options['password']} was tried")
        raise psycopg.OperationalError(f"could not use {options!r}") from cause

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    url = "postgresql://me:secret%21@host/runs?sslpassword=secret2"
    with caplog.at_level(logging.DEBUG), pytest.raises(ActorflowError) as raised:
        SQLStateManager(url)

    assert "could not use" in texts_of(raised.value)
    assert "secret" not in texts_of(raised.value) + caplog.text
