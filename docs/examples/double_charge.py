"""A workflow that charges an order twice if an answer arrives too late, and its fixed version.

In the root of a checkout, the first command finds such a schedule, and the second finds none:

    actorflow simulate docs/examples/double_charge.py:careless --real
    actorflow simulate docs/examples/double_charge.py:careful --real
"""

from __future__ import annotations

from actorflow import RetryPolicy, Workflow
from actorflow.testing import law

POLICY = RetryPolicy(max_attempts=2, initial_interval=1.0, jitter=0.0)


class Gateway:
    """A fake payment service. It makes one charge per key."""

    def __init__(self):
        self.charges = []

    def __repr__(self):
        return "Gateway()"

    def __deepcopy__(self, memo):
        return self  # it stands for an external service, so do not copy it

    async def charge(self, amount, key=None):
        """Charge, unless a charge with this key exists."""
        if key is None or key not in [known for known, _ in self.charges]:
            self.charges.append((key, amount))
        return f"{amount} charged"


careless = Workflow("careless")


@careless.step
def gateway():
    """Connect. Each run has its own gateway, so that schedules do not share charges."""
    return Gateway()


@careless.step(after=gateway, async_=True, timeout=5.0, retry=POLICY)
async def charge(gateway, amount=40):
    """Charge the order."""
    return await gateway.charge(amount)


careful = Workflow("careful")
careful.step(gateway)


@careful.step(id="charge", after=gateway, async_=True, timeout=5.0, retry=POLICY)
async def charge_once(gateway, ctx, amount=40):
    """Charge the order, with a key that all attempts share."""
    return await gateway.charge(amount, key=ctx.idempotency_key)


@law
def charged_once(trace):
    """An order is charged once, whatever happens."""
    gateways = [one.output for one in trace.attempts if one.step_id == "gateway"]
    charges = [charge for gateway in gateways if gateway for charge in gateway.charges]
    assert len(charges) <= 1, f"{len(charges)} charges"
