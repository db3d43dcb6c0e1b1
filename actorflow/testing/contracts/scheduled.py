"""Contract tests of an optional power: schedules."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from actorflow.errors.storage import ScheduleNotFound
from actorflow.model.schedules import ScheduleDefinition, ScheduleState
from actorflow.testing.contracts.accounts import EPOCH, Patient

if TYPE_CHECKING:
    from actorflow.model.powers import KeepsSchedules
    from actorflow.model.schedules import RecordedSchedule

__all__ = ["KeepsSchedulesContract"]

_LATER: Final = EPOCH + 3600.0
_THREADS: Final = 4


class KeepsSchedulesContract(Patient):
    """The promises of `KeepsSchedules`, as tests; for a class that derives from another contract.

    For example `class TestMyState(KeepsSchedulesContract, StateManagerContract)`.
    """

    def test_a_schedule_is_kept_as_it_was_put(self) -> None:
        """With every field of its definition; it has decided everything up to then."""
        definition = _defined(
            every=None,
            cron="0 2 * * *",
            tz="Europe/Berlin",
            inputs={"day": 1, "names": ["a", "b"]},
            overlap="queue",
            catch_up=60.0,
            missed="all",
            jitter=5.0,
        )

        put = self._schedules.put_schedule(definition, EPOCH)

        assert definition == put.definition
        assert ScheduleState(decided_until=EPOCH) == put.state
        assert put == self._schedules.get_schedule("nightly")

    def test_an_equal_definition_changes_nothing(self) -> None:
        """Not even the revision; the order of inputs does not matter."""
        put = self._schedules.put_schedule(_defined(inputs={"a": 1, "b": 2}), EPOCH)

        again = self._schedules.put_schedule(_defined(inputs={"b": 2, "a": 1}), _LATER)

        assert put == again

    def test_another_definition_replaces_it_and_keeps_its_state(self) -> None:
        """It goes on where it stands."""
        put = self._schedules.put_schedule(_defined(), EPOCH)
        stands = _state()
        assert self._schedules.advance_schedule("nightly", put.revision, stands)

        again = self._schedules.put_schedule(_defined(jitter=7.0), _LATER)

        assert (7.0, stands) == (again.definition.jitter, again.state)
        assert again == self._schedules.get_schedule("nightly")

    def test_a_changed_timetable_counts_from_the_change(self) -> None:
        """What passed before was no nominal time; the rest of the state is kept."""
        put = self._schedules.put_schedule(_defined(), EPOCH)
        assert self._schedules.advance_schedule("nightly", put.revision, _state())

        again = self._schedules.put_schedule(_defined(every=7.0), _LATER)

        assert attrs.evolve(_state(), decided_until=_LATER) == again.state
        assert again == self._schedules.get_schedule("nightly")

    def test_a_state_is_kept_as_it_was_written(self) -> None:
        """With every field."""
        put = self._schedules.put_schedule(_defined(), EPOCH)

        assert self._schedules.advance_schedule("nightly", put.revision, _state())

        found = self._schedules.get_schedule("nightly")
        assert (_state(), put.definition) == (found.state, found.definition)
        assert put.revision != found.revision

    def test_a_state_is_written_only_over_the_one_that_was_read(self) -> None:
        """Of those who read the same, the first one writes."""
        put = self._schedules.put_schedule(_defined(), EPOCH)
        first, second = (attrs.evolve(put.state, fired=count) for count in (1, 2))

        assert self._schedules.advance_schedule("nightly", put.revision, first)
        assert not self._schedules.advance_schedule("nightly", put.revision, second)
        assert 1 == self._schedules.get_schedule("nightly").state.fired

    def test_of_several_writers_one_prevails_each_time(self) -> None:
        """No write is lost, and none counts twice."""
        self._schedules.put_schedule(_defined(), EPOCH)
        threads = [threading.Thread(target=self._count, args=(10,)) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 10 * _THREADS == self._schedules.get_schedule("nightly").state.fired

    def test_a_changed_definition_refuses_a_state_that_was_decided_for_the_old_one(self) -> None:
        """The decision is made again."""
        put = self._schedules.put_schedule(_defined(), EPOCH)
        self._schedules.put_schedule(_defined(every=7.0), EPOCH)

        assert not self._schedules.advance_schedule("nightly", put.revision, _state())

    def test_a_schedule_that_was_deleted_is_gone(self) -> None:
        """It can be made again, and refuses what was decided before."""
        put = self._schedules.put_schedule(_defined(), EPOCH)
        self._schedules.delete_schedule("nightly")

        assert [] == list(self._schedules.list_schedules())
        assert not self._schedules.advance_schedule("nightly", put.revision, _state())
        made = self._schedules.put_schedule(_defined(), _LATER)
        assert ScheduleState(decided_until=_LATER) == made.state
        assert not self._schedules.advance_schedule("nightly", put.revision, _state())

    def test_a_schedule_that_does_not_exist_is_refused_by_name(self) -> None:
        """With the names that do exist."""
        self._schedules.put_schedule(_defined(), EPOCH)

        for call in (self._schedules.get_schedule, self._schedules.delete_schedule):
            assert ("nightli", ("nightly",)) == _missing(call, "nightli")

    def test_schedules_are_listed_by_name(self) -> None:
        """All of them."""
        for name in ("c", "a", "b"):
            self._schedules.put_schedule(_defined(name=name), EPOCH)

        listed = self._schedules.list_schedules()
        assert ["a", "b", "c"] == [it.definition.name for it in listed]

    @property
    def _schedules(self) -> KeepsSchedules:
        return cast("KeepsSchedules", self.state)

    def _count(self, times: int) -> None:
        while times:
            read: RecordedSchedule = self._schedules.get_schedule("nightly")
            more = attrs.evolve(read.state, fired=read.state.fired + 1)
            times -= self._schedules.advance_schedule("nightly", read.revision, more)


def _defined(**fields: Any) -> ScheduleDefinition:
    usual = {"name": "nightly", "workflow_id": "flow", "workflow_version": "1", "every": 60.0}
    return ScheduleDefinition(**{**usual, **fields})


def _state() -> ScheduleState:
    return ScheduleState(
        decided_until=EPOCH + 60.0,
        paused=True,
        pending=(EPOCH + 20.000001, EPOCH + 40.0),
        queued=EPOCH + 60.0,
        requested=(EPOCH + 1.5,),
        last_at=EPOCH,
        last_run_id="run",
        fired=1,
        skipped=2,
        missed=3,
    )


def _missing(call: Any, name: str) -> tuple[str, tuple[str, ...]]:
    try:
        call(name)
    except ScheduleNotFound as error:
        return error.name, error.known
    raise AssertionError(f"{call.__name__}({name!r}) found a schedule")
