"""Small asyncio programs, drawn from a seed, as the steps of a workflow that share one object.

A step runs a list of operations and logs what it sees. A step waits only for steps of a lower rank,
which do not wait for it, so no program can be in a deadlock as long as every step gets a worker.
"""

from __future__ import annotations

import asyncio
import random

from actorflow import Step, Workflow

PAUSE = 0.001
"""The length of every sleep and timeout. They are equal, so that the order of two that overlap is
never a matter of how fast the machine is."""
_SPARE = 20


class Shared:
    """The object that the steps of one run share."""

    def __init__(self, steps):
        self.log = []
        self.value = 0
        self.lock = asyncio.Lock()
        self.semaphore = asyncio.Semaphore(2)
        self.condition = asyncio.Condition()
        self.done = [False] * steps
        self.events = [asyncio.Event() for _ in range(steps)]
        self.queues = [asyncio.Queue() for _ in range(steps)]

    def __deepcopy__(self, memo):
        return self


class Program:
    """A workflow of a few steps.

    Args:
        seed: Draws it.
        steps: The operations of each step, if they are not drawn; see `_Call`.
        after: The dependencies of each step, if they are not drawn.
    """

    def __init__(self, seed, steps=None, after=None):
        draw = random.Random(seed)
        self.size = draw.choice([2, 2, 3]) if steps is None else len(steps)
        ranks = range(self.size)
        self.steps = [_drawn(draw, rank) for rank in ranks] if steps is None else steps
        if after is None:
            after = [[_name(one) for one in ranks[:rank] if draw.random() < 0.2] for rank in ranks]
        self.after = after
        self.waits = any(_waits(step) for step in self.steps)
        self.flow = Workflow("small")
        for rank in draw.sample(ranks, self.size):
            call = _Call(rank, self.steps[rank])
            self.flow.add(Step(_name(rank), call.body, after=after[rank], async_=True))

    def inputs(self):
        """Return the inputs of one run."""
        return {"shared": Shared(self.size)}

    def __repr__(self):
        return "".join(
            f"\n  {_name(rank)} after {self.after[rank]}: {step}"
            for rank, step in enumerate(self.steps)
        )


def outcome_of(result, inputs):
    """Return what can be seen of one run after its end."""
    shared = inputs["shared"]
    ends = tuple((step_id, str(step.status)) for step_id, step in sorted(result.steps.items()))
    return shared.value, tuple(shared.log), tuple(sorted(result.outputs.items())), ends


def _name(rank):
    return "abc"[rank]


_PLAIN = ["add", "add", "locked", "semaphore", "log", "yield", "sleep", "timeout", "soon"]
_NESTED = ["gather", "group", "cancel", "within"]


def _drawn(draw, rank):
    """Draw the operations of a step."""
    plain = _PLAIN + ["set", "put", "notify"] + (["wait", "get", "until"] if rank else [])

    def operations(depth, most):
        found = []
        for _ in range(draw.randint(1, most)):
            kind = draw.choice(plain + _NESTED * 2 if depth else plain)
            if kind in {"gather", "group"}:
                found.append((kind, operations(0, 2), operations(0, 1)))
            elif kind in {"cancel", "within"}:
                found.append((kind, draw.randrange(3), operations(0, 2)))
            else:
                number = draw.randrange(rank) if kind in {"wait", "get", "until"} else 0
                found.append((kind, number))
        return tuple(found)

    return operations(1, 3)


def _waits(operations):
    """Return whether a step waits for another one, which therefore needs a worker."""
    return any(
        one in {"wait", "get", "until"} or (isinstance(one, tuple) and _waits(one))
        for one in operations
    )


class _Call:
    """The body of one step."""

    def __init__(self, rank, operations):
        self._rank = rank
        self._operations = operations

    async def body(self, shared):
        """Run the operations, and let go whichever step waits for this one."""
        try:
            return await self._run(shared, self._operations)
        finally:
            shared.done[self._rank] = True
            shared.events[self._rank].set()
            for _ in range(_SPARE):
                shared.queues[self._rank].put_nowait("spare")
            async with shared.condition:
                shared.condition.notify_all()

    async def _run(self, shared, operations):
        for kind, *more in operations:
            await getattr(self, f"_{kind}")(shared, *more)
        return shared.value

    def _note(self, shared, what):
        shared.log.append(f"{_name(self._rank)}:{what}")

    async def _add(self, shared, _):
        value = shared.value
        await asyncio.sleep(0)
        shared.value = value + 1

    async def _locked(self, shared, _):
        async with shared.lock:
            await self._add(shared, 0)

    async def _semaphore(self, shared, _):
        async with shared.semaphore:
            await self._add(shared, 0)

    async def _log(self, shared, _):
        self._note(shared, shared.value)

    async def _yield(self, _shared, _):
        await asyncio.sleep(0)

    async def _sleep(self, _shared, _):
        await asyncio.sleep(PAUSE)

    async def _timeout(self, shared, _):
        try:
            async with asyncio.timeout(PAUSE):
                await asyncio.Event().wait()
        except TimeoutError:
            self._note(shared, "timeout")

    async def _soon(self, shared, _):
        asyncio.get_running_loop().call_soon(self._note, shared, "soon")

    async def _set(self, shared, _):
        shared.events[self._rank].set()

    async def _wait(self, shared, rank):
        await shared.events[rank].wait()
        self._note(shared, "waited")

    async def _put(self, shared, _):
        shared.queues[self._rank].put_nowait(shared.value)

    async def _get(self, shared, rank):
        self._note(shared, f"got {await shared.queues[rank].get()}")

    async def _notify(self, shared, _):
        async with shared.condition:
            shared.value += 1
            shared.condition.notify_all()

    async def _until(self, shared, rank):
        async with shared.condition:
            await shared.condition.wait_for(lambda: shared.value or shared.done[rank])
        self._note(shared, "until")

    async def _gather(self, shared, one, other):
        await asyncio.gather(self._run(shared, one), self._run(shared, other))

    async def _group(self, shared, one, other):
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run(shared, one))
            group.create_task(self._run(shared, other))

    async def _cancel(self, shared, legs, operations):
        task = asyncio.create_task(self._run(shared, operations))
        for _ in range(legs):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self._note(shared, "cancelled")

    async def _within(self, shared, _, operations):
        # asyncio.timeout(PAUSE) would look at the clock twice, and on a machine that stalls in
        # between it would strike earlier than a simulation can have it, where no time passes then.
        try:
            async with asyncio.timeout(None) as timeout:
                strike = asyncio.get_running_loop().call_later(PAUSE, timeout.reschedule, 0.0)
                try:
                    await self._run(shared, operations)
                finally:
                    strike.cancel()
        except TimeoutError:
            self._note(shared, "too late")
