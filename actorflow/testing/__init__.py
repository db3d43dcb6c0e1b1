"""Workflows in virtual time, on every schedule there is: simulation for test suites."""

from __future__ import annotations

from actorflow.testing import laws
from actorflow.testing.account import Outcome, RunTrace
from actorflow.testing.cases import simulate
from actorflow.testing.coverage import Coverage, Move
from actorflow.testing.drawing import draw_scenario
from actorflow.testing.errors import LawBroken, NotEnded, NotNow, NotSimulated, StoreFault
from actorflow.testing.exploration import Exploration, Spread
from actorflow.testing.faults import Faults
from actorflow.testing.laws import Law, law
from actorflow.testing.replay import Replay
from actorflow.testing.scenarios import Scenario, ScenarioRun, ScenarioStep
from actorflow.testing.scripts import Script, either, hangs, raises, real, returns
from actorflow.testing.search import explore, explore_scenarios
from actorflow.testing.settings import Settings
from actorflow.testing.simulation import Simulation
from actorflow.testing.tape import Choices, Tape
from actorflow.testing.trace import (
    AttemptTrace,
    DeliveryTrace,
    FaultTrace,
    Idle,
    Leftovers,
    Mutation,
    Trace,
)

__all__ = [
    "AttemptTrace",
    "Choices",
    "Coverage",
    "DeliveryTrace",
    "Exploration",
    "FaultTrace",
    "Faults",
    "Idle",
    "Law",
    "LawBroken",
    "Leftovers",
    "Move",
    "Mutation",
    "NotEnded",
    "NotNow",
    "NotSimulated",
    "Outcome",
    "Replay",
    "RunTrace",
    "Scenario",
    "ScenarioRun",
    "ScenarioStep",
    "Script",
    "Settings",
    "Simulation",
    "Spread",
    "StoreFault",
    "Tape",
    "Trace",
    "draw_scenario",
    "either",
    "explore",
    "explore_scenarios",
    "hangs",
    "law",
    "laws",
    "raises",
    "real",
    "returns",
    "simulate",
]
