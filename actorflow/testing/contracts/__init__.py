"""What state managers and executors promise, as tests to hold your own to.

    from actorflow.testing.contracts import ExecutorContract, StateManagerContract

    class TestMyState(StateManagerContract):
        def make_state(self):
            return MyStateManager()

    class TestMyExecutor(ExecutorContract):
        def make_executor(self):
            return MyExecutor()

pytest finds the rest. `SharedStateManagerContract` is for a state manager whose memory several
processes share.
"""

from __future__ import annotations

from actorflow.testing.contracts.accounts import accept, accepted, happened, told, write
from actorflow.testing.contracts.bench import Bench, Gate
from actorflow.testing.contracts.executors import ExecutorContract
from actorflow.testing.contracts.sharing import SharedStateManagerContract
from actorflow.testing.contracts.state_managers import StateManagerContract

__all__ = [
    "Bench",
    "ExecutorContract",
    "Gate",
    "SharedStateManagerContract",
    "StateManagerContract",
    "accept",
    "accepted",
    "happened",
    "told",
    "write",
]
