"""The pages that repeat what the code says, say what the code says."""

from __future__ import annotations

import configparser
import inspect
import re
from typing import TYPE_CHECKING

import pytest

import actorflow
from actorflow import testing
from actorflow.model.lifecycle import EventKind, RunStatus, StepStatus
from actorflow.state import sql
from actorflow.testing import machine, plugin, strategies
from actorflow.views import draw_run_states, draw_step_states
from docs.pictures import make
from tests.support.documents import DOCUMENTS, ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
RUN_BY_CI = ".ci/run runs it"

errors = [
    name
    for name in actorflow.__all__
    if isinstance(getattr(actorflow, name), type)
    and issubclass(getattr(actorflow, name), actorflow.ActorflowError)
]

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def prose(path: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Return the names under which a page's headings can be linked to."""
    titles = re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_there(path: Path, target: str) -> bool:
    """Return whether a link in a page leads to a file and to a heading in it."""
    place, _, anchor = target.partition("#")
    file = (path.parent / place).resolve() if place else path
    return file.exists() and (not anchor or anchor in anchors(file))


def entries(page: str, package: str) -> list[str]:
    """Return the names of a package that a page of the reference has an entry for."""
    text = (DOCS / "reference" / page).read_text("utf-8")
    return re.findall(rf"^\.\. auto\w+:: {re.escape(package)}\.(\w+)$", text, flags=re.MULTILINE)


def test_the_api_is_grouped_as_its_table_of_contents_is():
    """The headings are the comments in `__all__`, each with the same names below it."""
    listed = inspect.getsource(actorflow).partition("__all__ = [")[2].partition("\n]")[0]
    groups = [
        group.partition("\n") for group in re.split(r"^    # ", listed, flags=re.MULTILINE)[1:]
    ]
    page = (DOCS / "reference" / "api.md").read_text("utf-8")
    sections = dict(section.split("\n", 1) for section in page.split("\n## ")[1:])

    assert {title: re.findall(r'"(\w+)"', names) for title, _, names in groups} == {
        title: re.findall(r":: actorflow\.(\w+)$", sections[title], flags=re.MULTILINE)
        for title, _, _ in groups
    }


@pytest.mark.parametrize(
    ("page", "package", "names"),
    [
        ("testing.md", "actorflow.testing", set(testing.__all__) - {"laws"}),
        ("testing.md", "actorflow.testing.strategies", set(strategies.__all__)),
        ("testing.md", "actorflow.testing.machine", set(machine.__all__)),
        ("testing.md", "actorflow.testing.plugin", set(plugin.__all__)),
        ("laws.md", "actorflow.testing.laws", {"check", "same", "alike"}),
        ("api.md", "actorflow.state.sql", set(sql.__all__)),
        ("api.md", "actorflow.orchestrator.requests", {"RunOptions"}),
        ("api.md", "actorflow.model.filters", {"RunFilters", "RunListing"}),
        ("api.md", "actorflow.run.event_stream", {"EventStream"}),
    ],
)
def test_every_public_name_of_a_package_has_an_entry(page: str, package: str, names: set[str]):
    """A name that is added gets its place in the reference."""
    found = entries(page, package)

    assert sorted(names) == sorted(found)


def test_every_law_has_an_entry():
    """The page lists `laws.ALL` by a directive, and a link to it stands for the module `laws`."""
    page = (DOCS / "reference" / "laws.md").read_text("utf-8")

    assert "```{eval-rst}\n.. laws::\n```" in page
    assert "in laws.ALL" in (DOCS / "actorflow_sphinx.py").read_text("utf-8")
    assert "(laws.md)" in (DOCS / "reference" / "testing.md").read_text("utf-8")


@pytest.mark.parametrize("draw", [draw_step_states, draw_run_states])
def test_the_diagrams_of_states_are_drawn_from_the_tables(draw):
    """The page shows every legal move and no other."""
    drawn = [
        block.source.strip()
        for block in blocks(DOCS / "explanation" / "scheduling.md")
        if block.language == "mermaid"
    ]

    assert draw() in drawn


@pytest.mark.parametrize("name", errors)
def test_every_error_has_an_entry(name: str):
    """An entry says when the error comes and what to do about it."""
    page = prose(DOCS / "reference" / "errors.md")

    assert re.search(rf"^#+ `{name}`$", page, flags=re.MULTILINE)


def test_the_pictures_are_what_the_code_draws():
    """After a change of what they show: python docs/pictures/make.py."""
    drawn = make.pictures()

    assert drawn == {path: path.read_text("utf-8") for path in drawn}
    assert set(drawn) == set((DOCS / "pictures").glob("*.svg"))


def rows(*titles: str) -> list[str]:
    """Return what the tables under these headings of the page on events explain."""
    sections = prose(DOCS / "reference" / "events.md").split("\n## ")
    chosen = [text for text in sections if text.partition("\n")[0] in titles]
    return re.findall(r"^\| `([a-z_.]+)` \|", "\n".join(chosen), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("titles", "values"),
    [
        (["Events of a run", "Events of a step"], EventKind),
        (["Status of a run"], RunStatus),
        (["Status of a step"], StepStatus),
    ],
    ids=["kinds", "runs", "steps"],
)
def test_every_kind_of_event_and_every_status_is_explained(titles: list[str], values):
    """Each begins the row of a table, in the order in which the code defines them."""
    assert [value.value for value in values] == rows(*titles)


def test_the_layers_are_those_of_the_contract():
    """The picture of the house is the one that import-linter holds the package to."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    contract = parser["importlinter:contract:layers"]["layers"]
    shown = [block.source for block in blocks(DOCS / "explanation" / "architecture.md")]

    assert f"{contract.strip()}\n" in shown


@every_document
def test_links_lead_somewhere(path: Path):
    """A link into the checkout names a file that is there, and a heading that is in it."""
    targets = [match["target"] for match in LINK.finditer(prose(path))]
    inside = [target for target in targets if not target.startswith(("http:", "https:"))]

    assert [] == [target for target in inside if not is_there(path, target)]


def test_the_index_leads_to_every_page():
    """Everything can be found from there."""
    index = DOCS / "index.md"
    linked = {(DOCS / match["target"]).resolve() for match in LINK.finditer(prose(index))}

    assert set() == set(DOCS.rglob("*.md")) - {index} - linked


def test_readme_and_contributing_show_the_same_test_command():
    """There is one way to run the tests, and it is the one that runs in continuous integration."""
    shown = [
        [block.source for block in blocks(path) if block.not_run == RUN_BY_CI]
        for path in (ROOT / "README.md", DOCS / "CONTRIBUTING.md")
    ]

    assert [shown[0]] == shown[1:]
    assert len(shown[0]) == 1
