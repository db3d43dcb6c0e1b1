"""How far a search is, as a bar that moves, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from actorflow.cli.columns import GAP, table
from actorflow.clock import SystemClock
from actorflow.views.text import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

__all__ = ["SearchProgress"]

_BAR_COLUMNS: Final = 40
_NARROWEST_BAR: Final = 5


class SearchProgress:
    """Draws how many schedules have been tried, while it is entered; then it is gone.

    Args:
        console: The terminal.
        schedules: How many there are to try.
    """

    def __init__(self, console: Console, schedules: int) -> None:
        self._console = console
        self._total = schedules
        self._clock = SystemClock()
        self._began = self._clock.now()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        self.show(0)
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, schedules: int) -> None:
        """Draw that so many have been tried."""
        self._live.update(self._row(schedules, self._console.width), refresh=True)

    def _row(self, schedules: int, width: int) -> RenderableType:
        took = self._clock.now() - self._began
        rate = f"{schedules / took:,.0f}/s" if took else ""
        figures = [Text(f"{schedules:,}/{self._total:,}"), Text(rate), Text(in_words(took), "dim")]
        while len(figures) > 1 and _room(figures, width) < 0:
            figures.pop()
        room = min(_BAR_COLUMNS, _room(figures, width) - GAP)
        if room < _NARROWEST_BAR:
            return table([figures], len(figures))
        bar = ProgressBar(total=self._total, completed=schedules, width=room)
        return table([(bar, *figures)], 1 + len(figures))


def _room(figures: Sequence[Text], width: int) -> int:
    """Return how many columns are left beside figures."""
    return width - sum(figure.cell_len for figure in figures) - GAP * (len(figures) - 1)
