"""The command line, as a process that is started, read, interrupted and cut off."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from actorflow.cli.inputs import read_inputs
from actorflow.cli.terminal.exits import Problem
from actorflow.cli.terminal.streams import whole_lines
from actorflow.cli.terminal.values import as_json, in_full, in_one_line, traceback_of
from actorflow.errors.running import StepCancelled
from tests.support.command_line import (
    COMMAND,
    HANGS_AFTER,
    Terminal,
    environment,
    finished,
    read_until,
    started,
)

LESSON = """
    from actorflow import RetryPolicy, Workflow

    flow = Workflow("lesson", name="The lesson")
    tries = []

    @flow.step
    def fetch(url, count=1):
        print("fetching", url)
        return {"url": url, "count": count}

    @flow.step(after=fetch, async_=True, retry=RetryPolicy(initial_interval=0.001))
    async def process(fetch):
        tries.append(1)
        if len(tries) < 2:
            raise OSError("not yet")
        return "processed"

    @flow.step(after=fetch, async_=True, required=False)
    async def enrich(fetch):
        raise LookupError("nothing there")

    @flow.step(after=[process, enrich])
    def aggregate(process, enrich=None):
        return [process, enrich]
"""

FAILING = """
    from actorflow import Workflow

    flow = Workflow("failing")

    @flow.step
    def read():
        try:
            return {}["key"]
        except KeyError as error:
            raise ValueError("no key") from error
"""

# Ends only when it is cancelled.
WAITING = """
    import asyncio
    from actorflow import Workflow

    flow = Workflow("waiting")

    @flow.step(async_=True)
    async def wait():
        print("it waits", flush=True)
        await asyncio.Event().wait()
"""

# Never ends: a thread that nobody can stop.
HANGING = """
    import threading
    from actorflow import Workflow

    flow = Workflow("hanging")

    @flow.step(async_=True)
    def hang():
        print("it hangs", flush=True)
        threading.Event().wait()
"""

TWO = """
    from actorflow import Workflow, WorkflowBuilder

    first, second = Workflow("one"), Workflow("another")
    again = first
    builder = WorkflowBuilder("third", "Third")

    @first.step
    def work(name): ...

    @second.step
    def all_of(inputs):
        return dict(inputs)
