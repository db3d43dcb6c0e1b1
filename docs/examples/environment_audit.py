"""Audit a Python environment: its size, its licences, and its problems.

    actorflow run docs/examples/environment_audit.py
    actorflow run docs/examples/environment_audit.py --input path=.venv

             +-> process (sizes on disk) -------+
    fetch ---+-> enrich (licences, summaries) --+-> aggregate (the report)
             +-> analyze (dependency graph) ----+

Needs `packaging`, which compares versions, requirements and markers.
"""

from __future__ import annotations

import csv
import json
import re
import site
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path
from typing import TypedDict

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from actorflow import Orchestrator, RetryPolicy, Workflow

__all__ = ["flow"]

HINT = "give a site-packages folder or the root of a virtual environment"

# Outputs are plain data, so that they can be stored and printed as JSON, and small: `fetch` returns
# the location of each distribution's metadata, and each branch reads what it needs from there.


class Installed(TypedDict):
    """A distribution, and the folder of its metadata."""

    name: str
    version: str
    location: str


class Listing(TypedDict):
    """The valid distributions of an environment, and the faults of the others by location."""

    distributions: list[Installed]
    broken: dict[str, str]


class Card(TypedDict):
    """The facts that the report shows; `editable` is the URL of the source, if installed so."""

    title: str
    licence: str
    summary: str
    editable: str


flow = Workflow("environment-audit", name="Environment audit")


@flow.step
def fetch(path: str | None = None) -> Listing:
    """List the distributions at `path`, by default those of the running environment."""
    folders = site_packages(path)
    listing = Listing(distributions=[], broken={})
    for location in metadata_locations(folders):
        try:
            listing["distributions"].append(identify(location))
        except ValueError as fault:
            listing["broken"][str(location)] = str(fault)
    if not any(listing.values()):
        raise LookupError(f"no distributions in {', '.join(map(str, folders))}: {HINT}")
    return listing


# The branches read files, which blocks, so they are plain functions: with `async_=True` these run
# on threads in parallel, while coroutines would block the event loop. A file may vanish during an
# installation, so an OSError is retried; any other error would only recur.
reread = RetryPolicy(max_attempts=3, initial_interval=0.2, retryable_errors=(OSError,))


@flow.step(after=fetch, async_=True, timeout=60.0, retry=reread)
def process(fetch: Listing) -> dict[str, int | None]:
    """Measure each distribution on disk, in bytes by location; None is unknown."""
    locations = [installed["location"] for installed in fetch["distributions"]]
    return {location: size_on_disk(Path(location)) for location in locations}


@flow.step(after=fetch, async_=True, timeout=20.0, retry=reread)
def enrich(fetch: Listing) -> dict[str, Card]:
    """Look up licence, summary and origin of each distribution, by location."""
    return {installed["location"]: describe(installed) for installed in fetch["distributions"]}


@flow.step(after=fetch, async_=True, timeout=20.0, retry=reread)
def analyze(fetch: Listing) -> dict[str, dict[str, str]]:
    """Compare the requirements of the distributions with what is installed."""
    copies = by_project(fetch["distributions"])
    # The first copy on the import path hides the others.
    installed = {project: found[0] for project, found in copies.items()}
    needs, unreadable = read_requirements(installed)
    wants = applicable(needs, installed)
    needed = {name for project, need in wants if (name := project_of(need)) != project}
    return {
        **unmet(wants, installed),
        "duplicated": {
            project: ", ".join(copy["version"] for copy in found)
            for project, found in copies.items()
            if len(found) > 1
        },
        "broken": fetch["broken"] | unreadable,
        "orphaned": {p: installed[p]["location"] for p in sorted(installed.keys() - needed)},
    }


