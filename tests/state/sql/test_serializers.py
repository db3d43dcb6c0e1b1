"""Values come back as what they were, or are refused with the path to what is wrong."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import sys
import types
import uuid
import zoneinfo
from collections import OrderedDict
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow import ActorflowWarning
from actorflow.errors.running import StepTimeout
from actorflow.errors.storage import NotRestorable, NotStorable, TooLarge
from actorflow.model.events import Event
from actorflow.model.lifecycle import EventKind, StepStatus
from actorflow.model.results import StepResult
from actorflow.state.sql import JSONSerializer, PickleSerializer
from actorflow.state.sql.values.codec import Unstorable
from actorflow.state.sql.values.errors import describe_error, restore_error
from actorflow.state.sql.values.payloads import Payloads


class Colour(enum.Enum):
    """An enum."""

    RED = "red"
    GREEN = (0, 255, 0)


class Rights(enum.Flag):
    """A flag."""

    READ = enum.auto()
    WRITE = enum.auto()


class Level(enum.IntEnum):
    """An enum whose members are numbers."""

    LOW = 1


@dataclasses.dataclass(frozen=True)
class Point:
    """A frozen dataclass."""

    x: int
    y: float = 0.0
    tags: tuple[str, ...] = ()


@dataclasses.dataclass
class Careful:
    """A dataclass that runs code when it is made."""

    amount: int
    made: int = dataclasses.field(default=0, init=False)

    def __post_init__(self):
        """Count."""
        self.made += 1


@attrs.frozen
class Order:
    """A frozen attrs class with slots."""

    id: uuid.UUID
    lines: list[Point]
    colour: Colour = Colour.RED


@attrs.define(slots=False)
class Basket:
    """An attrs class."""

    orders: dict[str, Order]


class Pair(NamedTuple):
    """A named tuple."""

    left: object
    right: object


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ID = uuid.UUID(int=7)
ORDER = Order(ID, [Point(1, 2.5, ("a",))], Colour.GREEN)
VALUES = [
    *(None, True, 0, -(2**70), 1.5, "", "ä€😀\0\u2028", [], {}, {"$": 1}, {"$": {"$": "x"}}),
    *((), (1, (2,)), {1, 2}, frozenset({"a"}), {1: "a", (2, 3): "b", None: 0}, {"a": {1: 2}}),
    *(b"", b"\x00\xff", bytearray(b"x"), 1 + 2j, decimal.Decimal("1.10"), ID),
    *(math.inf, -math.inf, decimal.Decimal("Infinity"), pathlib.Path("/a/b")),
    *(dt.date(2026, 1, 31), dt.time(8, 30, 1, 2), dt.timedelta(-1, 2, 3)),
    *(
        dt.datetime.fromisoformat("2026-01-31T08:00:00.123456"),
        dt.datetime(2026, 1, 31, tzinfo=dt.UTC),
    ),
    dt.datetime(2026, 1, 31, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
    *(Colour.RED, Colour.GREEN, Rights.READ | Rights.WRITE, Level.LOW, EventKind.STEP_READY),
    *(Point(1), Careful(3), ORDER, Basket({"o": ORDER}), Pair(1, Pair("a", None))),
]


@pytest.fixture
def serializer():
    """The usual one."""
    return JSONSerializer()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_what_it_was(serializer, value):
    """Equal, and of the same type, all the way down."""
    returned = serializer.loads(serializer.dumps([value, {"in": value}]))

    assert [value, {"in": value}] == returned
    assert type(value) is type(returned[0])
    assert repr(value) == repr(returned[0])


def test_what_is_no_number_comes_back(serializer):
    """Though it does not equal itself."""
    assert math.isnan(serializer.loads(serializer.dumps(math.nan)))


def test_a_moment_that_comes_twice_comes_back_as_the_same_one(serializer):
    """When the clocks go back, the offset tells which it was."""
    later = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)

    returned = serializer.loads(serializer.dumps(later))
    assert (later.utcoffset(), later.fold) == (returned.utcoffset(), returned.fold)


@dataclasses.dataclass
class Chain:
    """A value within which another one stands."""

    rest: object


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "marked dict": lambda value: {1: value},
    "tuple": lambda value: (value,),
    "frozenset": lambda value: frozenset([value]),
    "object": Chain,
}


def nested(wrap, levels):
    """A value of so many levels."""
    value = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def called_deeply(function, calls):
    """Call a function when the stack is deep already."""
    return called_deeply(function, calls - 1) if calls else function()


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_whatever_is_not_nested_too_deeply_can_be_read_back(wrap):
    """Also where the stack is deeper than where it was written."""
    json, value = JSONSerializer(), nested(wrap, 100)
    text = json.dumps(value)

    assert value == called_deeply(lambda: json.loads(text), 400)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("levels", [101, 10_000])
def test_what_is_nested_too_deeply_is_refused(wrap, levels):
    """When it is written: it would never be read."""
    if wrap is WRAPS["frozenset"] and levels > 1000:
        levels = 500  # more of them Python cannot even hash
    with pytest.raises(Unstorable, match="more than 100 levels deep"):
        JSONSerializer().dumps(nested(wrap, levels))


def test_what_the_stack_has_no_room_for_cannot_be_read_there():
    """And an error says so, where Python's own would look like a defect."""
    json = JSONSerializer()
    text, room = json.dumps(nested(WRAPS["tuple"], 100)), sys.getrecursionlimit()
    with pytest.raises(NotRestorable, match="the remaining stack of this thread"):
        called_deeply(lambda: json.loads(text), room - stack_depth() - 100)


