"""Planted bugs between orchestrators: leases, hand-back, signals, keys and schedules.

They are planted as those of `mutants` are. What production decides in Python is replaced there;
what it leaves to the statements of a database is replaced in the simulated store, to show that the
laws would see it.
"""

from __future__ import annotations

import itertools

import attrs

from actorflow.errors.storage import RunNotFound
from actorflow.model.past import Past, _Lives
from actorflow.orchestrator import family, requests
from actorflow.orchestrator.children import Children
from actorflow.orchestrator.family import HasFamilies
from actorflow.orchestrator.firing import _Serving
from actorflow.orchestrator.starter import Starter
from actorflow.orchestrator.takeover import Recovery
from actorflow.orchestrator.undoing import Undoing
from actorflow.schedules.firing import _Deciding
from actorflow.scheduling.families import Families
from actorflow.state import keys
from actorflow.state.leases import LeaseWatch
from actorflow.testing.cluster import manager, turns
from actorflow.testing.cluster.families import HasFamiliesInTurns
from actorflow.testing.cluster.manager import SharedStateManager
from actorflow.testing.cluster.store import SharedStore
from actorflow.testing.cluster.turns import Turns
from tests.support.mutants import Mutant

__all__ = ["SHARED", "Planted"]

SHARED = []


@attrs.frozen
class Planted:
    """A mutant, the laws of which one sees it, and the scenarios in which it shows."""

    mutant: Mutant
    laws: tuple[int, ...]
    shows: object

    def __str__(self):
        return str(self.mutant)


def _anywhere(_scenario):
    return True


def breaks(*laws, shows=_anywhere):
    """Make a mutant of a function's twin, which breaks one of these laws."""

    def on(owner, function):
        def keep(twin):
            SHARED.append(Planted(Mutant(owner, function, twin), laws, shows))
            return twin

        return keep

    return on


def crashing(scenario):
    """Processes end."""
    return scenario.settings.faults.restarts


def deployed(scenario):
    """Processes are shut down."""
    return scenario.settings.faults.handovers


def halted(scenario):
    """Processes stand still beyond their leases."""
    return scenario.settings.faults.halts


def unreachable(scenario):
    """Processes stand still, or cannot reach the store."""
    return scenario.settings.faults.halts or scenario.settings.faults.partitions


def clocks(scenario):
    """Wall clocks are wrong, and decide nothing."""
    return scenario.settings.faults.clock_steps and not scenario.server_clock


def impatient(scenario):
    """Two crashes are too many."""
    return scenario.settings.max_takeovers == 1 and scenario.settings.faults.restarts > 1


def patient(scenario):
    """They are, unless a step settles in between."""
    return impatient(scenario) and len(scenario.steps) > 1


def handed_over(scenario):
    """A hand-over and a crash are one too few."""
    faults = scenario.settings.faults
    few = scenario.settings.max_takeovers == 1
    return few and faults.handovers and faults.handovers + faults.restarts > 1


def asked(scenario):
    """Runs are cancelled from elsewhere."""
    return any(run.cancels for run in scenario.runs)


def unheard(scenario):
    """They are, and their owners may not be told."""
    faults = scenario.settings.faults
    return asked(scenario) and (faults.lost_signals or faults.restarts)


def keyed(*conflicts):
    """Make a condition that runs share a key, and some conflict is decided in one of some ways."""

    def shows(scenario):
        return any(
            run.key is not None and run.debounce is None and run.on_conflict in conflicts
            for run in scenario.runs[1:]
        )

    return shows


def debounced(scenario):
    """Later starts give their inputs to earlier ones."""
    return sum(run.debounce is not None for run in scenario.runs) > 1


def delayed(scenario):
    """Runs are for later."""
    return any(run.delay for run in scenario.runs) and not scenario.settings.faults.clock_steps


def scheduled(*overlaps):
    """Make a condition that a schedule fires."""

    def shows(scenario):
        one = scenario.schedule
        return one is not None and (not overlaps or one.overlap in overlaps)

    return shows


# ── Leases ───────────────────────────────────────────────────────────────────────────────────


@breaks(42, 46, 47, shows=clocks)(LeaseWatch, "_seconds_left")
def a_lease_follows_the_wall_clock(_left, _watch, row, _now):
    """Which was set."""
    return 0.0 if row.expired else 1.0


@breaks(46)(LeaseWatch, "_note")
def a_heartbeat_is_not_seen(note, watch, rows, now):
    """The first one that was seen counts for ever."""
    before = dict(watch._seen)
    note(watch, rows, now)
    watch._seen |= {name: seen for name, seen in before.items() if name in watch._seen}


@breaks(43, 46)(manager, "renewal_interval")
def a_lease_is_renewed_too_late(_interval, seconds):
    """When it is over."""
    return 1.5 * seconds


@breaks(42, 47, shows=crashing)(SharedStore, "end_leases")
def the_lease_of_a_dead_owner_never_ends(_end, _store, _owner, _watch, _now):
    """Its runs wait for ever."""


