"""Callers: the attempt on whose behalf a call is made in a thread or task that is not its own.

It is kept in a context variable while `ctx.run` and `ctx.start` work. A run that is started then
gets a copy of the caller's context for its own steps; that copy must not say whose call it was, or
the steps of the child would count as the step of the parent.
"""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.model.context import Attempt

__all__ = ["caller", "on_behalf_of", "variables"]

_caller: Final[contextvars.ContextVar[Attempt | None]] = contextvars.ContextVar(
    "actorflow_caller", default=None
)


def caller() -> Attempt | None:
    """Return the attempt on whose behalf this call is made, if that has been said."""
    return _caller.get()


@contextlib.contextmanager
def on_behalf_of(attempt: Attempt) -> Iterator[None]:
    """Have `caller` return this attempt within the block, in whatever task that is."""
    token = _caller.set(attempt)
    try:
        yield
    finally:
        _caller.reset(token)


def variables() -> contextvars.Context:
    """Return a copy of the caller's context variables for the steps of a run."""
    copy = contextvars.copy_context()
    if _caller.get() is not None:
        copy.run(_caller.set, None)
    return copy
