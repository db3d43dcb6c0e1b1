"""`actorflow simulate` and `actorflow replay`: searches, what they find, and how it is kept."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys

import pytest

from tests.support.command_line import HANGS_AFTER, ROOT, Terminal, finished, read_until, started

PLAIN = """
    from actorflow import RetryPolicy, Workflow

    flow = Workflow("plain")

    @flow.step
    def fetch(url):
        print("fetching")
        raise LookupError("it was called")

    @flow.step(after=fetch, async_=True, timeout=5.0, retry=RetryPolicy(jitter=0.0))
    async def process(fetch):
        return fetch
"""

ENDLESS = """
    import sys
    from actorflow import Workflow

    flow = Workflow("endless")

    @flow.step
    def call():
        print("it is called", file=sys.stderr, flush=True)
"""

FALSE = """
    from actorflow import Workflow
    from actorflow.testing import law

    flow = Workflow("false")

    @flow.step(async_=True)
    async def one():
        return 1

    @flow.step(async_=True)
    async def two():
        return 2

    @law
    def one_comes_first(trace):
        '''The first step ends before the second.'''
        ended = [event.step_id for event in trace.events if event.kind == "step.completed"]
        assert ended.index("one") < ended.index("two"), ended
"""

TELLING = """
    from actorflow.testing import law

    @law
    def settings_are(trace):
        errors = [str(attempt.error) for attempt in trace.attempts]
        raise AssertionError((trace.settings, dict(trace.runs["run-1"].inputs), errors))
"""


BUSY = """
    from actorflow import RetryPolicy, Workflow
    from actorflow.testing import Replay, Script, explore, law, raises

    flow = Workflow("busy")

    class Busy(Exception):
        pass

    @flow.step(async_=True, retry=RetryPolicy(max_attempts=2, retryable_errors=Busy))
    async def call(): ...

    @law
    def it_works(trace):
        assert trace.result.status == "completed"

    def keep():
        found = explore(flow, script=Script({"call": raises(Busy)}), laws=[it_works])
        replay = Replay.of(found.case, found.failure.tape, flow="flows.py:flow", law="it_works")
        replay.save("kept.json")
"""


APART = """
    import asyncio
    from actorflow import Workflow

    flow = Workflow("apart")

    @flow.step(async_=True)
    async def ask():
        await asyncio.to_thread(print)
