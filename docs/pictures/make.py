"""Draws the pictures of README.md and of these pages.

    python docs/pictures/make.py

Each picture is a function of the code, of setup.cfg or of a simulation in virtual time, so the
same checkout draws the same pictures. A test compares them with the files beside this program.
"""

from __future__ import annotations

from pathlib import Path

from actorflow.testing import Script, Simulation, raises, returns
from actorflow.views import draw_gantt_svg
from docs.examples.lesson import flow

__all__ = ["pictures"]

HERE = Path(__file__).parent


def pictures() -> dict[Path, str]:
    """Return the source of each picture, by its file."""
    return {HERE / "run.svg": draw_run()}


def draw_run() -> str:
    """Return the Gantt chart of the lesson's flow with two workers, after a failed attempt."""
    script = Script(
        {
            "fetch": returns([], after=0.12),
            "process": [raises(ConnectionError("busy"), after=0.1), returns(6, after=0.2)],
            "enrich": returns("", after=0.25),
            "analyze": returns("", after=0.18),
            "aggregate": returns({}, after=0.06),
        }
    )
    with Simulation(script=script, async_workers=2) as simulation:
        run_id = simulation.start(flow, {"url": "https://example.org/text"})
        simulation.run_until_quiet()
        return draw_gantt_svg(simulation.trace().events_of(run_id))


if __name__ == "__main__":
    for path, source in pictures().items():
        path.write_text(source, encoding="utf-8")
