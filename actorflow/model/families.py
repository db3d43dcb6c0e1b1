"""The messages about families: the children of runs that end, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.model.messages import message
from actorflow.support.read_only import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ChildStarted", "ChildUndone", "ChildrenFound", "EndChildren", "UndoChild"]


@message
class ChildStarted:
    """Launcher to supervisor, before the child runs: a step of this run has a child."""

    run_id: str
    step_id: str


@message
class EndChildren:
    """Brain to supervisor to its host: this run ends, and its children with it.

    Children in progress are cancelled. The answer is `ChildrenFound`.
    """

    run_id: str
    reason: str | None
    """Why children are cancelled; None when the run completes, so that only those are which no
    step has taken.
    """
    undoes: bool
    """Whether children are undone, those that have completed as well."""
    attempts: Mapping[str, int] = NOTHING
    """The number of the last attempt of each step that ran in this life of the run, by step id, for
    a run that completes. Other children than those it asked for are left behind.
    """


@message
class ChildrenFound:
    """Host to supervisor: the children in progress are cancelled, or have been asked to end."""

    run_id: str
    asked: EndChildren
    children: Sequence[tuple[str, str]]
    """The children to undo, the one that ended last first: of each the step id and the run id."""


@message
class UndoChild:
    """Brain to supervisor to its host: undo this child. The answer is `ChildUndone`."""

    run_id: str
    child_id: str
    reason: str


@message
class ChildUndone:
    """Host to supervisor: this child is undone, or cannot be."""

    run_id: str
    child_id: str
    undone: bool = True
