"""Thespian's own test suite, which comes with it, on actorflow's base.

`cases.txt` says what becomes of each case, and why. The cases run in a pytest of their own,
because their modules want other settings and leave traces in the process. Most of them sleep
most of the time, so a few such processes run side by side.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import thespian.test

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUITE = Path(thespian.test.__file__).parent
PROCESSES = 9
GUARD = 300
"""Seconds after which a process that should have ended long ago never will."""


def sections() -> dict[str, list[str]]:
    """Read the cases, by the headings of their sections."""
    found: dict[str, list[str]] = {}
    for line in (HERE / "cases.txt").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\[(.+)\]", line):
            cases = found.setdefault(heading[1], [])
        elif line and not line.startswith("#"):
            cases.append(line)
    return found


def beginning_with(verdict: str) -> list[str]:
    """Return the cases of the sections whose heading begins with `verdict`."""
    return [
        case
        for heading, cases in sections().items()
        if heading.startswith(verdict)
        for case in cases
    ]


PASSING, FAILING = beginning_with("passes"), beginning_with("fails")


def suite(*arguments: str, log: Path) -> subprocess.Popen[str]:
    """Start a pytest in the suite's directory, on actorflow's base."""
    settings = HERE / "thespian.ini"
    command = [sys.executable, "-P", "-m", "pytest", f"--rootdir={SUITE}", "-c", str(settings)]
    environment = {
        **os.environ,
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(ROOT),
        "THESPLOG_FILE": str(log),
    }
    return subprocess.Popen(
        [*command, *arguments],
        cwd=SUITE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said_by(*runs: subprocess.Popen[str]) -> list[str]:
    """Wait for the ends of what was started, and return what each has printed."""
    try:
        return [run.communicate(timeout=GUARD)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each case that runs: its outcome, and what pytest had to say of it."""
    place = tmp_path_factory.mktemp("thespian")
    cases, runs = PASSING + FAILING, []
    for number in range(PROCESSES):
        (place / f"{number}.cases").write_text("\n".join(cases[number::PROCESSES]))
        arguments = [f"--outcomes={place / f'{number}.json'}", f"@{place / f'{number}.cases'}"]
        runs.append(suite(*arguments, log=place / "thespian.log"))
    found = {}
    for number, output in enumerate(said_by(*runs)):
        path = place / f"{number}.json"
        assert path.exists(), output
        found.update(json.loads(path.read_text()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", PASSING, ids=PASSING)
def test_a_case_that_passes(case, outcomes):
    """Whether Thespian's simple base passes it too, is written beside it."""
    outcome, text = outcomes[case]

    assert "passed" == outcome, text


@pytest.mark.slow
@pytest.mark.parametrize("case", FAILING, ids=FAILING)
def test_a_case_that_fails_on_purpose(case, outcomes):
    """Where actorflow deviates, it does so every time."""
    outcome, _ = outcomes[case]

    assert "failed" == outcome


@pytest.mark.slow
def test_every_case_of_the_suite_is_accounted_for(tmp_path):
    """A new version of Thespian may bring more: each is a decision, made in the table."""
    listing = suite("--collect-only", "-k", "actorflow", ".", log=tmp_path / "thespian.log")
    (said,) = said_by(listing)
    collected = [line for line in said.splitlines() if "::" in line]

    assert sorted(collected) == sorted(beginning_with(""))


def test_every_case_that_the_simple_base_passes_passes_here():
    """Except the one that wants a handler run again, and those about loading sources."""
    simple = {
        heading: len(cases)
        for heading, cases in sections().items()
        if heading.endswith("on simpleSystemBase") and "skipped" not in heading
    }

    assert 264 == sum(simple.values())
    assert [216, 1, 47] == list(simple.values())


def test_the_page_on_conformance_lists_the_sections():
    """With the number of cases in each."""
    page = (ROOT / "docs" / "explanation" / "conformance.md").read_text(encoding="utf-8")
    rows = [f"| {heading} | {len(cases)} |" for heading, cases in sections().items()]

    assert [] == [row for row in rows if row not in page]
    assert 356 == len(beginning_with(""))
