"""Simulation for test suites: workflows in virtual time, on any schedule."""

from __future__ import annotations

from actorflow.testing import laws
from actorflow.testing.cluster.cluster import Cluster
from actorflow.testing.cluster.mail import News
from actorflow.testing.cluster.messages import Slept
from actorflow.testing.cluster.pauses import Steered
from actorflow.testing.cluster.store import Merged, Owned, Written
from actorflow.testing.cluster.trace import Absence, ClusterTrace, ProcessTrace
from actorflow.testing.errors import (
    LawBroken,
    NotEnded,
    NothingExplored,
    NotNow,
    NotSimulated,
    StoreFault,
)
from actorflow.testing.laws import Law, law
from actorflow.testing.replay import Replay
from actorflow.testing.search.cases import simulate
from actorflow.testing.search.clusters import (
    ClusterRun,
    ClusterScenario,
    ScenarioSchedule,
    draw_cluster,
)
from actorflow.testing.search.coverage import Coverage, Move
from actorflow.testing.search.drawing import draw_scenario
from actorflow.testing.search.exploration import Exploration, Spread
from actorflow.testing.search.scenarios import Scenario, ScenarioRun, ScenarioStep
from actorflow.testing.search.search import explore, explore_scenarios
from actorflow.testing.simulation.account import Outcome, RunTrace
from actorflow.testing.simulation.behaviours import either, hangs, raises, real, returns
from actorflow.testing.simulation.mail import MessageTrace, ReceiptTrace
from actorflow.testing.simulation.scripts import Script
from actorflow.testing.simulation.settings import Faults, Settings
from actorflow.testing.simulation.simulate import Simulation
from actorflow.testing.simulation.tape import Choices, Tape
from actorflow.testing.trace.trace import (
    AttemptTrace,
    DeliveryTrace,
    FaultTrace,
    Idle,
    Leftovers,
    Mutation,
    Trace,
    WaitTrace,
)

__all__ = [
    "Absence",
    "AttemptTrace",
    "Choices",
    "Cluster",
    "ClusterRun",
    "ClusterScenario",
    "ClusterTrace",
    "Coverage",
    "DeliveryTrace",
    "Exploration",
    "FaultTrace",
    "Faults",
    "Idle",
    "Law",
    "LawBroken",
    "Leftovers",
    "Merged",
    "MessageTrace",
    "Move",
    "Mutation",
    "News",
    "NotEnded",
    "NotNow",
    "NotSimulated",
    "NothingExplored",
    "Outcome",
    "Owned",
    "ProcessTrace",
    "ReceiptTrace",
    "Replay",
    "RunTrace",
    "Scenario",
    "ScenarioRun",
    "ScenarioSchedule",
    "ScenarioStep",
    "Script",
    "Settings",
    "Simulation",
    "Slept",
    "Spread",
    "Steered",
    "StoreFault",
    "Tape",
    "Trace",
    "WaitTrace",
    "Written",
    "draw_cluster",
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