@breaks(40, 41, 48, shows=unreachable)(SharedStore, "write")
def a_stale_token_is_accepted(_write, store, owner, _fence, events):
    """Whoever owned the run before can write on."""
    row = store.rows[events[0].run_id]
    return store.append(row, owner, events)


@breaks(40)(SharedStore, "_claimed")
def a_claim_keeps_the_token(claimed, store, row, owner):
    """So that a former owner's is good."""
    row.fence -= 1
    return claimed(store, row, owner)


@breaks(49, shows=halted)(SharedStateManager, "heartbeat")
def a_lost_run_is_not_let_go(_heartbeat, state):
    """A renewal looks at no run."""
    state._begin()


@breaks(48)(SharedStore, "take")
def a_search_takes_what_runs_here(take, store, owner, known, _besides, limit):
    """And claims it again."""
    return take(store, owner, known, (), limit)


@breaks(46)(SharedStore, "is_unowned")
def a_lease_protects_nothing(_is_unowned, _store, _row):
    """Every run can be taken."""
    return True


# ── Hand-back, and owners that are gone ──────────────────────────────────────────────────────


@breaks(50, shows=handed_over)(Past, "of")
def hand_overs_count_as_crashes(of, events, takeovers):
    """Each life that ended in a deploy counts."""
    return of(events, takeovers + 1)


@breaks(50, shows=patient)(_Lives, "step")
def a_step_that_settles_does_not_set_the_count_back(step, lives, event, step_id):
    """The crashes of the whole run are added up."""
    crashes = list(lives.crashes)
    step(lives, event, step_id)
    lives.crashes[:0] = crashes if not lives.crashes else []


@breaks(50, shows=impatient)(requests, "_poison")
def a_run_is_never_given_up(_poison, _run_id, _past, _limit):
    """It kills one process after the other."""


@breaks(50, shows=impatient)(SharedStore, "_claimed")
def a_take_over_is_not_counted(claimed, store, row, owner):
    """The database forgets it."""
    count = row.takeovers
    claimed(store, row, owner)
    row.takeovers = count
    return row


@breaks(42, 43, 47, shows=deployed)(SharedStore, "hand_back")
def a_left_run_is_not_handed_back(_hand_back, store, owner, run_id, _parked):
    """It stays with an owner that has closed, whose lease was renewed meanwhile."""
    store.rows[run_id].owner = f"{owner} "
    store.renew(f"{owner} ", "nowhere", 1e9, 1)
    store.owners[f"{owner} "].lease = 1e9


@breaks(42, shows=deployed)(Recovery, "_search")
def a_run_that_was_handed_back_is_looked_for_late(search, recovery, runtime):
    """After as long as a lease lasts."""
    pause = search(recovery, runtime)
    return pause if pause is None else 8.0


# ── Signals ──────────────────────────────────────────────────────────────────────────────────


@breaks(43, shows=unheard)(SharedStateManager, "_begin")
def requests_are_heard_by_signals_alone(begin, state):
    """One that is lost is lost for good."""
    hear, state.hear_requests = state.hear_requests, lambda: None
    try:
        begin(state)
    finally:
        state.hear_requests = hear


@breaks(42, 43, shows=unheard)(SharedStore, "_claimed")
def a_request_ends_with_its_owner(claimed, store, row, owner):
    """Whoever takes the run over does not know of it."""
    row.asked = None
    return claimed(store, row, owner)


@breaks(43, shows=asked)(SharedStateManager, "hear_requests")
def only_the_first_request_is_delivered(hear, state):
    """The other runs go on."""
    told, tell = [], state._tell

    def once(run_id, reason, *, compensate):
        if not told:
            told.append(run_id)
            tell(run_id, reason, compensate=compensate)

    if not getattr(state, "_told", ()):
        state._tell = once
        hear(state)
        state._tell, state._told = tell, told


@breaks(43, shows=unheard)(SharedStore, "ask")
def a_request_is_signalled_and_not_kept(ask, store, row, reason, *, compensate):
    """An owner that cannot hear it now never does."""
    ask(store, row, reason, compensate=compensate)
    row.asked = None


# ── Keys and times ───────────────────────────────────────────────────────────────────────────


@breaks(44, shows=keyed("queue"))(turns, "decide")
def a_third_run_waits(_decide, record, running, queued, *, owned):
    """Where one waits already."""
    return keys.decide(record, running, None if running else queued, owned=owned)


@breaks(44, shows=keyed("queue", "replace_queued", "cancel_running"))(Turns, "_has_turn")
def a_queued_run_does_not_wait_for_its_turn(_has_turn, _turns, _row):
    """It starts while the other one is in progress."""
    return True


@breaks(44, shows=keyed("cancel_running"))(turns, "decide")
def a_run_that_makes_way_is_not_waited_for(decide, record, running, queued, *, owned):
    """It is told to end, and the new one starts at once."""
    verdict = decide(record, running, queued, owned=owned)
    return verdict if verdict.cancelled is None else verdict._replace(slot="running")