"""


HANGING = [{"does": "hangs", "stubborn": False}]


@pytest.fixture
def example(folder):
    """The example of the tutorial."""
    return shutil.copy(ROOT / "docs" / "examples" / "double_charge.py", folder)


# ── Searches ─────────────────────────────────────────────────────────────────────────────────


def test_a_search_that_finds_nothing_says_what_it_has_seen(write, type_in):
    """How much, how fast, how the runs ended, how long they took, and which moves were made."""
    write(PLAIN)
    status, out, err = type_in(
        *("simulate", "flows.py", "--input", "url=x", "--schedules", "300", "--seed", "7")
    )

    assert (0, "") == (status, err)
    assert re.match(r"300 schedules in \d.* a second\), \d+ of them distinct; seed 7\n", out)
    assert "\nruns: " in out
    assert re.search(r"\nvirtual duration: .* at least, .* at the median, .* at p99\n", out)
    assert re.search(r"\ncovered: \d+ of \d+ moves", out)
    assert out.endswith("\n\nno law broken\n")


def test_steps_are_scripted_unless_their_functions_are_asked_for(write, type_in):
    """A function that would fail is not called, and with --real it is; what it prints is lost."""
    write(PLAIN)
    typed = ("simulate", "flows.py", "--input", "url=x", "--schedules", "50")
    _, scripted, _ = type_in(*typed)
    _, real, _ = type_in(*typed, "--real")

    assert "No run completed" not in scripted
    assert "runs: 50 failed" in real
    assert "step 'fetch' fails: LookupError: it was called" in " ".join(real.split())
    assert "fetching" not in real


@pytest.mark.filterwarnings("ignore::actorflow.ActorflowWarning")
def test_a_search_that_explores_nothing_fails(write, type_in):
    """No law is broken where nothing could be simulated."""
    write(APART)
    typed = ("simulate", "flows.py", "--schedules", "20", "--real")
    status, out, _ = type_in(*typed)
    told, report, _ = type_in(*typed, "--json")

    assert 1 == status == told
    assert "nothing was explored: step 'ask' fails wherever it is simulated" in out
    assert "no law broken" not in out
    assert 0 == json.loads(report)["explored"]
    assert json.loads(report)["refusal"].startswith("step 'ask' fails")


@pytest.mark.filterwarnings("ignore::actorflow.ActorflowWarning")
def test_a_search_can_try_every_schedule_with_few_deviations(write, type_in):
    """And says that it has, or that it has not."""
    write(PLAIN)
    typed = ("simulate", "flows.py", "--input", "url=x", "--exhaustive", "1")
    status, out, err = type_in(*typed)
    _, report, _ = type_in(*typed, "--json")
    _, part, _ = type_in(*typed, "--schedules", "3")

    assert (0, "") == (status, err)
    assert out.startswith("exhausted: all schedules with at most 1 deviation")
    assert (1, True, False) == tuple(
        json.loads(report)[name] for name in ("exhaustive", "exhausted", "complete")
    )
    assert part.startswith("not exhausted: ")


def test_equal_seeds_come_to_the_same(write, type_in):
    """All but the speed."""
    write(PLAIN)
    typed = ("simulate", "flows.py", "--json", "--input", "url=x", "--schedules", "100")
    reports = [json.loads(type_in(*typed, "--seed", seed)[1]) for seed in ("1", "1", "2")]
    for report in reports:
        del report["seconds"], report["schedules_per_second"]

    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


@pytest.mark.parametrize(
    ("options", "completes"),
    [
        (["--fail", "process:2"], True),
        (["--fail", "process:3"], False),
        (["--hang", "process:2"], True),
        (["--hang", "process"], False),
        (["--fail", "fetch"], False),
    ],
    ids=["two fail", "three fail", "two hang", "all hang", "all fail"],
)
def test_attempts_fail_and_hang_as_typed(write, type_in, options, completes):
    """A step with three attempts gets over two, and not over all."""
    write(PLAIN)
    typed = ("simulate", "flows.py", "--json", "--input", "url=x", "--schedules", "100")
    report = json.loads(type_in(*typed, *options)[1])

    assert completes == ("completed" in report["runs"])


def test_attempts_fail_with_an_error_that_is_tried_again(write, type_in):
    """As far as the policy names one of Python's own."""
    write(PLAIN.replace("jitter=0.0", "jitter=0.0, retryable_errors=[UnicodeDecodeError, OSError]"))
    typed = ("simulate", "flows.py", "--json", "--input", "url=x", "--schedules", "100")

    assert "completed" in json.loads(type_in(*typed, "--fail", "process:2")[1])["runs"]


def test_actors_crash_when_that_is_typed(write, type_in):
    """At a moment that is chosen, and not otherwise."""
    line = 'assert ended.index("one") < ended.index("two"), ended'
    write(FALSE.replace(line, "assert not trace.faults, trace.faults"))
    typed = ("simulate", "flows.py", "--schedules", "200")

    assert 0 == type_in(*typed)[0]
    assert "FaultTrace" in type_in(*typed, "--crash")[1]


def test_a_law_that_breaks_is_told_with_its_chart_and_how_to_see_it_again(write, type_in, folder):
    """It stands in the workflow's file, and nobody had to name it."""
    write(FALSE)
    status, out, _ = type_in("simulate", "flows.py")
    law, seen, tape, _, head = out.partition("\nlaw ")[2].splitlines()[:5]

    assert 1 == status
    assert "one_comes_first is broken: The first step ends before the second." == law
    assert "seen: AssertionError: ['two', 'one']" == seen
    assert tape.startswith("tape: Tape({")
    assert ["executor", "supervisor", "run-1", "one", "two"] == head.split()
    assert out.endswith("\n  actorflow replay false-one_comes_first.json\n")
    assert (folder / "false-one_comes_first.json").exists()


def test_the_search_of_the_tutorial_finds_its_race_and_not_in_what_was_mended(example, type_in):
    """True coroutines, in virtual time."""
    status, out, _ = type_in("simulate", "double_charge.py:careless", "--real", "--seed", "7")

    assert 1 == status
    assert "seen: AssertionError: 2 charges" in out
    assert 0 == type_in("simulate", "double_charge.py:careful", "--real", "--schedules", "500")[0]


def test_a_law_of_ones_own_that_fails_without_the_true_functions_says_so(example, type_in):
    """It looks for what only they make."""
    _, out, _ = type_in("simulate", "double_charge.py:careless")

    assert "The law charged_once is your own." in out
    assert "add --real" in " ".join(out.split())


