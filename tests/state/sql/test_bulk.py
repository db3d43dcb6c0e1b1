"""Many rows in few statements, in each database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from actorflow.state.sql.engines import Engines
from actorflow.state.sql.writing.bulk import Grammar, Part, bulk
from actorflow.state.sql.writing.group import Reservations, Statements

TABLE = sa.Table(
    "numbers",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("word", sa.Text),
)
COLUMNS = {"number": sa.Integer(), "word": sa.Text()}


def insert(given):
    """Return the INSERT of rows."""
    return sa.insert(TABLE).from_select(["number", "word"], sa.select(*given.c))


def update(given):
    """Return the UPDATE of rows."""
    mine = TABLE.c.number == given.c.number
    return sa.update(TABLE).where(mine).values(word=given.c.word)


PARTS = {"changed": Part(COLUMNS, update), "new": Part(COLUMNS, insert)}


def rows(numbers, word="old"):
    """Return a row for each number; the order of its columns does not matter."""
    return [{"word": word, "number": number} for number in numbers]


@pytest.fixture
def connection(empty_url):
    """A connection to a database with an empty table."""
    with Engines.to(empty_url) as engines, engines.writing.connect() as connection:
        with connection.begin():
            TABLE.create(connection)
        yield connection


def have(connection):
    """Return what the table holds."""
    query = sa.select(TABLE).order_by(TABLE.c.number)
    return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 128, 129, 300])
def test_every_row_arrives_however_many_there_are(connection, count):
    """SQLite takes them in powers of two, and 128 at most."""
    everything = bulk(connection.dialect, PARTS, guard="changed")
    first, then = rows(range(count)), rows(range(count), "new")
    with connection.begin():
        everything.run(connection, {"changed": [], "new": first})
        met = everything.run(connection, {"changed": then, "new": rows([1000], "%(a)s 'b' ?")})

        assert met
        assert [*((it, "new") for it in range(count)), (1000, "%(a)s 'b' ?")] == have(connection)


def test_nothing_is_done_next_to_a_guard_of_which_not_every_row_is_there(connection):
    """Their rows might clash with those of whoever goes on instead; what was met is undone."""
    everything = bulk(connection.dialect, PARTS, guard="changed")
    with connection.begin():
        everything.run(connection, {"changed": [], "new": rows([1, 2])})
    with connection.begin() as transaction:
        met = everything.run(connection, {"changed": rows([1, 3], "new"), "new": rows([2])})
        transaction.rollback()

    assert not met
    assert [(1, "old"), (2, "old")] == have(connection)


def test_databases_with_one_grammar_share_their_statements(empty_url):
    """Compiling them takes longer than opening the database."""
    statements, reservations = [], []
    for _ in range(2):
        with Engines.to(empty_url) as engines, engines.writing.connect() as connection:
            statements.append(Statements(connection.dialect, "owner", "json"))
            reservations.append(Reservations(connection.dialect))

    assert statements[0]._all is statements[1]._all
    assert reservations[0]._insert is reservations[1]._insert


def test_a_grammar_is_another_with_another_kind_of_parameters_or_server(connection):
    """Whatever a compiled statement depends on tells the statements apart."""
    mine, other = connection.dialect, type(connection.dialect)(paramstyle="named")
    other.server_version_info = mine.server_version_info
    later = type(mine)(paramstyle=mine.paramstyle)
    later.server_version_info = (99, 0)

    assert 3 == len({Grammar.of(each) for each in (mine, other, later)})
