"""The laws that every schedule keeps, by number and by name.

`check(trace)` checks a trace against all of them. Each law can also be checked alone, and `law`
makes a law from a function that takes a trace and asserts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.testing.errors import LawBroken
from actorflow.testing.laws.attempts import (
    backoffs_are_kept,
    final_errors_are_final,
    late_results_change_nothing,
    timeouts_are_kept,
)
from actorflow.testing.laws.budget import (
    budget_is_kept,
    priorities_are_kept,
    runs_take_turns,
    work_is_conserved,
    workers_add_up,
)
from actorflow.testing.laws.compensation import (
    compensations_happen_once,
    compensations_run_backwards,
)
from actorflow.testing.laws.evictions import evicted_runs_go_on
from actorflow.testing.laws.families import families_end_together
from actorflow.testing.laws.kinship import (
    calls_have_one_child,
    children_are_told_of_ends,
    children_are_undone_with_their_parents,
    parents_go_on_with_their_children,
    results_come_from_the_record,
)
from actorflow.testing.laws.law import Law, law
from actorflow.testing.laws.mail import messages_come_in_order, messages_come_once
from actorflow.testing.laws.outcomes import (
    alike,
    crashes_stay_local,
    outcomes_follow_from_attempts,
    outputs_arrive_untouched,
    repetition_changes_nothing,
    same,
)
from actorflow.testing.laws.pauses import (
    frozen_clocks_stand_still,
    paused_runs_start_nothing,
    pauses_are_kept,
)
from actorflow.testing.laws.records import (
    commits_come_first,
    records_add_up,
    records_have_one_owner,
    records_outlive_crashes,
)
from actorflow.testing.laws.runs import (
    cancels_are_kept,
    failures_spread_no_further,
    nothing_is_left,
    runs_come_to_an_end,
    runs_end_once,
    stops_are_bounded,
)
from actorflow.testing.laws.shared_mail import (
    evicted_runs_have_a_reason,
    messages_are_shared,
    messages_reach_their_owner,
)
from actorflow.testing.laws.shared_pauses import pauses_are_shared
from actorflow.testing.laws.shared_records import (
    ends_are_shared,
    nothing_accepted_is_lost,
    records_are_continued,
)
from actorflow.testing.laws.sharing import (
    healthy_owners_keep_their_runs,
    lost_runs_are_let_go,
    owners_die_a_limited_number_of_times,
    owners_follow_each_other,
    requests_are_heard,
    unowned_runs_are_taken_up,
)
from actorflow.testing.laws.steps import (
    attempts_are_limited,
    attempts_follow_each_other,
    dependencies_come_first,
    ends_are_final,
    moves_are_legal,
    skipped_steps_stay_out,
    steps_end_once,
)
from actorflow.testing.laws.takeovers import crash_loops_end, left_runs_stay_as_they_were
from actorflow.testing.laws.turns import (
    keys_are_kept,
    runs_wait_for_their_time,
    schedules_fire_once,
)
from actorflow.testing.laws.waits import waits_hold_nothing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorflow.testing.trace.trace import Trace

__all__ = [
    "ALL",
    "FORMER_NAMES",
    "Law",
    "LawBroken",
    "alike",
    "attempts_are_limited",
    "attempts_follow_each_other",
    "backoffs_are_kept",
    "budget_is_kept",
    "calls_have_one_child",
    "cancels_are_kept",
    "check",
    "children_are_told_of_ends",
    "children_are_undone_with_their_parents",
    "commits_come_first",
    "compensations_happen_once",
    "compensations_run_backwards",
    "crash_loops_end",
    "crashes_stay_local",
    "dependencies_come_first",
    "ends_are_final",
    "ends_are_shared",
    "evicted_runs_go_on",
    "evicted_runs_have_a_reason",
    "failures_spread_no_further",
    "families_end_together",
    "final_errors_are_final",
    "frozen_clocks_stand_still",
    "healthy_owners_keep_their_runs",
    "keys_are_kept",
    "late_results_change_nothing",
    "law",
    "left_runs_stay_as_they_were",
    "lost_runs_are_let_go",
    "messages_are_shared",
    "messages_come_in_order",
    "messages_come_once",
    "messages_reach_their_owner",
    "moves_are_legal",
    "nothing_accepted_is_lost",
    "nothing_is_left",
    "outcomes_follow_from_attempts",
    "outputs_arrive_untouched",
    "owners_die_a_limited_number_of_times",
    "owners_follow_each_other",
    "parents_go_on_with_their_children",
    "paused_runs_start_nothing",
    "pauses_are_kept",
    "pauses_are_shared",
    "priorities_are_kept",
    "records_add_up",
    "records_are_continued",
    "records_have_one_owner",
    "records_outlive_crashes",
    "repetition_changes_nothing",
    "requests_are_heard",
    "results_come_from_the_record",
    "runs_come_to_an_end",
    "runs_end_once",
    "runs_take_turns",
    "runs_wait_for_their_time",
    "same",
    "schedules_fire_once",
    "skipped_steps_stay_out",
    "steps_end_once",
    "stops_are_bounded",
    "timeouts_are_kept",
    "unowned_runs_are_taken_up",
    "waits_hold_nothing",
    "work_is_conserved",
    "workers_add_up",
]

ALL: Final[tuple[Law, ...]] = (
    budget_is_kept,
    workers_add_up,
    dependencies_come_first,
    attempts_are_limited,
    attempts_follow_each_other,
    steps_end_once,
    runs_end_once,
    ends_are_final,
    moves_are_legal,
    late_results_change_nothing,
    timeouts_are_kept,
    backoffs_are_kept,
    final_errors_are_final,
    failures_spread_no_further,
    skipped_steps_stay_out,
    priorities_are_kept,
    work_is_conserved,
    runs_come_to_an_end,
    runs_take_turns,
    cancels_are_kept,
    compensations_happen_once,
    compensations_run_backwards,
    outputs_arrive_untouched,
    repetition_changes_nothing,
    crashes_stay_local,
    commits_come_first,
    records_outlive_crashes,
    records_have_one_owner,
    records_add_up,
    outcomes_follow_from_attempts,
    nothing_is_left,
    stops_are_bounded,
    left_runs_stay_as_they_were,
    crash_loops_end,
    waits_hold_nothing,
    paused_runs_start_nothing,
    pauses_are_kept,
    frozen_clocks_stand_still,
    families_end_together,
    owners_follow_each_other,
    ends_are_shared,
    unowned_runs_are_taken_up,
    requests_are_heard,
    keys_are_kept,
    schedules_fire_once,
    healthy_owners_keep_their_runs,
    nothing_accepted_is_lost,
    records_are_continued,
    lost_runs_are_let_go,
    owners_die_a_limited_number_of_times,
    runs_wait_for_their_time,
    messages_come_once,
    messages_come_in_order,
    evicted_runs_go_on,
    messages_are_shared,
    messages_reach_their_owner,
    evicted_runs_have_a_reason,
    pauses_are_shared,
    calls_have_one_child,
    results_come_from_the_record,
    children_are_told_of_ends,
    children_are_undone_with_their_parents,
    parents_go_on_with_their_children,
)
"""All numbered laws, in order of their numbers."""

FORMER_NAMES: Final[Mapping[str, str]] = {"leases_add_up": "workers_add_up"}
"""The current names of laws that were renamed; replay files may hold their former names."""

leases_add_up = workers_add_up  # its former name, for programs that import it


def check(trace: Trace, laws: Iterable[Law] = ALL) -> None:
    """Check that a trace keeps the laws.

    Raises:
        LawBroken: When it does not, with the first broken law.
    """
    for one in laws:
        one.check(trace)
