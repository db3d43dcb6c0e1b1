"""How values become texts, and back."""

from __future__ import annotations

import base64
import pickle
import warnings
from typing import Any, ClassVar, Protocol

from actorflow.errors.storage import NotRestorable
from actorflow.state.sql.extras import needs_extra
from actorflow.state.sql.values.codec import Unstorable, plain, restored
from actorflow.support.warnings import ActorflowWarning

__all__ = ["JSONSerializer", "PickleSerializer", "Serializer"]


class Serializer(Protocol):
    """How a state manager writes the values of a program: inputs, metadata and outputs.

    1. `loads(dumps(value))` equals `value`, or `dumps` raises.
    2. Both may be called from any thread, and from several at once.
    3. What one process wrote, another one can read, also after an upgrade of the program.
    """

    @property
    def name(self) -> str:
        """What it is called in the database; a run is read only by a serializer of that name."""

    def dumps(self, value: Any, /) -> str:
        """Return a value as a text without NUL characters; raise when that cannot be done."""

    def loads(self, text: str, /) -> Any:
        """Return what `dumps` was given."""


class JSONSerializer:
    """JSON in which every value comes back as what it was, written and read by msgspec.

    None, booleans, numbers, texts, lists and dictionaries stand for themselves. Tuples, sets,
    bytes, datetimes, dates, times, timedeltas, Decimals, UUIDs, paths, enum members, and objects of
    dataclasses, attrs classes and named tuples are marked, and come back as themselves. Whatever
    else there is cannot be stored.

    Raises:
        MissingExtra: When msgspec is not installed.
    """

    name: ClassVar[str] = "json"

    def __init__(self) -> None:
        with needs_extra("JSONSerializer"):
            import msgspec  # noqa: PLC0415 - it comes with the extra

        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode

    def dumps(self, value: Any, /) -> str:
        """Return a value as JSON.

        Raises:
            Unstorable: With the path to the part that cannot be stored.
        """
        try:
            return self._encode(plain(value)).decode()
        except RecursionError:
            raise Unstorable("is nested too deeply, or contains itself") from None
        except UnicodeEncodeError as error:
            raise Unstorable(f"has a text that is not Unicode: {error.object!r:.80}") from None

    def loads(self, text: str, /) -> Any:
        """Return the value; everything in it is new.

        Raises:
            NotRestorable: When a class is not there any more.
        """
        try:
            return restored(self._decode(text))
        except RecursionError:
            why = "it is nested too deeply for the stack that this thread has left"
            raise NotRestorable("a value", why) from None


class PickleSerializer:
    """Pickles: any value, for those who trust everybody who can write to the database.

    Whoever can write there can run code in every process that reads it, and a pickle is tied to
    the names, and often to the versions, of the classes in it.
    """

    name: ClassVar[str] = "pickle"

    def __init__(self) -> None:
        warnings.warn(
            "PickleSerializer runs whatever code the database holds: everybody who can write to it "
            "can take over every process that reads it. Use JSONSerializer, or silence this.",
            ActorflowWarning,
            stacklevel=2,
        )

    def dumps(self, value: Any, /) -> str:
        """Return a value as a pickle, in base64."""
        return base64.b64encode(pickle.dumps(value)).decode("ascii")

    def loads(self, text: str, /) -> Any:
        """Return the value, or whatever else the pickle does."""
        return pickle.loads(base64.b64decode(text))  # noqa: S301 - chosen, and warned of
