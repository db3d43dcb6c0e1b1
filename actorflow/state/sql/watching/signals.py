"""What a watcher hears, and the connection that it hears it from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from actorflow.state.sql.watching.bell import Bell
    from actorflow.state.sql.watching.followers import Position

__all__ = ["NOTHING", "Channel", "Signal"]


@attrs.frozen(kw_only=True)
class Signal:
    """What may have changed."""

    runs: Collection[str] | None = ()
    """The runs; None means any."""
    asked: bool = False
    """Whether there may be requests to cancel."""


NOTHING: Final = Signal()


class Channel(Protocol):
    """A connection to a database, used by the watcher's thread alone.

    Every method raises an error of the database when the connection is lost. Another one is then
    opened.
    """

    @property
    def net(self) -> float:
        """Seconds after which all runs are looked at even if nothing was heard."""

    def listen(self, *, follows: bool) -> None:
        """Prepare to hear of changes of runs, or only of requests."""

    def wait(self, bell: Bell, seconds: float | None) -> Signal:
        """Wait until something is heard, the bell rings, or that many seconds have passed."""

    def look(self, run_ids: Collection[str]) -> dict[str, Position]:
        """Return where runs stand, by one query; runs that do not exist are left out."""

    def requests(self) -> Sequence[Sequence[str]]:
        """Return the pending requests, as run id, kind and what belongs to it."""

    def close(self) -> None:
        """Disconnect."""