@breaks(44, shows=debounced)(Turns, "_merge")
def a_debounced_run_keeps_its_first_inputs(merge, given, run_id, record):
    """Those of later starts are lost."""
    row = given._store.rows[run_id]
    first = row.record
    merge(given, run_id, record)
    row.record = attrs.evolve(row.record, inputs=first.inputs, metadata=first.metadata)


@breaks(44, shows=debounced)(Starter, "_launch")
def a_waiting_run_starts_as_it_was_accepted(launch, starter, runtime, held, ticket):
    """It is not read again before it starts."""
    read = runtime.snapshot
    given = {"inputs": held.record.inputs, "metadata": held.record.metadata}
    runtime.snapshot = lambda run_id: attrs.evolve(read(run_id), **given)
    try:
        launch(starter, runtime, held, ticket)
    finally:
        del runtime.snapshot


@breaks(51, shows=delayed)(Turns, "_is_due")
def a_run_starts_before_its_time(_is_due, _turns, _row):
    """It is due as soon as it is accepted."""
    return True


# ── Schedules ────────────────────────────────────────────────────────────────────────────────


@breaks(44, 45, shows=lambda it: scheduled()(it) and crashing(it))(SharedStore, "_earlier")
def a_firing_is_not_known_again(_earlier, _store, _record):
    """Whoever repeats it after a crash starts another run."""


@breaks(45, shows=scheduled("skip", "queue"))(_Serving, "_in_progress")
def the_run_before_is_not_looked_at(_in_progress, _serving, _run_id):
    """The next one starts beside it."""
    return False


@breaks(45, shows=scheduled("skip"))(_Deciding, "_fire")
def a_skipped_time_is_not_counted(fire, deciding, at):
    """It has left no trace."""
    fire(deciding, at)
    deciding._skipped.clear()


@breaks(45, shows=scheduled("queue", "cancel_running"))(_Deciding, "_decision")
def a_queued_time_is_forgotten(decision, deciding, due_at, *, more):
    """It would have waited for the run before."""
    deciding._queued = None
    return decision(deciding, due_at, more=more)


@breaks(45, shows=scheduled())(_Serving, "_start_some")
def a_firing_is_counted_twice(start, serving):
    """By who started it, and by who counted."""
    before = serving._recorded.state
    wait = start(serving)
    state = serving._recorded.state
    if state.fired > before.fired:
        serving._write(attrs.evolve(state, fired=state.fired + 1))
    return wait


# ── Families ─────────────────────────────────────────────────────────────────────────────────


def related(*children):
    """Make a condition that steps have children, in one of some ways."""

    def shows(scenario):
        wanted = {one.children for one in scenario.steps} - {"none"}
        return bool(scenario.child) and bool(wanted & set(children) if children else wanted)

    return shows


def bereaved(scenario):
    """They have, and processes end."""
    faults = scenario.settings.faults
    return related()(scenario) and (faults.restarts or faults.handovers)


def undone(scenario):
    """They have, and can be undone."""
    return related()(scenario) and any(one.undo for one in scenario.child)


@breaks(59, 60, shows=bereaved)(Children, "_look_once")
def a_child_is_started_again(_look, children, runtime, call):
    """Whatever has become of the earlier one."""
    for generation in itertools.count(1):
        run_id = children.child_id(call, generation)
        try:
            runtime.snapshot(run_id)
        except RunNotFound:
            return None, run_id
    return None


@breaks(61, 62, shows=related())(HasFamilies, "_children_of")
def children_are_not_looked_up(_children_of, _families, _run_id):
    """As if the store did not know whose they are."""
    return []


@breaks(62, shows=undone)(Undoing, "wants")
def a_completed_child_is_not_undone(_wants, _undoing, _runtime, _child):
    """What it has done stays."""
    return False


@breaks(62, shows=undone)(HasFamiliesInTurns, "_await")
def a_parent_does_not_wait_for_what_is_undone(_await, families, _run, message, _pause):
    """It goes on at once."""
    families._undone(message, undone=True)


@breaks(62, shows=undone)(Undoing, "take_up")
def undoing_is_only_said(_take_up, _undoing, _runtime, _run_id, _reason):
    """As if the child had been undone before."""
    return


@breaks(61, 62, shows=bereaved)(Families, "ask")
def a_parent_that_was_taken_over_has_no_children(ask, families, run):
    """Those of its earlier lives are forgotten."""
    return ask(families, run) if run.family is None or not run.family.resumed else False


@breaks(62, shows=undone)(Undoing, "_undo")
def an_undone_child_counts_as_ended(_undo, _undoing, _runtime, _known, _reason):
    """It is not claimed."""
    return


@breaks(62, shows=lambda it: undone(it) and related("abandons")(it))(family, "ends_with_parent")
def an_abandoned_child_is_undone(_ends, child):
    """As if it had not been."""
    return child.parent is not None
