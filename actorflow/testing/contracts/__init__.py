"""The promises of state managers and executors, as tests for your own.

    from actorflow.testing.contracts import ExecutorContract, StateManagerContract

    class TestMyState(StateManagerContract):
        def make_state(self):
            return MyStateManager()

    class TestMyExecutor(ExecutorContract):
        def make_executor(self):
            return MyExecutor()

pytest collects the inherited tests. `SharedStateManagerContract` is for state managers shared by
several processes. `MeasuresStepsContract` is for those that know how long steps take,
`FindsRunsContract` for those that keep attributes, count runs and take every filter,
`KeepsSchedulesContract` for those that keep schedules, `PausesRunsContract` for those that keep
pauses, `KeepsMessagesContract` for those that keep messages of runs, `EvictsRunsContract` for those
with which runs that wait cost no memory, and `FollowsRunsContract` for those that tell when a run
has changed; derive from them in addition:
`class TestMyState(MeasuresStepsContract, StateManagerContract)`.
"""

from __future__ import annotations

from actorflow.testing.contracts.accounts import accept, accepted, happened, told, write
from actorflow.testing.contracts.bench import Bench, Gate
from actorflow.testing.contracts.evicting import EvictsRunsContract
from actorflow.testing.contracts.executors import ExecutorContract
from actorflow.testing.contracts.finding import FindsRunsContract
from actorflow.testing.contracts.following import FollowsRunsContract
from actorflow.testing.contracts.mailed import KeepsMessagesContract
from actorflow.testing.contracts.measuring import MeasuresStepsContract
from actorflow.testing.contracts.pausing import PausesRunsContract
from actorflow.testing.contracts.scheduled import KeepsSchedulesContract
from actorflow.testing.contracts.state_managers import (
    SharedStateManagerContract,
    StateManagerContract,
)

__all__ = [
    "Bench",
    "EvictsRunsContract",
    "ExecutorContract",
    "FindsRunsContract",
    "FollowsRunsContract",
    "Gate",
    "KeepsMessagesContract",
    "KeepsSchedulesContract",
    "MeasuresStepsContract",
    "PausesRunsContract",
    "SharedStateManagerContract",
    "StateManagerContract",
    "accept",
    "accepted",
    "happened",
    "told",
    "write",
]
