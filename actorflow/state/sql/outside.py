"""Runs in a transaction of the caller's, as a part of `SQLStateManager`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorflow.model.requests import new_record
from actorflow.state.sql.options import plan_given
from actorflow.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from actorflow.definition.workflow import Workflow
    from actorflow.model.requests import RunOptions
    from actorflow.state.sql.writing.outside import OutsideWriter
    from actorflow.state.sql.writing.queue import Create

__all__ = ["SQLOutside"]


class SQLOutside:
    """Enqueues runs on connections of the program's; a part of `SQLStateManager`."""

    _check_process: Callable[[], None]
    _entry: Callable[..., Create]
    _outside: OutsideWriter

    def enqueue_in(
        self,
        connection: sa.Connection | Session,
        flow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Enqueue a run in a transaction of the caller's, and return the run's id.

        The run exists if and when that transaction commits. From then on, an orchestrator with
        `recover=True` takes it, as with `Orchestrator.enqueue`. Nothing here commits, rolls back
        or closes anything, and no orchestrator is needed. Errors of the database are SQLAlchemy's;
        roll back after one.

        Args:
            connection: A connection or session to the same database, of SQLAlchemy.
            flow: The workflow; not its id, because nothing is registered here.
            inputs: The run's inputs, by name.
            options: See `RunOptions`. If an earlier run has the same idempotency key, its id is
                returned and nothing is enqueued. If another transaction that has not ended uses
                the key, this waits for its end.

        Raises:
            DefinitionError: When an argument is invalid, the connection is to another database, or
                it commits each statement by itself.
            MissingInput: When a step takes an input that is missing.
            UnknownInput: When no step takes an input.
            NotStorable: When an input or the metadata cannot be stored.
            TooLarge: When the inputs or the metadata are too large.

        Example:
            >>> import pathlib, tempfile
            >>> import sqlalchemy as sa
            >>> from actorflow import Step, Workflow
            >>> from actorflow.state.sql import SQLStateManager
            >>> flow = Workflow("welcome")
            >>> mail = flow.add(Step("mail", lambda address: f"sent to {address}"))
            >>> folder = tempfile.TemporaryDirectory()
            >>> url = f"sqlite:///{folder.name}/app.db"
            >>> state, engine = SQLStateManager(url, create=True), sa.create_engine(url)
            >>> with engine.begin() as connection:
            ...     run_id = state.enqueue_in(connection, flow, {"address": "me@example.org"})
            >>> state.snapshot(run_id).status
            <RunStatus.PENDING: 'pending'>
            >>> state.close()
            >>> engine.dispose()
            >>> folder.cleanup()
        """
        self._check_process()
        used = self._outside.connection_of(connection)
        clock = SystemClock()
        record = new_record(plan_given(flow), inputs, options, created_at=clock.wall(clock.now()))
        return self._outside.enqueue(used, self._entry(record, lambda _: None, owned=False))