def stack_depth():
    """How deep the stack is here."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.sampled_from([*Colour, *Level]),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text("$ab"), inner)
        | st.builds(Pair, inner, inner)
    ),
)


@pytest.mark.slow
@given(PLAIN)
def test_any_nesting_comes_back(value):
    """Whatever the parts are."""
    serializer = JSONSerializer()
    returned = serializer.loads(serializer.dumps(value))

    assert repr(value) == repr(returned)


def test_what_it_writes_is_json_that_others_can_read(serializer):
    """Plain values stand for themselves, and a mark says what the others are."""
    text = serializer.dumps({"n": 1, "day": dt.date(2026, 1, 31), "pair": (1, 2)})

    assert '{"n":1,"day":{"$":"date","of":"2026-01-31"},"pair":{"$":"tuple","of":[1,2]}}' == text


def test_reading_runs_nothing_of_a_class(serializer):
    """An object is made from its fields, as a copy would be."""
    assert 1 == serializer.loads(serializer.dumps(Careful(5))).made


def test_a_class_is_not_imported_to_be_read(serializer):
    """What a database says must not decide which code runs."""
    text = '{"$":"object","class":"antigravity:Thing","of":{}}'
    with pytest.raises(NotRestorable, match="'antigravity' is not loaded"):
        serializer.loads(text)

    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("antigravity:Thing", "'antigravity:Thing' .* module 'antigravity' is not loaded. Import"),
        ("os:nothing", "'os:nothing' .* module 'os' has no value class 'nothing'. Import the"),
        ("__main__:Gone", "'__main__:Gone' .* in its main module, .* Define it in a module that"),
    ],
)
def test_a_class_that_is_not_there_is_named_with_what_to_do(serializer, name, said):
    """A class of a main file is not to be found by another program at all."""
    with pytest.raises(NotRestorable, match=said):
        serializer.loads(f'{{"$":"object","class":"{name}","of":{{}}}}')


@pytest.mark.parametrize("name", ["builtins:object", "os:system", "subprocess:Popen", "os:nothing"])
def test_what_is_no_class_of_values_is_not_made(serializer, name):
    """Whatever the database says."""
    with pytest.raises(NotRestorable):
        serializer.loads(f'{{"$":"object","class":"{name}","of":{{}}}}')


def test_a_field_that_a_class_of_actorflow_has_gained_has_its_default(serializer):
    """An earlier version wrote the object without it."""
    step = StepResult(step_id="a", status=StepStatus.COMPLETED, attempts=2)
    written = serializer.dumps(step)
    fields = json.loads(written)
    del fields["of"]["retried"]

    assert step == serializer.loads(written) == serializer.loads(json.dumps(fields))


def test_an_unknown_mark_is_refused(serializer):
    """A later version may have written it."""
    with pytest.raises(NotRestorable, match="'later'"):
        serializer.loads('{"$":"later","of":1}')


def local_class():
    """A class that nobody else can find."""

    @dataclasses.dataclass
    class Local:
        """Within a function."""

        a: int = 1

    return Local()


LOOP = []
LOOP.append(LOOP)
REFUSED = [
    (object(), "it", "is a builtins.object"),
    ({"a": [1, object()]}, "['a'][1]", "is a builtins.object"),
    (Pair(1, {2: {3}, "x": {"y": print}}), ".right", "builtin_function"),
    (Point(1, 2, (lambda: None,)), ".tags[0]", "is a builtins.function"),
    (OrderedDict(a=1), "it", "is a collections.OrderedDict"),
    ({"n": types.SimpleNamespace()}, "['n']", "SimpleNamespace"),
    ([local_class()], "[0]", "cannot be found under that name"),
    (LOOP, "[0][0]", "contains itself"),
    (["\ud800"], "it", "not Unicode"),
    (ValueError("no"), "it", "is a builtins.ValueError"),
]


@pytest.mark.parametrize(("value", "path", "why"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_stored_is_refused_with_the_way_to_it(serializer, value, path, why):
    """Nothing is turned into something similar."""
    with pytest.raises(Unstorable, match=why) as raised:
        serializer.dumps(value)

    assert raised.value.path.startswith(path)


def test_a_forgotten_await_is_named():
    """A step may return what it forgot to await."""

    async def fetch():
        return 1

    forgotten = fetch()
    with pytest.raises(Unstorable, match="a coroutine that was not awaited: write `await`"):
        JSONSerializer().dumps(forgotten)
    forgotten.close()


# ── Pickle ───────────────────────────────────────────────────────────────────────────────────


def test_pickles_are_a_choice_that_is_warned_of():
    """Nobody gets them without having read why not."""
    with pytest.warns(ActorflowWarning, match="runs any code that the database contains"):
        serializer = PickleSerializer()

    assert OrderedDict(a=print) == serializer.loads(serializer.dumps(OrderedDict(a=print)))


# ── Limits ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def payloads(serializer):
    """Small limits."""
    return Payloads(serializer, max_input=100, max_output=100, max_event=500)


def test_a_value_that_is_too_large_is_refused_with_the_way_to_most_of_it(payloads):
    """And with the step's name."""
    output = {"small": 1, "items": [1, {"text": "ä" * 60}]}
    with pytest.raises(TooLarge) as raised:
        payloads.dump_output("r1", "fetch", output)

    assert "the output of step 'fetch' in run 'r1'" == raised.value.where
    assert "['items'][1]['text']" == raised.value.path
    assert (raised.value.size > 120, 100) == (True, raised.value.limit)


