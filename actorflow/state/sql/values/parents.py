"""A run's parent, as columns."""

from __future__ import annotations

from typing import Any

from actorflow.model.records import Parent

__all__ = ["parent_columns", "parent_of"]


def parent_columns(parent: Parent | None) -> dict[str, str | bool | None]:
    """Return the columns that say which step started a run; all None if no step did."""
    return {
        "parent_run_id": None if parent is None else parent.run_id,
        "parent_step_id": None if parent is None else parent.step_id,
        "root_run_id": None if parent is None else parent.root_run_id,
        "parent_call": None if parent is None else parent.call,
        "on_parent_end": None if parent is None else parent.on_end,
        "parent_compensates": None if parent is None else parent.compensates,
    }


def parent_of(row: Any) -> Parent | None:
    """Return the parent that a row of a run says, or None."""
    if row.parent_run_id is None:
        return None
    return Parent(
        run_id=row.parent_run_id,
        step_id=row.parent_step_id,
        root_run_id=row.root_run_id,
        call=row.parent_call,
        on_end=row.on_parent_end,
        compensates=bool(row.parent_compensates),
    )
