"""All faults at once: three daemons on one PostgreSQL server, each behind a network of its own.

Daemons are killed, deployed, and paused for longer than their lease; connections are cut, slow and
silent; the server hangs up and crashes. Meanwhile a schedule fires every second, parents wait for
children, runs with one key wait for each other, and this process, which runs nothing itself,
enqueues runs, sends messages to some, pauses some, and cancels others.

The faults are chosen by a seed. When each of them began is in `log`, beside the journals.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import attrs
import psycopg

from actorflow.errors.running import RunEnded
from actorflow.errors.storage import KeyInUse, StoreError
from actorflow.orchestrator import Orchestrator
from actorflow.state.sql import SQLStateManager
from tests.support import postgres
from tests.support.faults.family_daemon import LEASE, Journal, Orders, flows, live
from tests.support.faults.family_verdict import ENDLESS, Figures, judge
from tests.support.faults.lost_connections import HANG_UP
from tests.support.faults.network import Link

__all__ = ["Fault", "disturb_everything", "planned"]

DAEMONS = 3
SERVER = (*postgres.QUICK, "-c", "max_connections=400")
PATIENCE = 300.0
STUCK = 180.0
"""Seconds without any progress after which the soak gives up."""
LOOKS = 0.1
KEYS = 5
"""How many keys the runs of `paper` share."""
OPEN = frozenset({"pending", "running", "compensating"})
BEATS = "SELECT pid, beat FROM actorflow_owners"
POLICIES = ("queue", "replace_queued", "return")

KINDS = {
    "kill": 6,
    "deploy": 5,
    "pause": 4,
    "hang_up": 4,
    "cut": 4,
    "slow": 3,
    "silence": 4,
    "crash": 1,
}
"""The faults, and how often each of them is chosen."""

daemons = multiprocessing.get_context("forkserver")
daemons.set_forkserver_preload(["tests.support.faults.family_daemon"])


@attrs.frozen
class Fault:
    """What is done, to which daemon, after how many steps, and for how many seconds."""

    kind: str
    daemon: int
    after: int
    seconds: float

    def __str__(self):
        to = "" if self.kind in {"hang_up", "crash"} else f" daemon {self.daemon}"
        return f"step {self.after}: {self.kind}{to} ({self.seconds:.1f} s)"


def planned(seed, steps, faults):
    """Choose the faults, in their order: every kind at least once, if there are so many."""
    chance = random.Random(seed)
    kinds = [*KINDS, *chance.choices(list(KINDS), list(KINDS.values()), k=faults)][:faults]
    chance.shuffle(kinds)
    return [
        Fault(kind, chance.randrange(DAEMONS), after, chance.uniform(0.5, 2.5) * LEASE)
        for kind, after in zip(
            kinds, sorted(chance.randrange(steps) for _ in range(faults)), strict=True
        )
    ]


class Daemon:
    """One of the places where a daemon runs, and the life that runs there."""

    def __init__(self, number, orders, directory, figures, link):
        self._number = number
        self._orders = orders
        self._directory = directory
        self._figures = figures
        self._lives = 0
        self.guard = asyncio.Lock()
        """Held while something is done to it."""
        self.link = link
        self.journals = []

    def begin(self):
        """Start the next life."""
        self._lives += 1
        name = f"{self._number}-{self._lives}"
        self.journals.append(self._directory / f"{name}.journal")
        self.journals[-1].touch()
        orders = attrs.evolve(self._orders, name=name, path=str(self.journals[-1]))
        self._process = daemons.Process(target=live, args=(orders,), daemon=True)
        self._process.start()

    def _says(self, word):
        """Whether its journal has a line that begins with this word."""
        return f"\n{word} " in f"\n{self.journals[-1].read_text()}"

    @property
    def pid(self):
        """Its process."""
        return self._process.pid

    def signal(self, number):
        """Send it a signal."""
        os.kill(self.pid, number)

    async def kill(self):
        """End its life as a crash does."""
        self._process.kill()
        await asyncio.to_thread(self._process.join)

    async def stop(self):
        """End its life by SIGTERM; count it if it does not end by itself."""
        while not self._says("hears"):  # noqa: ASYNC110 - SIGTERM would end its start
            await asyncio.sleep(LOOKS)
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.join, STUCK)
        self._figures.slowest = max(self._figures.slowest, time.monotonic() - began)
        if self._process.exitcode != 0 or not self._says("report"):
            self._figures.unclean += 1
            sys.stderr.write(f"{self.journals[-1].name} ended with {self._process.exitcode}\n")
            await self.kill()


class Soak:
    """The server, the daemons and the client, and what is done to them."""

    def __init__(self, directory, server, url, *, pace, endless):
        self._directory = directory
        self._server = server
        self._url = url
        self._log = Journal(directory / "log")
        self._journal = Journal(directory / "client.journal")
        self._began = time.monotonic()
        self._read = {}
        self._count_of_starts = itertools.count()
        self._pace = pace
        self._endless = endless
        self.figures = Figures()
        self.steps = 0
        self.papers = {}
        """The run of `paper` that was accepted last, by key."""

    def say(self, what):
        """Note what is done, and when."""
        self._log.say(f"{time.monotonic() - self._began:8.2f} s, {self.steps} steps:", what)

    # ── The course of it ─────────────────────────────────────────────────────────────────────

    async def conduct(self, faults, steps):
        """Let the daemons work until so many steps have completed, and do what is planned."""
        async with contextlib.AsyncExitStack() as stack:
            self._daemons = [await self._daemon(number, stack) for number in range(DAEMONS)]
            state = SQLStateManager(self._url, create=True, patience=PATIENCE)
            client = await stack.enter_async_context(Orchestrator(state))
            for flow in flows(lambda _: None).values():
                client.register(flow)
            for one in self._daemons:
                one.begin()
            acts = (self._enqueue, self._cancel, self._send, self._pause_runs)
            others = [asyncio.create_task(act(client)) for act in acts]
            underway = []
            for fault in faults:
                await self._reach(fault.after, *others, *underway)
                self.say(fault)
                underway.append(asyncio.create_task(self._do(fault)))
                self.figures.faults += 1
            await self._reach(steps, *others, *underway)
            await asyncio.gather(*underway)
            self.say("no further faults")
            (self._directory / "stop").touch()
            await asyncio.gather(*others)
            schedule = next(iter(await client.schedules_async()))
            await schedule.pause_async()
            self.say("no further runs")
            await self._until_all_have_ended(client)
            self.say("all runs have ended")
            await self._until_all_are_reached()
            self.say("the last deploy")
            await asyncio.gather(*(one.stop() for one in self._daemons))
        self.say("over")

    async def _daemon(self, number, stack):
        link = Link(self._server.port)
        await link.open()
        stack.push_async_callback(link.close)
        server, _, database = self._url.rpartition("/")
        through = f"{server.rpartition(':')[0]}:{link.port}/{database}"
        stop = str(self._directory / "stop")
        orders = Orders(url=through, stop=stop, pace=self._pace)
        return Daemon(number, orders, self._directory, self.figures, link)

    async def _reach(self, steps, *tasks):
        """Wait until so many steps have been acknowledged, unless a task fails."""
        since = time.monotonic()
        while True:
            before = self.steps
            for task in tasks:
                _ = task.done() and task.result()
            self._count()
            if self.steps >= steps:
                return
            since = time.monotonic() if self.steps != before else since
            assert time.monotonic() - since < STUCK, f"nothing goes on after {self.steps} steps"
            await asyncio.sleep(LOOKS)

    def _count(self):
        for path in self._directory.glob("*.journal"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read().rpartition(b"\n")[0]
            if text:
                self._read[path] = self._read.get(path, 0) + len(text) + 1
                self.steps += sum(line.startswith(b"step ") for line in text.splitlines())

    async def _until_all_have_ended(self, client):
        left, since = -1, time.monotonic()
        while left and time.monotonic() - since < STUCK:
            now = (await until_done(lambda: client.list_async(status=OPEN, limit=0))).total
            left, since = now, time.monotonic() if now != left else since
            await asyncio.sleep(LOOKS)

    async def _until_all_are_reached(self):
        """Wait until each daemon has renewed its lease twice.

        One that cannot reach the server can return none, and does not know that the first of two
        renewals has reached it before it has the answer.
        """
        since, first = time.monotonic(), await asyncio.to_thread(self._beats)
        while True:
            beats = await asyncio.to_thread(self._beats)
            first = beats | first
            if all(beats.get(one.pid, 0) >= first.get(one.pid, 0) + 2 for one in self._daemons):
                return
            assert time.monotonic() - since < STUCK, "a daemon does not reach the server"
            await asyncio.sleep(LOOKS)

    def _beats(self):
        with psycopg.connect(self._url) as connection:
            return dict(connection.execute(BEATS).fetchall())

    @property
    def _ends(self):
        return (self._directory / "stop").exists()

    # ── What the client does ─────────────────────────────────────────────────────────────────

    async def _enqueue(self, client):
        """Enqueue families, and papers whose keys make them wait for each other."""
        for n in range(sys.maxsize):
            if self._ends:
                return
            key, policy = f"paper {n % KEYS}", POLICIES[n % len(POLICIES)]
            with contextlib.suppress(KeyInUse):
                given = {"n": n}, {"key": key, "on_conflict": policy}
                self.papers[key] = (await self._accepted(client, "paper", *given)).id
            await self._accepted(client, "family", {"n": n}, {})
            await asyncio.sleep(self._pace)

    async def _accepted(self, client, flow, inputs, options):
        """Enqueue a run, however often that takes."""
        key = f"{flow}-{next(self._count_of_starts)}"
        run = await until_done(
            lambda: client.enqueue_async(flow, inputs, idempotency_key=key, **options)
        )
        self._journal.say("accepted", run.id)
        return run

    async def _cancel(self, client):
        """Enqueue runs that do not end, and cancel each a while later."""
        for n in range(sys.maxsize):
            if self._ends:
                return
            run = await self._accepted(client, self._endless[n % len(self._endless)], {}, {})
            await asyncio.sleep((1 + n % 3) * self._pace)
            await until_done(lambda run=run: run.cancel_async("enough"))

    async def _send(self, client):
        """Send two messages to each run that waits for them, each twice, some before it waits."""
        sending = set()
        for n in range(sys.maxsize):
            if self._ends:
                break
            run = await self._accepted(client, "approval", {}, {})
            task = asyncio.create_task(self._send_both(run, n % 5 * self._pace))
            sending.add(task)
            task.add_done_callback(sending.discard)
            await asyncio.sleep(self._pace)
        await asyncio.gather(*sending)

    async def _send_both(self, run, seconds):
        for payload in ("first", "second"):
            await asyncio.sleep(seconds)
            for _ in range(2):
                await until_done(
                    lambda payload=payload: run.send_async("approved", payload, id=payload)
                )
            self._journal.say("sent", run.id, payload)

    async def _pause_runs(self, client):
        """Pause runs, frozen or not, and let them go on."""
        for n in range(sys.maxsize):
            if self._ends:
                return
            run = await self._accepted(client, "leaf", {"n": n}, {})
            with contextlib.suppress(RunEnded):
                await until_done(lambda run=run, n=n: run.pause_async(freeze=n % 2 == 0))
                await asyncio.sleep((1 + n % 4) * self._pace)
                await until_done(run.unpause_async)

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    async def _do(self, fault):
        if fault.kind in {"hang_up", "crash"}:
            await getattr(self, f"_{fault.kind}")()
        else:
            daemon = self._daemons[fault.daemon]
            async with daemon.guard:
                await getattr(self, f"_{fault.kind}")(daemon, fault.seconds)

    async def _kill(self, daemon, _seconds):
        await daemon.kill()
        daemon.begin()

    async def _deploy(self, daemon, _seconds):
        await daemon.stop()
        daemon.begin()

    async def _pause(self, daemon, seconds):
        daemon.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        daemon.signal(signal.SIGCONT)

    async def _cut(self, daemon, _seconds):
        daemon.link.cut()

    async def _slow(self, daemon, seconds):
        await daemon.link.slow(seconds / (10 * LEASE), 2 * seconds)

    async def _silence(self, daemon, seconds):
        await daemon.link.go_silent(seconds)

    async def _hang_up(self):
        command = HANG_UP.format(database=self._url.rpartition("/")[2])
        await asyncio.to_thread(self._told, command)

    def _told(self, command):
        with contextlib.suppress(Exception):  # it is just crashing
            self._server.tell(command)

    async def _crash(self):
        await asyncio.to_thread(self._server.stop, postgres.AT_ONCE)
        await asyncio.to_thread(self._server.start)


async def until_done(work):
    """Try again and again, as a caller with an idempotency key may; return the result."""
    while True:
        try:
            return await work()
        except KeyInUse:
            raise
        except StoreError:
            await asyncio.sleep(LOOKS)


def disturb_everything(directory, *, steps, faults, seed=0, pace=1.0, endless=ENDLESS):
    """Do so many faults while so many steps complete; return what that came to.

    Args:
        directory: Where the journals and the log of the faults are kept.
        steps: How many steps complete at least.
        faults: How many faults there are.
        seed: Chooses them.
        pace: Seconds between two families that a daemon or the client starts.
        endless: The workflows whose runs end only when they are cancelled.
    """
    directory = Path(directory)
    plan = planned(seed, steps, faults)
    with postgres.running(*SERVER) as server:
        url = server.database()
        soak = Soak(directory, server, url, pace=pace, endless=endless)
        try:
            asyncio.run(soak.conduct(plan, steps))
            judge(url, directory, soak.papers, soak.figures)
        except BaseException:
            sys.stderr.write(f"seed {seed}, journals in {directory}\n")
            sys.stderr.write((directory / "log").read_text())
            raise
    if soak.figures.broken:
        sys.stderr.write(f"seed {seed}, journals in {directory}\n")
        sys.stderr.write((directory / "log").read_text())
    return soak.figures
