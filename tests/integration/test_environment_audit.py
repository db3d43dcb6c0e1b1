"""The first program a newcomer runs: docs/examples/environment_audit.py."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorflow import Orchestrator, RunFailed

if TYPE_CHECKING:
    from types import ModuleType

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "environment_audit.py"


def load(program: Path) -> ModuleType:
    """Import a program that is in no package."""
    spec = importlib.util.spec_from_file_location(program.stem, program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = load(PROGRAM)


@pytest.fixture
def site(tmp_path):
    """A site-packages folder with nothing in it."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def install(site, name, version="1.0", *, requires=(), headers=(), files=None, record=True):
    """Put a distribution there, as pip would, and return the location of its metadata."""
    location = site / f"{name.replace('-', '_')}-{version}.dist-info"
    location.mkdir(parents=True)
    needs = [f"Requires-Dist: {requirement}" for requirement in requires]
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *headers, *needs]
    (location / "METADATA").write_text("\n".join(lines) + "\n\nA long description.\n", "utf-8")
    for path, size in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(b"x" * size)
    if record:
        (location / "RECORD").write_text("".join(f"{path},,\n" for path in files or {}), "utf-8")
    return str(location)


def analyzed(site):
    """Fetch and analyze, as plain functions."""
    return audit.analyze(audit.fetch(str(site)))


def described(site):
    """Fetch and enrich, as plain functions."""
    return audit.enrich(audit.fetch(str(site)))


def report(site):
    """Run all five steps as plain functions, one after the other."""
    listing = audit.fetch(str(site))
    return audit.aggregate(audit.process(listing), audit.enrich(listing), audit.analyze(listing))


def test_a_distribution_is_listed_by_name_version_and_location(site):
    """`fetch` says who is there and where, and nothing more."""
    location = install(site, "alpha", "1.0")

    listing = audit.fetch(str(site))

    assert {
        "distributions": [{"name": "alpha", "version": "1.0", "location": location}],
        "broken": {},
    } == listing


@pytest.mark.parametrize(
    "inside",
    ["lib/python3.11/site-packages", "lib64/python3.12/site-packages", "Lib/site-packages"],
)
def test_the_root_of_a_virtual_environment_stands_for_its_site_packages(tmp_path, inside):
    """A person knows where the environment is, not where its packages are."""
    location = install(tmp_path / inside, "alpha")

    listing = audit.fetch(str(tmp_path))

    assert [location] == [installed["location"] for installed in listing["distributions"]]


def test_a_folder_that_two_names_lead_to_is_read_once(tmp_path):
    """`lib64` is a link to `lib` in most virtual environments."""
    install(tmp_path / "lib" / "python3.11" / "site-packages", "alpha")
    (tmp_path / "lib64").symlink_to(tmp_path / "lib")

    listing = audit.fetch(str(tmp_path))

    assert ["alpha"] == [installed["name"] for installed in listing["distributions"]]


def test_without_a_path_the_running_environment_is_audited():
    """The tests run on pytest, so it must be there."""
    listing = audit.fetch()

    assert pytest.__version__ in {
        installed["version"]
        for installed in listing["distributions"]
        if installed["name"] == "pytest"
    }


