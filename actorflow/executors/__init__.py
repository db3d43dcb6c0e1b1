"""Executors, which run step bodies."""

from __future__ import annotations

from actorflow.executors.coroutines import CoroutineExecutor
from actorflow.executors.futures import FuturesExecutor
from actorflow.executors.threads import ThreadExecutor

__all__ = ["CoroutineExecutor", "FuturesExecutor", "ThreadExecutor"]
