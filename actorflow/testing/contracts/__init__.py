"""What a state manager promises, as tests that anybody can hold their own to.

    from actorflow.testing.contracts import StateManagerContract

    class TestMine(StateManagerContract):
        def make_state(self):
            return MyStateManager()

pytest finds the rest. `SharedStateManagerContract` is for one whose memory several processes share.
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
