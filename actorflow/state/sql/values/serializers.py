"""Serializers: conversion of values to strings and back."""

from __future__ import annotations

import base64
import io
import pickle
import warnings
from typing import Any, ClassVar, Protocol

from actorflow.errors.storage import NotRestorable
from actorflow.state.sql.options import needs_extra
from actorflow.state.sql.values.codec import Unstorable, from_plain, to_plain
from actorflow.support.class_names import find_class
from actorflow.support.warnings import ActorflowWarning

__all__ = ["JSONSerializer", "PickleSerializer", "Serializer"]


class Serializer(Protocol):
    """Converts the values of a program for a state manager: inputs, metadata and outputs.

    1. `loads(dumps(value))` equals `value`, or `dumps` raises.
    2. Both may be called from any thread, and from several threads at once.
    3. A string written by one process can be read by another, also after an upgrade of the program.
    """

    @property
    def name(self) -> str:
        """The serializer's name in the database; a run is read only by one of the same name."""

    def dumps(self, value: Any, /) -> str:
        """Return a value as a string without NUL characters; raise when that is impossible."""

    def loads(self, text: str, /) -> Any:
        """Return the value that was passed to `dumps`."""


class JSONSerializer:
    """JSON from which every value comes back unchanged, written and read by msgspec.

    None, booleans, numbers, strings, lists and dictionaries represent themselves. Tuples, sets,
    bytes, datetimes, dates, times, timedeltas, Decimals, UUIDs, paths, enum members, and instances
    of dataclasses, attrs classes and named tuples are tagged with their type. Other values cannot
    be stored.

    Raises:
        MissingExtra: When msgspec is not installed.
    """

    name: ClassVar[str] = "json"

    def __init__(self) -> None:
        with needs_extra("JSONSerializer"):
            import msgspec  # noqa: PLC0415 - part of the extra

        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode

    def dumps(self, value: Any, /) -> str:
        """Return a value as JSON.

        Raises:
            Unstorable: With the path to the part that cannot be stored.
        """
        try:
            return self._encode(to_plain(value)).decode()
        except RecursionError:
            raise Unstorable("is nested too deeply, or contains itself") from None
        except UnicodeEncodeError as error:
            raise Unstorable(f"has a string that is not Unicode: {error.object!r:.80}") from None

    def loads(self, text: str, /) -> Any:
        """Return the value as a new object.

        Raises:
            NotRestorable: When a class no longer exists.
        """
        try:
            return from_plain(self._decode(text))
        except RecursionError:
            why = "it is nested too deeply for the remaining stack of this thread"
            raise NotRestorable("a value", why) from None


class PickleSerializer:
    """Pickles: any value, for databases whose writers are all trusted.

    A process that reads a pickle runs whatever code it contains. A pickle also depends on the
    names, and often the versions, of the classes in it.
    """

    name: ClassVar[str] = "pickle"

    def __init__(self) -> None:
        warnings.warn(
            "PickleSerializer runs any code that the database contains: everyone who can write to "
            "it can take over every process that reads it. Use JSONSerializer, or silence this.",
            ActorflowWarning,
            stacklevel=2,
        )

    def dumps(self, value: Any, /) -> str:
        """Return a value as a pickle, in base64."""
        return base64.b64encode(pickle.dumps(value)).decode("ascii")

    def loads(self, text: str, /) -> Any:
        """Return the value; this runs any code that the pickle contains."""
        return _Unpickler(io.BytesIO(base64.b64decode(text))).load()


class _Unpickler(pickle.Unpickler):
    """Finds classes of actorflow also under the modules that defined them in earlier versions."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            found = find_class(f"{module}:{name}") if module.startswith("actorflow.") else None
            if found is None:
                raise
            return found
