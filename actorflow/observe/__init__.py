"""Observers of events: the log, and those that the program adds."""

from __future__ import annotations

from actorflow.observe.feed import Feed
from actorflow.observe.structured import LogObserver, logging_is_configured

__all__ = ["Feed", "LogObserver", "logging_is_configured"]
