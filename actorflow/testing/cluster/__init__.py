"""Several orchestrators in virtual time, over one simulated store with leases.

The smallest design that is sound:

* Each process is a `SimulatedRuntime` of its own: the supervisor, the actors and the executors that
  run in production, on a system base whose order and time are chosen. `world` has one of them do
  one thing at a time, as one tape for all of them says. All share one virtual time, from which
  wall clocks may differ.
* Around the actors, `premises` wires production's own classes: launching, admission, `Recovery`,
  `Resuming`, `Starter`, `Firing` and the requests to cancel. Their threads are timers here, and a
  turn of a thread is one call.
* `manager` and `store` stand for the state manager and the database. When a lease is over
  (`actorflow.state.leases`), what a start with a key does (`actorflow.state.keys`) and how events
  fold is production's code. What SQL statements do is written again in Python. Tests hold that to
  the contract of shared state managers, and to the same histories as SQLite and PostgreSQL.
* `messages` and `pauses` keep what is sent to runs and asked of them. An owner hears of it by a
  signal or when it renews its lease, and `mail` and `premises` tell its supervisor.
* A call of the store is one transaction. A process may die before each, and another one may take a
  turn between two. `recorder` holds up the writes of a process that is cut off, or stalls.
* `hazards` has the tape choose whom which fault strikes, and when.
* `trace` keeps the traces of the processes, to which the laws about one orchestrator apply, and the
  account of the store, which `actorflow.testing.laws.sharing`, `turns`, `shared_records`,
  `shared_mail` and `shared_pauses` judge.
"""

from __future__ import annotations

__all__: list[str] = []
