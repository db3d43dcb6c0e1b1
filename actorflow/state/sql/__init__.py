"""Runs kept in a database: SQLite or PostgreSQL, through SQLAlchemy.

Importing this loads none of that; it needs the extra `sql` when a manager is made.
"""

from __future__ import annotations

from actorflow.state.sql.health import StoreHealth
from actorflow.state.sql.manager import SQLStateManager
from actorflow.state.sql.retention.limits import PurgeReport
from actorflow.state.sql.values.serializers import JSONSerializer, PickleSerializer, Serializer

__all__ = [
    "JSONSerializer",
    "PickleSerializer",
    "PurgeReport",
    "SQLStateManager",
    "Serializer",
    "StoreHealth",
]
