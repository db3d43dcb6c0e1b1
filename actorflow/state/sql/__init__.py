"""A state manager for SQLite and PostgreSQL, built on SQLAlchemy.

Importing this package loads neither SQLAlchemy nor msgspec; making a manager requires the extra
`sql`.
"""

from __future__ import annotations

from actorflow.state.sql.health import Owner, StoreHealth
from actorflow.state.sql.manager import SQLStateManager
from actorflow.state.sql.retention import PurgeReport
from actorflow.state.sql.values.serializers import JSONSerializer, PickleSerializer, Serializer

__all__ = [
    "JSONSerializer",
    "Owner",
    "PickleSerializer",
    "PurgeReport",
    "SQLStateManager",
    "Serializer",
    "StoreHealth",
]
