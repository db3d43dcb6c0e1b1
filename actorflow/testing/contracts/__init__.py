"""What a state manager promises, as tests that anybody can hold their own to.

    from actorflow.testing.contracts import StateManagerContract

    class TestMine(StateManagerContract):
        def make_state(self):
            return MyStateManager()

pytest finds the rest.
"""

from __future__ import annotations

from actorflow.testing.contracts.accounts import accept, accepted, happened, told, write
from actorflow.testing.contracts.state_managers import StateManagerContract

__all__ = ["StateManagerContract", "accept", "accepted", "happened", "told", "write"]
