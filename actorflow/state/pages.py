"""The check of the bounds of a page of events."""

from __future__ import annotations

from actorflow.definition.arguments import whole

__all__ = ["check_page"]


def check_page(after: object, limit: object) -> None:
    """Check which events of a run are wanted.

    Raises:
        DefinitionError: When one is not a whole number, or negative.
    """
    whole(after, "after", least=0)
    if limit is not None:
        whole(limit, "limit", least=0)