"""


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────


def test_a_run_prints_a_line_per_event_and_then_its_report(write, type_in):
    """Where there is no terminal: plain lines, outputs, chart, wall time and bound."""
    write(LESSON)
    status, out, err = type_in("run", "flows.py", "--input", "url=here")
    events, outputs, chart, verdict = out.strip().split("\n\n")
    kinds = re.findall(r"^\+\d+\.\d{3}s ([a-z]+\.[a-z]+)(?: (\w+))?", events, re.MULTILINE)

    assert 0 == status
    assert [("run.accepted", ""), ("run.started", "")] == kinds[:2]
    assert ("run.completed", "") == kinds[-1]
    assert ("step.retrying", "process") in kinds
    assert "fetching here" in events
    assert [
        "fetch = {'url': 'here', 'count': 1}",
        "process = 'processed'",
        "aggregate = ['processed', None]",
    ] == outputs.splitlines()
    assert ["fetch", "process", "enrich", "aggregate"] == [
        line.split()[0] for line in chart.splitlines()[:4]
    ]
    assert re.match(r"completed: wall time .+, lower bound .+, the largest of", verdict)
    assert "step 'enrich' was skipped: LookupError: nothing there\n" == err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_chart_of_a_run_can_be_kept_as_svg(write, type_in, folder, form):
    """In a file, whichever way the result is shown."""
    write(LESSON)
    status, _, _ = type_in("run", "flows.py", "--input", "url=x", "--svg", "run.svg", *form)
    svg = (folder / "run.svg").read_text("utf-8")

    assert 0 == status
    assert svg.startswith("<svg ")
    assert all(f">{step_id}</text>" in svg for step_id in ("fetch", "process", "aggregate"))


@pytest.mark.parametrize(
    ("name", "told"),
    [("nowhere/run.svg", "in a folder that does not exist"), (".", "--svg ./FILE.svg")],
)
def test_a_chart_that_cannot_be_kept_is_refused_before_the_run(write, type_in, name, told):
    """Nothing is run in vain."""
    write(LESSON)
    status, out, err = type_in("run", "flows.py", "--input", "url=x", "--svg", name)

    assert (2, "") == (status, out)
    assert told in err


def test_of_many_outputs_some_are_shown_and_the_rest_is_counted(write, type_in):
    """A report is there to be read."""
    write("""
        from actorflow import Workflow

        flow = Workflow("wide")
        for number in range(50):
            @flow.step(id=f"step-{number}", async_=True)
            async def work():
                return 1

        @flow.step(after=[f"step-{number}" for number in range(25)])
        def join(): ...
    """)
    _, out, _ = type_in("run", "flows.py")

    assert 40 == len(re.findall(r"^step-\d+ = 1$", out, re.MULTILINE))
    assert "\n… and 11 more outputs; --json prints them all\n" in out
    assert "\n… and 11 more steps\n" in out


def test_inputs_come_as_texts_or_as_json(write, type_in, folder):
    """A plain input is a text, whatever it looks like; JSON has types."""
    write(TWO)
    (folder / "more.json").write_text('{"deep": {"list": [1, null]}}')
    status, out, _ = type_in(
        *("run", "flows.py:second", "--json", "--input", "n=3", "--input", "empty="),
        *("--input-json", '{"m": 3}', "--input-json", "@more.json"),
    )

    assert 0 == status
    assert {"n": "3", "empty": "", "m": 3, "deep": {"list": [1, None]}} == json.loads(out)["output"]


def test_inputs_can_come_from_stdin(write):
    """So that another program can make them."""
    path = write(TWO)
    arguments = [*COMMAND, "run", f"{path}:second", "--input-json", "-", "--json"]
    ended = subprocess.run(
        arguments, input='{"n": 1.5}', env=environment(), capture_output=True, text=True, check=True
    )

    assert {"n": 1.5} == json.loads(ended.stdout)["output"]


def test_json_is_alone_on_stdout(write):
    """What the file, its steps and the programs they start print goes to stderr."""
    path = write("""
        import os, subprocess, sys
        from actorflow import Workflow

        print("imported")
        flow = Workflow("noisy")

        @flow.step
        def shout():
            print("printed")
            sys.__stdout__.write("written\\n")
            sys.__stdout__.flush()
            subprocess.run(["echo", "echoed"], check=True)
            return {"when": {1, 2}}
    """)
    status, out, err = finished("run", str(path), "--json")
    result = json.loads(out)

    assert 0 == status
    assert {"imported", "printed", "written", "echoed"} == set(err.split())
    assert ("completed", {"when": [1, 2]}) == (result["status"], result["output"])
    assert 1 == result["steps"]["shout"]["attempts"]
    assert result["bounds"]["lower"] <= result["duration"]


def test_a_failed_run_shows_the_traceback_from_the_users_code_on(write, type_in):
    """Causes included; neither threads nor actorflow have a frame in it."""
    path = write(FAILING)
    status, out, err = type_in("run", "flows.py")

    assert 1 == status
    assert "step.failed read #1 ValueError: no key" in out
    assert (
        f"""
step 'read' failed in attempt 1:
Traceback (most recent call last):
  File "{path}", line 9, in read
    return {{}}["key"]
           ~~^^^^^^^
KeyError: 'key'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{path}", line 11, in read
    raise ValueError("no key") from error