@flow.step(after=[process, enrich, analyze])
def aggregate(
    process: dict[str, int | None], enrich: dict[str, Card], analyze: dict[str, dict[str, str]]
) -> str:
    """Join the outputs of the branches into a readable report."""
    orphans = [enrich[location] for location in analyze["orphaned"].values()]
    cards = enrich.values()
    tables = {
        "Missing": analyze["missing"].items(),
        "Conflicting": analyze["conflicting"].items(),
        "Duplicated": analyze["duplicated"].items(),
        "Broken": [(Path(place).name, fault) for place, fault in analyze["broken"].items()],
        "Largest": largest(process, enrich),
        "Licences": Counter(sorted(card["licence"] for card in cards)).most_common(),
        "Editable": [(card["title"], card["editable"]) for card in cards if card["editable"]],
        "Needed by nothing else": [(card["title"], card["summary"]) for card in orphans],
    }
    sections = [table(title, rows) for title, rows in tables.items() if rows]
    return "\n\n".join([overview(process, analyze), *sections])


# Reading the installed distributions.


def site_packages(path: str | None) -> list[Path]:
    """Find the folders that hold an environment's distributions."""
    if path is None:
        user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
        folders = [Path(folder) for folder in (*user, *site.getsitepackages())]
    else:
        root = Path(path).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder: {HINT}")
        inside = [*root.glob("lib*/py*/site-packages"), *root.glob("Lib/site-packages")]
        folders = inside or [root]
    return list(dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir()))


def metadata_locations(folders: list[Path]) -> list[Path]:
    """List the metadata of every distribution, in import order."""
    kinds = ("*.dist-info", "*.egg-info")
    return [path for folder in folders for kind in kinds for path in sorted(folder.glob(kind))]


def identify(location: Path) -> Installed:
    """Read name and version; raise ValueError if the metadata is invalid."""
    if location.name.startswith("~"):
        raise ValueError("left behind by an interrupted pip")
    distribution = Distribution.at(location)
    if not any(distribution.read_text(name) for name in ("METADATA", "PKG-INFO", "")):
        raise ValueError("no METADATA")
    name, version = header(distribution, "Name"), header(distribution, "Version")
    if not name:
        raise ValueError("METADATA without a Name")
    return Installed(name=name, version=str(Version(version)), location=str(location))


def header(distribution: Distribution, name: str) -> str:
    """Return a metadata field as one line, or an empty string if it is absent."""
    text = " ".join(next(iter(distribution.metadata.get_all(name, [])), "").split())
    return "" if text == "UNKNOWN" else text


def size_on_disk(location: Path) -> int | None:
    """Add up the sizes of the files in RECORD; return None if there is no RECORD."""
    record = location / "RECORD"
    if not record.is_file():
        return None
    lines = record.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    files = (location.parent / row[0] for row in csv.reader(lines) if row)
    return sum(file.stat().st_size for file in files if file.is_file())


def describe(installed: Installed) -> Card:
    """Summarise a distribution."""
    distribution = Distribution.at(installed["location"])
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return Card(
        title=f"{installed['name']} {installed['version']}",
        licence=licence(distribution),
        summary=header(distribution, "Summary"),
        editable=origin["url"] if origin.get("dir_info", {}).get("editable") else "",
    )


def licence(distribution: Distribution) -> str:
    """Return the licence from the newest kind of declaration that is present."""
    expression, text = header(distribution, "License-Expression"), header(distribution, "License")
    brief = text if len(text) <= 40 else ""  # some packages put the full licence text there
    classifiers = distribution.metadata.get_all("Classifier", [])
    named = [line.split(" :: ")[-1] for line in classifiers if line.startswith("License :: ")]
    return (expression or brief or ", ".join(named) or "unknown").removesuffix(" License")


# The dependency graph. Projects are identified by their canonical names: `Foo_Bar` is `foo-bar`.

Wants = set[tuple[str, Requirement]]


def by_project(distributions: list[Installed]) -> dict[str, list[Installed]]:
    """Group distributions by project, because a project may be installed more than once."""
    copies: dict[str, list[Installed]] = {}
    for installed in distributions:
        copies.setdefault(canonicalize_name(installed["name"]), []).append(installed)
    return copies


def project_of(need: Requirement) -> str:
    """Return the canonical name of the required project."""
    return canonicalize_name(need.name)


