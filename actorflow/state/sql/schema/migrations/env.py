"""Runs the migrations on the connection, and in the transaction, that `upgrades` passes in."""

from __future__ import annotations

from alembic import context

from actorflow.state.sql.schema.upgrades import VERSION_TABLE

__all__: list[str] = []

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