ValueError: no key
"""
        == err
    )


def test_a_failed_run_tells_its_error_as_json(write, type_in):
    """Type, message and traceback, and which step it was."""
    write(FAILING)
    status, out, err = type_in("run", "flows.py", "--json")
    result = json.loads(out)

    assert (1, "") == (status, err)
    assert ("failed", "read") == (result["status"], result["failed_step"])
    assert ("ValueError", "no key") == (result["error"]["type"], result["error"]["message"])
    assert "KeyError: 'key'" in result["error"]["traceback"]


def test_a_run_is_cut_by_its_timeout(write):
    """That is a failure, and the reason is said."""
    status, _, err = finished("run", str(write(WAITING)), "--timeout", "0.05")

    assert 1 == status
    assert "DeadlineExceeded" in err


def test_the_workers_are_those_asked_for(write, type_in):
    """With a single one, two async steps cannot wait for each other."""
    write("""
        import asyncio
        from actorflow import Workflow

        flow = Workflow("meeting")
        arrived = []

        @flow.step(async_=True)
        async def here():
            arrived.append("here")
            await asyncio.sleep(0)
            return list(arrived)

        @flow.step(async_=True)
        async def there():
            arrived.append("there")
    """)
    _, out, _ = type_in("run", "flows.py", "--workers", "1", "--json")

    assert ["here"] == json.loads(out)["outputs"]["here"]
    assert 1 == json.loads(out)["bounds"]["workers"]


def test_a_flow_can_be_a_module_of_a_package(write, type_in):
    """By its dotted name, from the folder that the command is typed in."""
    write("", "package/__init__.py")
    write("NAME = 'near'", "package/near.py")
    write(TWO + "\n    from package.near import NAME", "package/flows.py")

    assert (0, "another is valid: 1 step, needs no input\n", "") == type_in(
        "validate", "package.flows:second"
    )


def test_a_file_can_import_its_neighbours_when_its_steps_run(write, type_in, folder):
    """Its folder stays on the path, and what it defines can be pickled."""
    write("VALUE = 5", "deep/neighbour.py")
    write(
        """
        import pickle
        from dataclasses import dataclass
        from actorflow import Workflow

        flow = Workflow("late")

        @dataclass
        class Found:
            value: int

        @flow.step
        def late():
            from neighbour import VALUE
            return pickle.loads(pickle.dumps(Found(VALUE)))
        """,
        "deep/late-flows.py",
    )
    status, out, _ = type_in("run", "deep/late-flows.py", "--json")

    assert (0, {"value": 5}) == (status, json.loads(out)["output"])


# ── Other commands ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("text", "lesson (The lesson)"), ("mermaid", "flowchart TD"), ("dot", 'digraph "lesson" {')],
)
def test_a_graph_is_drawn_in_three_forms(write, type_in, form, beginning):
    """For people, for Markdown and for Graphviz."""
    write(LESSON)
    status, out, err = type_in("graph", "flows.py", "--format", form)

    assert (0, "") == (status, err)
    assert out.startswith(beginning)


def test_validating_says_what_a_run_needs(write, type_in):
    """It is the answer to what to type next."""
    write(LESSON)

    assert (0, "lesson is valid: 4 steps, needs url, can take count\n", "") == type_in(
        "validate", "flows.py:lesson"
    )


def test_the_version_can_be_asked_for(type_in):
    """The installed one."""
    status, out, _ = type_in("--version")

    assert 0 == status
    assert re.fullmatch(r"actorflow \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "flow.py"], "there is no file flow.py. Did you mean: actorflow run flows.py"),
        (["run", "nowhere/x.py"], "Type: actorflow run PATH/TO/FILE.py"),
        (["graph", "."], ". is a folder. Did you mean: actorflow graph flows.py"),
        (["run", "no.such.module"], "there is neither a file nor a module no.such.module."),
        (["graph", "flows.py"], "one of these:\n  actorflow graph flows.py:first\n  actorflow gr"),
        (["run", "flows.py:third"], "flows.py has no workflow 'third'. Type one of these:"),
        (["run", "flows.py:builder"], "is a WorkflowBuilder, not a Workflow. Call .build() on"),
        (["run", "empty.py"], "empty.py defines no workflow. Define one as a global variable"),
        (["run", "string.py"], "string.py would hide the module 'string', which is in use. Rename"),
        (["run", "flows.txt"], "flows.txt is not a Python file."),
        (["run", "flows.py:one"], "Type: actorflow run flows.py:one --input name=..."),
        (["run", "flows.py:first", "--input", "nmae=x"], "(you passed 'nmae')"),
        (
            ["run", "flows.py:first", "--input", "name=x", "--input", "nmae=x"],
            "takes the input 'nmae' (did you mean 'name'?). The inputs are: 'name'.",
        ),
        (["run", "flows.py:first", "--input", "name"], "not of the form NAME=VALUE"),
        (["run", "x", "--input", "a=1", "--input", "a=2"], "the input 'a' is given twice"),
        (["run", "x", "--input-json", "{"], "is not JSON: Expecting"),
        (["run", "x", "--input-json", "[1]"], "is not an object. For example, type: --input-json"),
        (["run", "x", "--input-json", "{n: 3}"], "(char 1). For example, type: --input-json '{"),
        (["run", "x", "--input-json", "in/x.json"], "type: --input-json @in/x.json\n"),
        (["run", "x", "--input-json", "{" * 5000], f"--input-json '{'{' * 60}…' is not JSON"),
        (["run", "x", "--input-json", '{"a": 1, "a": 2}'], "the input 'a' is given twice"),
        (["run", "x", "--input-json", '{"a": {"b": 1, "b": 2}}'], "the key 'b' of an input"),
        (["run", "x", "--input-json", "@none.json"], "file or directory. Pass the path"),
        (["run", "flows.py:second", "--timeout", "-1"], "timeout must be a positive number"),
        (
            ["run", "flows.py:second", "--timeout", "x"],
            "'--timeout': it takes seconds, such as 5\n",
        ),
        (["run", "flows.py:second", "--workers", "0"], "--workers"),
        (["run", "flows.py:second", "--workers", "x"], "it takes a whole number, such as 5\n"),
        (["validate", "cycle.py"], "its steps wait for each other: a -> b -> a"),
        (["graph", "cycle.py"], "\n\n┌──> a  after b\n└─── b  after a\n"),
        (["graph", "cycle.py", "--format", "dot"], "\n\n┌──> a  after b\n└─── b  after a\n"),
        (["run", "picky.py"], "from a program that has the executor 'gpu'."),
        (["dance"], "No such command 'dance'"),
        (["run", "flows.py", "a b=1"], "type: actorflow run flows.py --input 'a b=1'\n"),
        (["run", "flows.py", "x.csv"], "unexpected argument 'x.csv'. To pass an input, type: "),
        (["run", "flows.py", "x.csv"], "actorflow run flows.py --input NAME=x.csv\n"),
        (["run", "flows.py", "first"], "of flows.py, type: actorflow run flows.py:first\n"),
        (["run"], "Missing argument 'FILE[:FLOW]'"),
    ],
)
def test_bad_usage_says_what_to_type(write, type_in, arguments, said):
    """On stderr, with exit status 2, and nothing on stdout."""
    write(TWO)
    write("x = 1", "empty.py")
    write("", "string.py")
    write("", "flows.txt")
    write(
        """
        from actorflow import Step, Workflow

        flow = Workflow("round")
        flow.add(Step("a", lambda: None, after="b"))
        flow.add(Step("b", lambda: None, after="a"))
        """,
        "cycle.py",
    )
    write(
        """
        from actorflow import Workflow

        flow = Workflow("picky")

        @flow.step(executor="gpu")
        def render(): ...
        """,
        "picky.py",
    )
    status, out, err = type_in(*arguments)

    assert (2, "") == (status, out)
    assert said in err
    assert "Traceback" not in err


def test_what_is_surely_a_mistake_is_warned_of_on_stderr(write):
    """Once, without the line of the command itself that Python would show."""
    path = write("""
        import warnings
        from actorflow import Workflow

        flow = Workflow("loose")

        @flow.step
        def collect(inputs, limit=3):
            return limit

        warnings.warn("of the file's own", stacklevel=1)
    """)
    status, _, err = finished("run", str(path), "--input", "limti=4", "--json")

    assert 0 == status
    assert f"{path}:11: UserWarning: of the file's own" == err.splitlines()[0]
    assert (
        "Warning: workflow 'loose': no step names the input 'limti', and 'limit' is not given. "
        "Did you mean 'limit'? If not, name 'limti' in a step that looks it up in `inputs`."
    ) == err.splitlines()[-1]
    assert 1 == err.count("Did you mean")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import sys\n    sys.exit(0)", '`if __name__ == "__main__":`'),
        ("from . import sibling", "Name it as a module of its package"),
        ("from actorflow import Workflow\n    Workflow('')", "a workflow's id is ''"),
    ],
)
def test_a_broken_file_shows_its_own_traceback(write, type_in, source, said):
    """It begins in the file: how the file came to be imported is no part of it."""
    path = write(f"    {source}")
    status, out, err = type_in("run", "flows.py")
    frames = re.findall(r'File "(.+?)"', err)

    assert (2, "") == (status, out)
    assert said in err
    assert [str(path)] == list(dict.fromkeys(frames))


def test_without_the_extra_the_command_says_what_to_install(folder):
    """It is a sentence, and no traceback."""
    hidden = "import sys; sys.modules['typer'] = None; import actorflow.cli as cli; "
    code = f"{hidden}sys.exit(cli.main(['--version']))"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )

    assert (2, "") == (ended.returncode, ended.stdout)
    assert "needs typer, which is not installed. Type: pip install 'actorflow[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_package_can_be_run_like_the_command(folder):
    """With the command's name in the help."""
    ended = subprocess.run(
        [sys.executable, "-m", "actorflow", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert "Usage: actorflow [OPTIONS] COMMAND" in ended.stdout


# ── Signals and pipes ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_run_cleanly(write, number, status):
    """Its events say so, the report comes all the same, and the exit status is the signal's."""
    with started("run", str(write(WAITING))) as process:
        read_until(process.stdout, "it waits")
        process.send_signal(number)
        out, err = process.communicate(timeout=HANGS_AFTER)

    assert status == process.returncode
    assert "run.cancelled (interrupted)" in out
    assert re.search(r"^cancelled: wall time", out, re.MULTILINE)
    assert err.endswith("the run was cancelled: interrupted\n")
    assert "Traceback" not in err


def test_an_interrupted_run_still_prints_its_json(write):
    """Whoever parses it learns how far the run came."""
    with started("run", str(write(WAITING)), "--json") as process:
        read_until(process.stderr, "it waits")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=HANGS_AFTER)

    assert 130 == process.returncode
    assert ("cancelled", "interrupted") == (json.loads(out)["status"], json.loads(out)["reason"])


def test_a_second_interrupt_leaves_at_once(write):
    """Also while a thread hangs that nobody can stop."""
    with started("run", str(write(HANGING))) as process:
        read_until(process.stdout, "it hangs")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "press Ctrl-C again to exit at once")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS_AFTER)

    assert 130 == process.returncode
    assert "run.cancelled" not in out
    assert "Exited at once" in err