def test_what_the_user_installed_for_himself_comes_first(site, monkeypatch):
    """The user's own packages hide those of the interpreter, as in imports."""
    install(site, "pytest", "0.1")
    monkeypatch.setattr(audit.site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(audit.site, "getusersitepackages", lambda: str(site))

    duplicated = audit.analyze(audit.fetch())["duplicated"]

    assert f"0.1, {pytest.__version__}" == duplicated["pytest"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_old_eggs_are_distributions_too(site, kind):
    """Metadata may be an `.egg-info` folder, or one file of that name."""
    metadata = "Metadata-Version: 1.1\nName: alpha\nVersion: 1.0\n"
    location = site / "alpha-1.0.egg-info"
    if kind == "folder":
        location.mkdir()
        (location / "PKG-INFO").write_text(metadata, "utf-8")
    else:
        location.write_text(metadata, "utf-8")

    listing = audit.fetch(str(site))

    assert ["alpha"] == [installed["name"] for installed in listing["distributions"]]
    assert {str(location): None} == audit.process(listing)


def test_a_path_that_is_not_there_is_named_with_what_would_do(tmp_path):
    """The error says which path, and what to give in its place."""
    path = tmp_path / "nowhere"

    with pytest.raises(FileNotFoundError) as caught:
        audit.fetch(str(path))

    assert (
        f"{path} is not a folder: give a site-packages folder or the root of a virtual environment"
    ) == str(caught.value)


def test_a_folder_without_distributions_is_not_an_environment(site):
    """An empty report would hide a mistaken path."""
    with pytest.raises(LookupError, match=r"no distributions in .*site-packages: give a"):
        audit.fetch(str(site))


@pytest.mark.parametrize(
    ("folder", "metadata", "fault"),
    [
        ("alpha-1.0.dist-info", None, "no METADATA"),
        ("alpha-1.0.dist-info", b"", "no METADATA"),
        ("alpha-1.0.dist-info", b"Version: 1.0\n", "METADATA without a Name"),
        ("alpha-1.0.dist-info", b"Name: alpha\nVersion: one\n", "Invalid version: 'one'"),
        ("alpha-1.0.dist-info", b"Name: alpha\n", "Invalid version: ''"),
        ("alpha-1.0.dist-info", b"Name: \xe9\n", "'utf-8' codec can't decode byte 0xe9"),
        ("~lpha-1.0.dist-info", b"Name: alpha\nVersion: 1.0\n", "left behind by an interrupted"),
    ],
)
def test_broken_metadata_is_a_finding_and_not_a_crash(site, folder, metadata, fault):
    """The audit says what is wrong with it, and goes on."""
    location = site / folder
    location.mkdir()
    if metadata is not None:
        (location / "METADATA").write_bytes(metadata)

    broken = analyzed(site)["broken"]

    assert [str(location)] == list(broken)
    assert fault in broken[str(location)]


def test_a_requirement_that_cannot_be_read_is_a_finding_and_the_others_count(site):
    """Old packages declare what no tool understands any more."""
    location = install(site, "alpha", requires=["beta (>=1.*.2", "gamma"])

    findings = analyzed(site)

    assert {location: "cannot read its requirement 'beta (>=1.*.2'"} == findings["broken"]
    assert {"gamma": "wanted by alpha"} == findings["missing"]


def test_sizes_are_those_on_disk_of_the_recorded_files(site):
    """1,000 and 234 bytes, one of them outside; what is gone or not recorded does not count."""
    files = {"alpha/__init__.py": 1_000, "../bin/alpha": 234, "alpha/gone.py": 50}
    location = install(site, "alpha", files=files)
    (site / "alpha" / "gone.py").unlink()
    (site / "alpha" / "data.txt").write_bytes(b"x" * 99)

    sizes = audit.process(audit.fetch(str(site)))

    assert {location: 1_234} == sizes


def test_without_a_record_the_size_is_unknown(site):
    """System packagers often leave RECORD out."""
    location = install(site, "alpha", files={"alpha.py": 10}, record=False)

    assert {location: None} == audit.process(audit.fetch(str(site)))
    assert "Distributions  1 in 0.00 MB, 1 of unknown size" in report(site)


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: MIT"], "MIT OR Apache-2.0"),
        (["License: BSD", "Classifier: License :: OSI Approved :: MIT License"], "BSD"),
        (["License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (["License: " + "all of it " * 9, "Classifier: License :: Public Domain"], "Public Domain"),
        (["Classifier: License :: A", "Classifier: License :: B", "Classifier: Typed"], "A, B"),
        ([], "unknown"),
    ],
)
def test_the_newest_declaration_of_a_licence_counts(site, headers, licence):
    """An expression, a short text, classifiers: in this order."""
    location = install(site, "alpha", headers=headers)

    assert licence == described(site)[location]["licence"]


def test_an_editable_install_says_where_its_source_is(site):
    """An installed archive has an origin too, and is not editable."""
    editable, archive = install(site, "alpha"), install(site, "beta")
    origin = {"url": "file:///home/alpha", "dir_info": {"editable": True}}
    Path(editable, "direct_url.json").write_text(json.dumps(origin), "utf-8")
    Path(archive, "direct_url.json").write_text('{"url": "file:///b.whl"}', "utf-8")

    cards = described(site)

    assert "file:///home/alpha" == cards[editable]["editable"]
    assert "" == cards[archive]["editable"]


def test_what_is_required_and_not_there_is_missing(site):
    """Each requirement stands once, with everyone who wants it."""
    install(site, "beta", requires=["gone[speed]>=2"])
    install(site, "alpha", requires=["gone>=2", "beta", "away @ https://example.org/away.whl"])

    findings = analyzed(site)

    assert {"away": "wanted by alpha", "gone>=2": "wanted by alpha, beta"} == findings["missing"]
    assert {} == findings["conflicting"]


def test_a_version_that_nobody_asked_for_is_a_conflict(site):
    """The finding says what is wanted, what is there, and by whom."""
    install(site, "alpha", requires=["beta>=2,<3"])
    install(site, "beta", "1.5")

    findings = analyzed(site)

    assert {"beta<3,>=2, found 1.5": "wanted by alpha"} == findings["conflicting"]
    assert {} == findings["missing"]


def test_an_installed_prerelease_meets_a_requirement_that_it_satisfies(site):
    """What is installed was chosen; no requirement has to allow it first."""
    install(site, "alpha", requires=["beta>=1"])
    install(site, "beta", "2.0b1")

    assert {} == analyzed(site)["conflicting"]


def test_names_are_compared_in_their_canonical_form(site):
    """`Beta.Lib`, `beta_lib` and `beta-lib` are one project."""
    install(site, "alpha", requires=["Beta.Lib"])
    install(site, "beta_LIB")

    findings = analyzed(site)

    assert {} == findings["missing"]
    assert ["alpha"] == list(findings["orphaned"])


def test_a_requirement_whose_marker_does_not_apply_is_not_wanted(site):
    """What another system or another Python needs is not missing here."""
    markers = ["sys_platform == 'never'", "python_version < '3'", "extra == 'tests'"]
    install(site, "alpha", requires=[f"gone; {marker}" for marker in markers])

    assert {} == analyzed(site)["missing"]


def test_an_extra_that_is_asked_for_brings_its_requirements(site):
    """Extras may ask for further extras; one that is not asked for brings nothing."""
    install(site, "alpha", requires=["Beta[Fast_Path]"])
    chained = ["beta[core]; extra == 'fast-path'", "core; extra == 'core'", "no; extra == 'slow'"]
    install(site, "beta", requires=chained)

    assert {"core": "wanted by beta"} == analyzed(site)["missing"]


def test_markers_ask_for_the_python_of_the_audited_environment(tmp_path):
    """Its folder says which one it is: not always the one that runs the audit."""
    site = tmp_path / "lib" / "python3.5" / "site-packages"
    requires = ["old; python_version < '3.6'", "new; python_full_version >= '3.6'"]
    install(site, "alpha", requires=requires)

    assert {"old": "wanted by alpha"} == analyzed(tmp_path)["missing"]


def test_what_no_other_project_needs_is_orphaned(site):
    """Needing oneself does not count; being needed under a marker that does not apply neither."""
    alpha = install(site, "alpha", requires=["alpha[all]", "beta", "delta; python_version < '3'"])
    install(site, "beta")
    delta = install(site, "delta")

    assert {"alpha": alpha, "delta": delta} == analyzed(site)["orphaned"]


def test_a_project_installed_twice_is_a_finding(site):
    """The first copy counts, and the others are hidden behind it."""
    install(site, "alpha", "1.0")
    install(site, "alpha", "2.0")
    install(site, "beta", requires=["alpha<2"])

    findings = analyzed(site)

    assert {"alpha": "1.0, 2.0"} == findings["duplicated"]
    assert {} == findings["conflicting"]


@pytest.fixture
def workshop(site):
    """An environment with one problem of each kind."""
    mit = ["License-Expression: MIT", "Summary: The first letter"]
    needs = ["beta>=2", "gone"]
    install(site, "alpha", requires=needs, headers=mit, files={"alpha.py": 2_500_000})
    install(site, "beta", "1.5", headers=["License: ISC"], files={"beta.py": 10_000})
    install(site, "gamma", "1.0", headers=["License: MIT", "Summary: " + "long " * 20])
    install(site, "gamma", "2.0", record=False)
    (site / "delta-1.0.dist-info").mkdir()
    return site


def test_the_report_says_what_a_person_wants_to_know(workshop):
    """Where, how much, how bad; what is wrong; what is large, and what belongs to no package."""
    expected = f"""\
Environment    {workshop}
Distributions  4 in 2.51 MB, 1 of unknown size
Problems       1 missing, 1 conflicting, 1 duplicated, 1 broken

Missing
  gone                                  wanted by alpha

Conflicting
  beta>=2, found 1.5                    wanted by alpha

Duplicated
  gamma                                 1.0, 2.0

Broken
  delta-1.0.dist-info                   no METADATA

Largest
  alpha 1.0                                2.50 MB  MIT
  beta 1.5                                 0.01 MB  ISC

Licences
  MIT                                   2
  ISC                                   1
  unknown                               1

Needed by nothing else
  alpha 1.0                             The first letter
  gamma 1.0                             long long long long long long long long…"""

    assert expected == report(workshop)


@pytest.mark.parametrize(
    ("text", "shown"), [("x" * 40, "x" * 40), ("x" * 41, "x" * 39 + "…"), ("", "")]
)
def test_no_line_of_a_table_is_longer_than_80_characters(text, shown):
    """The second column begins at the 41st; what is cut says so, and nothing trails."""
    line = audit.table("Title", [("left", text)]).splitlines()[1]

    assert f"{'  left':<40}{shown}".rstrip() == line


def test_only_the_ten_largest_are_ranked(site):
    """Eleven distributions of 1 to 11 kB: the smallest is left out."""
    for kilobytes in range(1, 12):
        name = f"d{kilobytes:02}"
        install(site, name, files={f"{name}.py": kilobytes * 1_000})

    ranked = report(site).partition("Largest\n")[2].partition("\n\n")[0]

    assert [f"d{number:02}" for number in range(11, 1, -1)] == [
        line.split()[0] for line in ranked.splitlines()
    ]


def test_what_the_steps_hand_on_survives_being_stored(workshop):
    """A durable run stores JSON, and goes on with what it reads back."""
    listing = audit.fetch(str(workshop))
    outputs = [listing, *(step(listing) for step in (audit.process, audit.enrich, audit.analyze))]

    assert outputs == json.loads(json.dumps(outputs))


def test_the_workflow_has_the_shape_of_the_lesson():
    """One step, three beside each other with a limit and a policy each, and one that joins."""
    branches = ("process", "enrich", "analyze")
    steps = audit.flow.steps

    assert {
        "fetch": ((), False),
        **dict.fromkeys(branches, (("fetch",), True)),
        "aggregate": (branches, False),
    } == {step.id: (step.after, step.async_) for step in steps.values()}
    assert all(steps[branch].timeout and steps[branch].retry for branch in branches)


def test_the_workflow_reports_what_its_functions_report(workshop):
    """Run by the orchestrator, the branches are joined by their step ids."""
    with Orchestrator() as orchestrator:
        result = orchestrator.run(audit.flow, {"path": str(workshop)})

    assert report(workshop) == result.output
    assert {"fetch", "process", "enrich", "analyze", "aggregate"} == set(result.outputs)


def test_a_mistaken_path_fails_the_run_with_the_reason(tmp_path):
    """The step's own error is the cause of the run's."""
    with Orchestrator() as orchestrator, pytest.raises(RunFailed) as caught:
        orchestrator.run(audit.flow, {"path": str(tmp_path / "nowhere")})

    assert isinstance(caught.value.__cause__, FileNotFoundError)


def started(*arguments):
    """Run Python on the arguments and return what it did."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_command_line_runs_it_on_a_path(workshop):
    """The README's first command, with the one input that there is."""
    command = "import sys; from actorflow.cli import main; sys.exit(main())"

    ended = started("-c", command, "run", str(PROGRAM), "--input", f"path={workshop}")

    assert 0 == ended.returncode, ended.stderr
    assert "Problems       1 missing, 1 conflicting, 1 duplicated, 1 broken" in ended.stdout


def test_the_program_runs_itself(workshop):
    """Python alone is enough to start it."""
    ended = started(str(PROGRAM), str(workshop))

    assert 0 == ended.returncode, ended.stderr
    assert f"{report(workshop)}\n" == ended.stdout