def test_a_value_within_the_limit_counts_its_bytes_and_not_its_characters(payloads):
    """A text of 60 characters may take 120."""
    payloads.dump_output("r1", "fetch", "a" * 98)
    with pytest.raises(TooLarge):
        payloads.dump_output("r1", "fetch", "ä" * 50)


def test_a_value_that_is_refused_names_its_step(payloads):
    """And the way to the part at fault."""
    with pytest.raises(NotStorable, match=r"step 'fetch' in run 'r1' cannot be stored: \['a'\] is"):
        payloads.dump_output("r1", "fetch", {"a": object()})


def test_a_serializer_that_raises_is_a_refusal(payloads):
    """Whatever it raises."""

    class Broken:
        """One of the program's own."""

        name = "broken"

        def dumps(self, value):
            """Raise."""
            raise RuntimeError("out of order")

    payloads.serializer = Broken()
    with pytest.raises(NotStorable, match="RuntimeError: out of order"):
        payloads.dump_output("r1", "fetch", 1)


@pytest.mark.parametrize("made", [b"text", None, "a text\0"])
def test_a_serializer_that_makes_no_text_is_a_refusal(payloads, made):
    """A database might take it, and then nobody could read it back."""

    class Broken:
        """One of the program's own."""

        name = "broken"

        def dumps(self, value):
            """Return what it must not."""
            return made

    payloads.serializer = Broken()
    with pytest.raises(
        NotStorable, match=r"it made the serializer 'broken' return .* instead of a str"
    ):
        payloads.dump_output("r1", "fetch", 1)


def test_what_an_event_says_is_cut_and_limited():
    """A reason of a page is shortened; what is still too much names the event and the part."""
    payloads = Payloads(JSONSerializer(), max_input=1, max_output=1, max_event=20_000)
    event = Event(4, EventKind.RUN_CANCELLED, "r1", None, None, 0.0, {"reason": "x" * 50_000})
    _, data = payloads.encode_event(event, None)

    assert len(data) < 11_000
    assert b"(50000 characters)" in data
    with pytest.raises(TooLarge, match=r"event 4 \(run.cancelled\) of run 'r1' takes .*'much'"):
        payloads.encode_event(event._replace(data={"much": ["x"] * 9_000}), None)


# ── Errors ───────────────────────────────────────────────────────────────────────────────────


def raised_by(error, cause=None):
    """An error as it is caught."""
    try:
        raise error from cause  # noqa: TRY301 - to have it raised is the point
    except BaseException as caught:  # noqa: BLE001 - whatever the test has made
        return caught


def test_an_error_is_kept_as_its_class_its_text_and_its_traceback():
    """With what it was raised from."""
    error = restore_error(describe_error(raised_by(ValueError("no"), OSError("disk"))))

    assert ("builtins.ValueError", "no") == (error.type_name, error.text)
    assert "OSError: disk" in error.traceback
    assert "ValueError: no" == str(error)


def test_a_recorded_error_that_is_recorded_again_stays_what_it_was():
    """A resumed run may end with an error of its first life."""
    error = restore_error(describe_error(raised_by(ValueError("no"))))

    assert error == restore_error(describe_error(error))
    assert hash(error) == hash(restore_error(describe_error(error)))
    assert error != ValueError("no")


def test_an_error_of_actorflow_comes_back_as_itself():
    """It is a value, with fields."""
    error = StepTimeout("r1", "fetch", 2, 1.5, "attempt")

    returned = restore_error(describe_error(error))
    assert (type(error), str(error)) == (type(returned), str(returned))


class Rude(Exception):
    """An error whose text cannot be had."""

    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


def test_an_error_without_a_text_is_kept_all_the_same():
    """The step has failed, whatever its error is like."""
    assert "Rude" in restore_error(describe_error(Rude())).type_name


def test_a_text_that_no_database_can_hold_is_written_out():
    """NUL characters and halves of characters."""
    assert "a\\0b\\ud800" == restore_error(describe_error(ValueError("a\0b\ud800"))).text


def test_an_endless_text_is_cut():
    """An error may say anything."""
    assert len(restore_error(describe_error(ValueError("x" * 1_000_000))).text) < 11_000