def test_an_interrupt_while_the_file_is_imported_ends_the_command(write):
    """There is no run yet that could be cancelled."""
    path = write("""
        import threading
        print("importing", flush=True)
        threading.Event().wait()
    """)
    with started("run", str(path)) as process:
        read_until(process.stdout, "importing")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANGS_AFTER)

    assert (130, "") == (process.returncode, err)


def test_signal_handlers_are_as_they_were_afterwards(write, type_in):
    """They are heard only while a run is in progress."""
    write(FAILING)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    type_in("run", "flows.py")

    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_reader_that_goes_away_ends_the_command_quietly(write):
    """Like any program in a pipe whose other end is closed."""
    path = write("""
        import asyncio
        from actorflow import Workflow

        flow = Workflow("long")

        @flow.step(id="s0", async_=True)
        async def first(): ...

        for number in range(1, 2000):
            @flow.step(id=f"s{number}", after=f"s{number - 1}", async_=True)
            async def following(): ...
    """)
    with started("run", str(path)) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        status = process.wait(HANGS_AFTER)

    assert (141, "") == (status, err)


# ── On a terminal ────────────────────────────────────────────────────────────────────────────


def test_a_terminal_shows_a_live_tree(write):
    """Steps with state, attempt and time, a bar, what they print above it, the report below."""
    with Terminal("run", str(write(LESSON)), "--input", "url=here") as terminal:
        status = terminal.read_all()
    tree, _, report = terminal.plain.rpartition("4/4")

    assert 0 == status
    assert "fetching here" in terminal.plain
    assert re.search(r"✓ fetch +completed +#1 +[\d.]+ m?s", tree)
    assert re.search(r"├─ ✓ process +completed +#2 +[\d.]+ m?s", tree)
    assert re.search(r"│  └─ ✓ aggregate +completed .* also after enrich", tree)
    assert re.search(r"└─ ↷ enrich +skipped +#1 +[\d.]+ m?s +LookupError: nothing there", tree)
    assert "The lesson  ━━━" in tree
    assert "aggregate = ['processed', None]" in report
    assert "step.started" not in terminal.plain