def test_what_is_found_is_told_as_json(example, type_in):
    """And nothing else is printed."""
    status, out, _ = type_in("simulate", "double_charge.py:careless", "--real", "--json")
    said = json.loads(out)

    assert 1 == status
    assert ("double_charge.py:careless", "careless") == (said["flow"], said["workflow_id"])
    assert ("charged_once", None) == (said["broken"]["law"], said["broken"]["number"])
    assert "careless-charged_once.json" == said["broken"]["saved"]


def test_a_finding_takes_no_other_ones_place(example, type_in, folder):
    """An earlier schedule may be the only one of its kind; the same one is kept once."""
    typed = ("simulate", "double_charge.py:careless", "--real")
    kept = folder / "careless-charged_once.json"
    type_in(*typed)
    type_in(*typed)
    once = [path.name for path in folder.glob("*.json")]
    kept.write_text("another", encoding="utf-8")
    _, out, _ = type_in(*typed)

    assert [kept.name] == once
    assert "another" == kept.read_text(encoding="utf-8")
    assert out.endswith("  actorflow replay careless-charged_once-2.json --real\n")


def test_a_finding_is_kept_where_it_is_asked_for(example, type_in, folder):
    """The command to see it again names that file."""
    (folder / "kept").mkdir()
    typed = ("simulate", "double_charge.py:careless", "--real")
    _, out, _ = type_in(*typed, "--save", "kept/a tape.json")

    assert out.endswith("  actorflow replay 'kept/a tape.json' --real\n")
    assert 1 == type_in("replay", "kept/a tape.json", "--real")[0]


def test_a_finding_that_cannot_be_kept_there_is_kept_elsewhere(example, type_in, folder):
    """It is not lost."""
    (folder / "careless-charged_once.json").mkdir()
    status, out, err = type_in("simulate", "double_charge.py:careless", "--real")
    (command,) = re.findall(r"  actorflow (replay \S+ --real)\n", out)

    assert 1 == status
    assert "careless-charged_once.json cannot be written: Is a directory.\n" == err
    assert 1 == type_in(*command.split())[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail", "proces:2"], "does not have. Did you mean 'process'? Its steps are: fetch"),
        (["--hang", "nothing"], "--hang names step 'nothing', which workflow 'plain' does not"),
        (["--fail", "process:0"], "--fail process:0 needs a number of attempts."),
        (["--fail", "process", "--hang", "process:1"], "step 'process' is named twice"),
        (["--save", "no/where.json"], "--save no/where.json is in a folder that does not exist."),
        (["--save", "."], "--save . is a folder. Name a file: --save ./FILE.json"),
        (["url=x"], "type: actorflow simulate flows.py --input url=x"),
        (["--input", "day=x"], "no step of workflow 'plain' takes the input 'day'."),
    ],
    ids=[
        "misspelt",
        "unknown",
        "no attempts",
        "twice",
        "no folder",
        "folder",
        "a word",
        "no such input",
    ],
)
def test_a_mistake_says_what_to_type(write, type_in, options, said):
    """On stderr, with the status of bad usage, before anything is run."""
    write(PLAIN)
    status, out, err = type_in("simulate", "flows.py", "--input", "url=x", *options)

    assert (2, "") == (status, out)
    assert said in err


def test_an_input_that_is_missing_says_what_to_type(write, type_in):
    """The whole command."""
    write(PLAIN)

    assert "Type: actorflow simulate flows.py --input url=..." in type_in("simulate", "flows.py")[2]


def test_a_step_that_hangs_for_ever_is_warned_of(write, type_in):
    """Its runs never end, and the report says that too."""
    write(PLAIN)
    typed = ("simulate", "flows.py", "--input", "url=x", "--schedules", "5", "--hang", "fetch")
    status, out, err = type_in(*typed)

    assert (0, "Warning: step 'fetch' hangs and has no timeout: it never ends.\n") == (status, err)
    assert "runs: 5 not ended" in out
    assert "fetch#1 never ends. Give it a timeout" in " ".join(out.split())


# ── Signals and terminals ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_search_with_what_was_found_so_far(write, number, status):
    """The report is that of the schedules that were tried."""
    typed = ("simulate", str(write(ENDLESS)), "--real", "--schedules", "1000000000")
    with started(*typed) as process:
        read_until(process.stderr, "it is called")
        process.send_signal(number)
        out, err = process.communicate(timeout=HANGS_AFTER)

    assert status == process.returncode
    assert re.match(r"Interrupted after [\d,]+ of 1,000,000,000 schedules\.\n", out)
    assert out.endswith("\n\nno law broken\n")
    assert "Traceback" not in err


