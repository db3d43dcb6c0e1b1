"""The report of `actorflow runs stats`: what there is, and what is stuck."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.text import Text

from actorflow.cli.reports import moment, summary_as_json
from actorflow.cli.terminal.lines import STYLES, table
from actorflow.cli.terminal.values import as_json
from actorflow.model.lifecycle import RunStatus
from actorflow.support.clock import SystemClock
from actorflow.views.text import in_words, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from actorflow.cli.filters import Filters
    from actorflow.model.records import RunSnapshot
    from actorflow.state.sql import Owner, SQLStateManager

__all__ = ["Stats"]

_STUCK: Final = ("parked", "waiting", "paused")
_NO_OWNER: Final = "(no owner)"


@attrs.frozen(kw_only=True)
class Stats:
    """The numbers of runs, and the runs and owners that an operator looks for first."""

    counts: Mapping[tuple[str, RunStatus], int]
    """By workflow and status."""
    stuck: Mapping[str, Mapping[tuple[str, str], int]]
    """How many runs are parked, waiting and paused, by workflow and version."""
    oldest_pending: RunSnapshot | None
    owners: Sequence[Owner]

    @classmethod
    def of(cls, state: SQLStateManager, filters: Filters) -> Stats:
        """Return the numbers of the runs that match; the owners are all there are."""
        asked = filters.asked()
        of_version = ("workflow_id", "workflow_version")
        return cls(
            counts=state.count_runs(("workflow_id", "status"), **asked),
            stuck={it: state.count_runs(of_version, **(asked | {it: True})) for it in _STUCK},
            oldest_pending=_oldest_pending(state, asked),
            owners=state.owners(),
        )

    @property
    def total(self) -> int:
        """The number of runs."""
        return sum(self.counts.values())

    def lines(self) -> Iterator[RenderableType]:
        """Yield the report for people."""
        yield Text(f"{self.total:,} run{'s' * (self.total != 1)}")
        if self.counts:
            yield table(self._rows(), 3)
        if self.oldest_pending is not None:
            yield Text(_pending(self.oldest_pending))
        for what, groups in self.stuck.items():
            for (workflow_id, version), count in sorted(groups.items()):
                name = f"{printable(workflow_id)} {printable(version)}"
                yield Text(f"{what}: {count:,} of {name}", "yellow")
        if self.owners:
            yield table(map(_owner, self.owners), 4)

    def _rows(self) -> Iterator[Sequence[Text]]:
        by_workflow: dict[str, dict[RunStatus, int]] = {}
        for (workflow_id, status), count in self.counts.items():
            by_workflow.setdefault(workflow_id, {})[status] = count
        for workflow_id, counts in sorted(by_workflow.items()):
            number = Text(f"{sum(counts.values()):,}", justify="right")
            yield Text(printable(workflow_id)), number, _by_status(counts)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers in a form that JSON can hold."""
        by_status: Counter[str] = Counter()
        by_workflow: dict[str, dict[str, int]] = {}
        for (workflow_id, status), count in sorted(self.counts.items()):
            by_status[status.value] += count
            by_workflow.setdefault(workflow_id, {})[status.value] = count
        oldest = self.oldest_pending
        return {
            "total": self.total,
            "by_status": dict(by_status),
            "by_workflow": by_workflow,
            "oldest_pending": None if oldest is None else summary_as_json(oldest),
            **{what: _groups_as_json(groups) for what, groups in self.stuck.items()},
            "owners": as_json(self.owners),
        }


def _oldest_pending(state: SQLStateManager, asked: Mapping[str, Any]) -> RunSnapshot | None:
    wanted = asked.get("status")
    if wanted is not None and RunStatus.PENDING not in wanted:
        return None
    pending: dict[str, Any] = {**asked, "status": RunStatus.PENDING}
    total = state.list(**pending, limit=0).total
    found = state.list(**pending, limit=1, offset=max(total - 1, 0)).runs
    return found[0] if found else None


def _pending(run: RunSnapshot) -> str:
    clock = SystemClock()
    waited = in_words(max(clock.wall(clock.now()) - run.created_at, 0.0))
    name = f"{printable(run.workflow_id)} {printable(run.workflow_version)}"
    return f"oldest pending: {printable(run.run_id)} of {name}, accepted {waited} ago"


def _by_status(counts: Mapping[RunStatus, int]) -> Text:
    text = Text()
    for status in RunStatus:
        if status in counts:
            text.append(f"{', ' if text else ''}")
            text.append(f"{counts[status]:,} {status.value}", STYLES[status])
    return text


def _owner(owner: Owner) -> Sequence[Text]:
    until = owner.lease_until
    return (
        Text("owner"),
        Text(printable(owner.owner) or _NO_OWNER),
        Text(f"{owner.runs:,} run{'s' * (owner.runs != 1)}", justify="right"),
        Text("no lease" if until is None else f"lease until {moment(until)}", "dim"),
    )


def _groups_as_json(groups: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    of = [
        {"workflow_id": workflow_id, "workflow_version": version, "runs": count}
        for (workflow_id, version), count in sorted(groups.items())
    ]
    return {"total": sum(groups.values()), "of": of}