def test_a_flow_taller_than_the_terminal_shows_what_is_going_on(write):
    """The active steps, and how many there are of each state."""
    path = write("""
        import asyncio
        from actorflow import Workflow

        flow = Workflow("tall")
        for number in range(100):
            @flow.step(id=f"step-{number}", async_=True)
            async def wait():
                await asyncio.Event().wait()
    """)
    with Terminal("run", str(path), "--workers", "40", rows=12) as terminal:
        terminal.read_until("60 ready, 40 running")
        terminal.process.send_signal(signal.SIGINT)
        status = terminal.read_all()

    assert 130 == status
    assert re.search(r"(● step-\d+ +running +#1 +\S+ m?s *\n){9}60 ready, 40", terminal.plain)
    assert "100 cancelled" in terminal.plain
    assert "… and 60 more steps" in terminal.plain


def test_ctrl_c_twice_gives_the_terminal_its_cursor_back(write):
    """The first one asks, the second one leaves."""
    with Terminal("run", str(write(HANGING))) as terminal:
        terminal.read_until("it hangs")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("press Ctrl-C again")
        terminal.process.send_signal(signal.SIGINT)
        status = terminal.read_all()

    assert 130 == status
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (60, r"✗ read +failed +#1 +[\d.]+ m?s +ValueError: no .*…"),
        (30, r"✗ read +failed +#1 +[\d.]+ m?s\s*\n"),
        (22, r"✗ read +#1 +[\d.]+ m?s\s*\n"),
        (15, r"✗ read +[\d.]+ m?s\s*\n"),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(write, columns, row):
    """The remark goes first, the time last, and no figure is cut."""
    source = FAILING.replace("no key", "no key whatever, wherever one looks for it")
    with Terminal("run", str(write(source)), columns=columns) as terminal:
        terminal.read_all()

    assert re.search(row, terminal.plain)
    assert re.search(r"1/1 +[\d.]+ m?s", terminal.plain)


