"""Who watches: logs, and whatever the program adds. All are fed with events."""

from __future__ import annotations

from actorflow.observe.feed import Feed
from actorflow.observe.structured import LogObserver, logging_is_configured

__all__ = ["Feed", "LogObserver", "logging_is_configured"]