def read_requirements(
    installed: dict[str, Installed],
) -> tuple[dict[str, list[Requirement]], dict[str, str]]:
    """Parse the requirements of each project; return them, and the faults by location."""
    needs: dict[str, list[Requirement]] = {project: [] for project in installed}
    faults = {}
    for project, found in installed.items():
        for line in Distribution.at(found["location"]).requires or []:
            try:
                needs[project].append(Requirement(line))
            except InvalidRequirement:
                faults[found["location"]] = f"cannot read its requirement {line!r}"
    return needs, faults


def applicable(needs: dict[str, list[Requirement]], installed: dict[str, Installed]) -> Wants:
    """Pair each project with its requirements here, including those of requested extras."""
    wants: Wants = set()
    seen: set[tuple[str, str]] = set()
    pending = [(project, "") for project in needs]
    while pending:
        project, extra = request = pending.pop()
        if request in seen or project not in needs:
            continue
        seen.add(request)
        environment = {**python_version(installed[project]), "extra": extra}
        here = [n for n in needs[project] if not n.marker or n.marker.evaluate(environment)]
        wants.update((project, need) for need in here)
        pending += [(project_of(need), name) for need in here for name in need.extras]
    return wants


def python_version(installed: Installed) -> dict[str, str]:
    """Return marker values for the Python in `lib/python3.X`, if it is not the running one."""
    named = re.fullmatch(r"python(3\.\d+)", Path(installed["location"]).parent.parent.name)
    if not named or named[1] == f"{sys.version_info.major}.{sys.version_info.minor}":
        return {}
    return {"python_version": named[1], "python_full_version": f"{named[1]}.0"}


def unmet(wants: Wants, installed: dict[str, Installed]) -> dict[str, dict[str, str]]:
    """Find missing requirements and version conflicts, with the projects that want them."""
    missing, conflicting = defaultdict(set), defaultdict(set)
    for project, need in wants:
        found = installed.get(project_of(need))
        wanted = f"{need.name}{need.specifier}"
        if not found:
            missing[wanted].add(project)
        elif not need.specifier.contains(found["version"], prereleases=True):
            conflicting[f"{wanted}, found {found['version']}"].add(project)
    return {"missing": wanted_by(missing), "conflicting": wanted_by(conflicting)}


def wanted_by(projects: dict[str, set[str]]) -> dict[str, str]:
    """List the projects behind each requirement, in a stable order."""
    return {want: f"wanted by {', '.join(sorted(by))}" for want, by in sorted(projects.items())}


# The report.


def overview(sizes: dict[str, int | None], findings: dict[str, dict[str, str]]) -> str:
    """Summarise location, size and problems in three lines."""
    places = dict.fromkeys(str(Path(place).parent) for place in [*sizes, *findings["broken"]])
    known = [size for size in sizes.values() if size is not None]
    unknown = f", {len(sizes) - len(known)} of unknown size" if len(known) < len(sizes) else ""
    counts = {kind: len(found) for kind, found in findings.items() if found and kind != "orphaned"}
    problems = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return (
        f"Environment    {', '.join(places)}\n"
        f"Distributions  {len(sizes)} in {megabytes(sum(known))}{unknown}\n"
        f"Problems       {problems or 'none'}"
    )


def largest(sizes: dict[str, int | None], cards: dict[str, Card]) -> list[tuple[str, str]]:
    """Return the ten largest distributions, largest first."""
    known = sorted(((size, place) for place, size in sizes.items() if size), reverse=True)
    return [
        (cards[place]["title"], f"{megabytes(size):>10}  {cards[place]['licence']}")
        for size, place in known[:10]
    ]


def megabytes(size: int) -> str:
    """Format a size in megabytes."""
    return f"{size / 1_000_000:,.2f} MB"


def table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Format a section in two columns, cut to 80 characters."""
    lines = [f"  {left:<36}  {right}".rstrip() for left, right in rows]
    return "\n".join([title, *(line if len(line) <= 80 else f"{line[:79]}…" for line in lines)])


if __name__ == "__main__":
    with Orchestrator() as orchestrator:
        print(orchestrator.run(flow, {"path": sys.argv[1]} if sys.argv[1:] else {}).output)