def test_a_step_that_hangs_in_a_read_does_not_spoil_the_exit(write):
    """Its thread is left behind, with the lock of stdin that Python wants at the exit."""
    path = write("""
        import atexit
        from actorflow import Workflow

        atexit.register(print, "its own hook")
        flow = Workflow("asking")

        @flow.step(timeout=0.1)
        def ask():
            return input()
    """)
    with started("run", str(path), stdin=subprocess.PIPE) as process:
        out, err = process.stdout.read(), process.stderr.read()
        status = process.wait(HANGS_AFTER)

    assert (1, True) == (status, out.endswith("its own hook\n"))
    assert err.rstrip().endswith("or make the step faster.")


def test_a_terminal_can_be_without_colours(write):
    """`NO_COLOR` takes the colours away and leaves the picture."""
    with Terminal("run", str(write(FAILING)), NO_COLOR="1") as terminal:
        terminal.read_all()

    assert "✗ read" in terminal.plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.shown)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(write):
    """`TERM=dumb` is what editors and logs say of themselves."""
    with Terminal("run", str(write(FAILING)), TERM="dumb") as terminal:
        terminal.read_all()

    assert "step.started read #1" in terminal.plain
    assert "\x1b" not in terminal.shown


# ── Streams ──────────────────────────────────────────────────────────────────────────────────


def test_lines_of_several_threads_do_not_mix(capsys):
    """A line that is printed in pieces waits for its end while others pass it."""
    with whole_lines():
        sys.stdout.write("in ")
        other = threading.Thread(target=print, args=("from", "elsewhere"))
        other.start()
        other.join()
        sys.stdout.write("pieces\nand ")
        sys.stdout.flush()
        sys.stdout.write("flushed\nleft over")

    assert "from elsewhere\nin pieces\nand flushed\nleft over" == capsys.readouterr().out


def test_what_an_encoding_lacks_is_written_plainly(write):
    """A chart in other signs is better than none; what there is no sign for is a `?`."""
    latin = environment(PYTHONUTF8="0", PYTHONIOENCODING="latin-1")
    path = write("""
        from actorflow import Workflow

        flow, ring = Workflow("flow"), Workflow("ring")

        @flow.step
        def works():
            return "5 \u20ac"

        @flow.step(after=works)
        def fails():
            raise LookupError

        ring.step(lambda: None, id="a", after="b")
        ring.step(lambda: None, id="b", after="a")
    """)
    status, out, _ = finished("run", f"{path}:flow", env=latin)
    _, _, err = finished("graph", f"{path}:ring", env=latin)

    assert 1 == status
    assert "works = '5 ?'" in out
    assert re.search(r"^works +#+ ", out, re.MULTILINE)
    assert re.search(r"^fails +x+ .*failed$", out, re.MULTILINE)
    assert err.endswith("\n\n,--> a  after b\n`--- b  after a\n")


# ── Values ───────────────────────────────────────────────────────────────────────────────────


