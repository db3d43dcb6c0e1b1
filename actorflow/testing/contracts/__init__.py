"""The promises of a state manager, as tests for your own.

    from actorflow.testing.contracts import StateManagerContract

    class TestMine(StateManagerContract):
        def make_state(self):
            return MyStateManager()

pytest collects the inherited tests. `SharedStateManagerContract` is for state managers shared by
several processes.
"""

from __future__ import annotations

from actorflow.testing.contracts.accounts import accept, accepted, happened, told, write
from actorflow.testing.contracts.sharing import SharedStateManagerContract
from actorflow.testing.contracts.state_managers import StateManagerContract

__all__ = [
    "SharedStateManagerContract",
    "StateManagerContract",
    "accept",
    "accepted",
    "happened",
    "told",
    "write",
]