def test_a_search_that_is_interrupted_still_prints_its_json(write):
    """Whoever parses it learns how far it came."""
    typed = ("simulate", str(write(ENDLESS)), "--real", "--schedules", "1000000000", "--json")
    with started(*typed) as process:
        read_until(process.stderr, "it is called")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=HANGS_AFTER)

    assert 130 == process.returncode
    assert (True, None) == (json.loads(out)["interrupted"], json.loads(out)["broken"])


@pytest.mark.parametrize("columns", [100, 30, 12])
def test_a_terminal_shows_how_far_the_search_is(write, columns):
    """As much of it as fits, and it is gone at the end."""
    path = write(ENDLESS.replace("print(", "0 and print("))
    with Terminal(
        *("simulate", str(path), "--real", "--schedules", "1000000000"), columns=columns
    ) as terminal:
        # Of the first picture, with nought, it would not be sure that signals are heard yet.
        while not re.search(r"[^\d,/][1-9][\d,]*/", terminal.plain):
            assert terminal.read()
        terminal.process.send_signal(signal.SIGINT)
        status = terminal.read_all()

    assert 130 == status
    assert "Interrupted after" in terminal.plain


def test_in_a_terminal_a_chart_is_cut_to_its_width(example):
    """A line that is too long would break the lanes of all others."""
    with Terminal("simulate", str(example) + ":careless", "--real", columns=60) as terminal:
        terminal.read_all()
    chart = [line for line in terminal.plain.splitlines() if "│" in line]

    assert chart
    assert 60 >= max(map(len, chart))


# ── Replays ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kept(example, type_in):
    """A schedule that the search has kept, and what was said of it."""
    _, out, _ = type_in("simulate", "double_charge.py:careless", "--real", "--workers", "3")
    return out


def told(out):
    """How a law is broken, with the chart, as printed."""
    return re.search(r"^law .*completed$", out, re.MULTILINE | re.DOTALL)[0]


def test_what_was_kept_is_seen_again_in_another_process(kept, folder):
    """The same law, the same chart, message by message."""
    status, out, err = finished("replay", "careless-charged_once.json", "--real", cwd=folder)

    assert (1, "") == (status, err)
    assert told(kept) == told(out)
    assert out.endswith("\n\nThe same as when it was saved, message by message.\n")


def test_what_was_kept_is_drawn_as_mermaid(kept, type_in):
    """The diagram alone on stdout, the rest on stderr."""
    status, out, err = type_in("replay", "careless-charged_once.json", "--real", "--mermaid")

    assert 1 == status
    assert out.startswith("sequenceDiagram\n    participant ")
    assert err.startswith("law charged_once is broken: ")


def test_a_workflow_that_was_mended_keeps_the_law(kept, type_in, folder):
    """And it is said what has been changed since."""
    path = folder / "double_charge.py"
    mended = path.read_text().replace("gateway.charge(amount)", "gateway.charge(amount, 'one key')")
    path.write_text(mended.replace("timeout=5.0", "timeout=4.0"))
    status, out, err = finished("replay", "careless-charged_once.json", "--real", cwd=folder)

    assert (0, "") == (status, err)
    assert (
        "no law broken\n\n"
        "Not the same as when it was saved: the workflow, or what its steps do, has changed.\n"
        "  timeout of step 'charge' is 4.0, and was 5.0\n"
    ) in out


def test_a_law_that_is_gone_is_missed(kept, folder):
    """That nothing is broken would be no news then."""
    path = folder / "double_charge.py"
    path.write_text(path.read_text().replace("@law\n", ""))
    status, out, _ = finished("replay", "careless-charged_once.json", "--real", cwd=folder)

    assert 2 == status
    assert "The law 'charged_once', which it broke, is no longer defined beside" in out


def test_of_several_laws_that_break_the_one_is_told_that_did_so_before(write, type_in, folder):
    """The schedule was made small for that one."""
    write(f"{FALSE}{TELLING}")
    type_in("simulate", "flows.py", "--save", "kept.json")
    said = json.loads((folder / "kept.json").read_text()) | {"choices": {"deliver": [0, 0, 0, 1]}}
    for law in ("one_comes_first", "settings_are"):
        (folder / "kept.json").write_text(json.dumps(said | {"law": law}))

        assert type_in("replay", "kept.json")[1].startswith(f"law {law} is broken")