def test_inputs_keep_their_order():
    """As they were typed."""
    assert ["b", "a", "c"] == list(read_inputs(["b=1", "a=2"], ['{"c": 3}']))


def test_an_input_may_hold_equals_signs():
    """Only the first one parts the name from the value."""
    assert {"query": "a=b"} == read_inputs(["query=a=b"], [])


def test_an_input_without_a_name_is_refused():
    """There is nobody to give it to."""
    with pytest.raises(Problem, match="NAME=VALUE"):
        read_inputs(["=3"], [])


class Stubborn:
    """A value that will not be shown."""

    def __repr__(self):
        raise RuntimeError


@attrs.frozen
class Point:
    """A value with fields."""

    x: object
    y: object


def nested(depth):
    """A list in a list in a list."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": (1, 2.5, None, True)}, {"a": [1, 2.5, None, True]}),
        ({1: "x", ("a",): "y"}, {"1": "x", "('a',)": "y"}),
        (float("nan"), "nan"),
        (Point(1, [Point(2, None)]), {"x": 1, "y": [{"x": 2, "y": None}]}),
        ([Point.__new__(Point)], ["<Point whose repr fails>"]),
        (b"bytes", "b'bytes'"),
        (Path("a") / "b", "a/b"),
        (signal.SIGINT, 2),
        (Stubborn(), "<Stubborn whose repr fails>"),
        (Stubborn, repr(Stubborn)),
    ],
)
def test_any_value_has_a_json_form(value, expected):
    """What JSON has is kept; the rest becomes the nearest thing, at last its `repr`."""
    assert expected == as_json(value)
    assert json.loads(json.dumps(as_json(value), allow_nan=False)) == expected


def test_a_number_too_long_for_decimal_digits_has_a_json_form():
    """Python refuses to write it in decimal, so it is written in hexadecimal."""
    assert [hex(10**5000)] == as_json([10**5000])


def test_values_that_hold_themselves_or_go_too_deep_have_a_json_form():
    """A report must not fail over what it reports."""
    circle = {}
    circle["self"] = [circle]

    assert {"self": ["(circular)"]} == as_json(circle)
    assert isinstance(json.dumps(as_json(nested(100_000))), str)


def test_an_error_as_a_value_is_told_like_one():
    """A step may return one."""
    told = as_json({"error": ValueError("no")})["error"]

    assert ("ValueError", "no", "ValueError: no") == tuple(told.values())


def test_values_are_shown_whatever_they_are():
    """On one line they are cut; texts of several lines are shown as they stand."""
    assert "[0, 1, 2, 3, 4, 5, …" == in_one_line(list(range(1000)), 20)
    assert "{'b': 1, 'a': [[]]}" == in_one_line({"b": 1, "a": [[]]}, 80)
    assert "<Stubborn instance at" in in_one_line(Stubborn(), 80)
    assert "<int whose repr fails>" == in_one_line(10**5000, 80)
    assert ["one", "two"] == list(in_full("one\ntwo\n", 80))
    assert ["<Stubborn whose repr fails>"] == list(in_full(Stubborn(), 80))


def test_an_error_of_actorflow_itself_ends_where_the_user_called_it():
    """How actorflow came to raise it is no part of the story."""

    def step():
        raise StepCancelled("run", "step", "unwanted")

    with pytest.raises(StepCancelled) as caught:
        step()

    assert traceback_of(caught.value).endswith(
        "actorflow.StepCancelled: step 'step' of run 'run' was cancelled: unwanted. "
        "Let this error pass."
    )


def test_causes_and_the_parts_of_a_group_are_cut_too():
    """Each of them may have come through somebody's frames."""
    with ThreadPoolExecutor(1) as pool:
        cause = pool.submit(lambda: 1 / 0).exception()
    outer = ValueError("outer")
    outer.__cause__ = cause

    for error in (cause, outer, ExceptionGroup("both", [outer, OSError("b")])):
        told = traceback_of(error)
        assert "1 / 0" in told
        assert "concurrent" not in told


@pytest.mark.parametrize("group", [(), ("runs",), ("schedules",), ("db",)])
def test_a_list_of_commands_says_all_of_what_each_does(type_in, group):
    """In a terminal of 80 columns: a sentence that is cut off says nothing."""
    status, out, _ = type_in(*group, "--help")

    assert 0 == status
    assert "Commands:" in out
    assert "..." not in out.partition("Commands:")[2]
