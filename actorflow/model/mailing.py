"""The messages between actors about messages to runs, and about runs that wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from actorflow.model.messages import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.model.context import Attempt
    from actorflow.model.mail import Eviction, Mail

__all__ = [
    "AnswerWait",
    "AskEviction",
    "AwaitMail",
    "EvictRun",
    "ForgetWait",
    "MailArrived",
    "RunEvicted",
]


@message
class AwaitMail:
    """Body to supervisor: the attempt wants the next message of a name."""

    attempt: Attempt
    name: str
    call: int
    """The number of the wait, among those of the attempt for this name, from 1."""
    timeout: float | None
    """Seconds after which the wait expires."""
    evict: bool = True
    """Whether the body may be closed meanwhile, and begin again."""


@message
class ForgetWait:
    """Body to supervisor: the attempt no longer waits for a message, or did not get it."""

    attempt: Attempt
    name: str
    call: int


@message
class MailArrived:
    """Host to supervisor: messages of a run, as they are recorded; some may be known already."""

    run_id: str
    mail: Sequence[Mail]


@message
class AnswerWait:
    """Brain to supervisor: what a body gets that waits for a message."""

    attempt: Attempt
    name: str
    call: int
    outcome: Literal["awaiting", "received", "expired"]
    """Whether there is no message yet, or one, or whether the wait has expired."""
    payload: Any = None
    """The payload of the message."""


@message
class AskEviction:
    """Brain to supervisor to host: this run only waits; may it be evicted?"""

    run_id: str


@message
class EvictRun:
    """Host to supervisor: evict this run, if it still only waits for messages."""

    run_id: str


@message
class RunEvicted:
    """Brain to supervisor: nothing of this run is in flight here, until there is news for it."""

    run_id: str
    eviction: Eviction