def test_a_law_is_known_by_its_former_name(kept, type_in, folder):
    """The file was saved before the law was renamed."""
    path = folder / "careless-charged_once.json"
    said = json.loads(path.read_text()) | {"law": "leases_add_up"}
    path.write_text(json.dumps(said))

    _, out, _ = type_in("replay", path.name)

    assert "is not beside the workflow" not in out


def test_a_schedule_of_another_workflow_is_refused(kept, type_in):
    """Its choices would mean something else."""
    typed = ("replay", "careless-charged_once.json", "--flow", "double_charge.py:careful")
    status, out, err = type_in(*typed)

    assert (2, "") == (status, out)
    assert "the schedule belongs to workflow 'careless', not to this one. Replay it on work" in err


def test_of_several_workflows_the_replay_offers_each(kept, type_in):
    """As it has to be typed after the file."""
    typed = ("replay", "careless-charged_once.json", "--flow", "double_charge.py")
    status, _, err = type_in(*typed)

    assert 2 == status
    assert "  actorflow replay careless-charged_once.json --flow double_charge.py:careful\n" in err


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"options": {"tmeout": 3}}, "options of a replay hold 'tmeout'. Save it again."),
        ({"shape": {"charge": 3}}, "shape of a replay is {'charge': 3}. Save it again."),
        ({"cancel_at": "x"}, "cancel_at must be zero or a positive number"),
        ({"script": {"steps": {"chrge": HANGING}, "default": HANGING}}, "Did you mean 'charge'?"),
    ],
    ids=["options", "shape", "moment", "script"],
)
def test_a_schedule_that_somebody_has_edited_is_refused(kept, type_in, folder, part, said):
    """With the file's name, and not with a traceback and the status of a broken law."""
    path = folder / "careless-charged_once.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | part))
    status, out, err = type_in("replay", path.name)

    assert (2, "") == (status, out)
    assert err.startswith(f"Error: {path.name}: ")
    assert said in err


def test_a_workflow_that_has_moved_can_be_named(kept, type_in, folder):
    """And until it is, the error says how."""
    (folder / "double_charge.py").rename(folder / "charging.py")
    status, _, err = type_in("replay", "careless-charged_once.json")

    assert 2 == status
    assert "type: actorflow replay careless-charged_once.json --flow FILE:FLOW" in err
    typed = ("replay", "careless-charged_once.json", "--flow", "charging.py:careless", "--real")
    assert 1 == type_in(*typed)[0]


def test_an_error_that_is_defined_beside_the_workflow_can_be_raised_again(write, folder):
    """It is the same class as the one in the step's policy."""
    write(BUSY)
    found = finished("-c", "from flows import keep; keep()", cwd=folder, command=(sys.executable,))
    status, out, _ = finished("replay", "kept.json", cwd=folder)

    assert (0, "", "") == found
    assert 1 == status
    assert "call#1 raised Busy" in out
    assert "call#2 raised Busy" in out


def test_inputs_scripts_and_faults_are_kept_too(write, type_in):
    """A replay needs nothing that was typed before."""
    write(f"{PLAIN}{TELLING}")
    typed = ("--fail", "fetch:1", "--crash", "--workers", "5", "--input", "url=x")
    _, found, _ = type_in("simulate", "flows.py", *typed)
    _, again, _ = type_in("replay", "plain-settings_are.json")
    (line,) = re.findall(r"^seen: .*", again, re.MULTILINE)

    assert line in found
    assert "async_workers=5, faults=Faults(crashes=1)" in line
    assert "'url': 'x'" in line
    assert "--fail fetch:1" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "kept.json cannot be read: No such file or directory."),
        ("{", "kept.json is not a saved schedule, because it is not valid JSON"),
        ("[]", 'kept.json: the JSON of a tape does not have "actorflow_tape": 1'),
        ('{"actorflow_tape": 1, "choices": {}}', "Type: actorflow replay kept.json --flow"),
    ],
    ids=["no file", "no JSON", "another JSON", "a tape alone"],
)
def test_a_file_that_holds_no_schedule_is_refused(type_in, folder, text, said):
    """With the status of bad usage."""
    if text is not None:
        (folder / "kept.json").write_text(text)
    status, out, err = type_in("replay", "kept.json")

    assert (2, "") == (status, out)
    assert said in err
