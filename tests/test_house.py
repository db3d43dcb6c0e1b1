"""The shape of the package: layers, public names, light import, one clock, short modules."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import configuration
from importlinter.application.use_cases import lint_imports
from packaging.requirements import Requirement

import actorflow

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "actorflow"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The modules that ask the machine for the time, and no others: the rest is handed a clock.
CLOCKS = {"actorflow/support/clock.py", "actorflow/systems/embedded.py"}
READS_A_CLOCK = r"^(date|datetime)\.(now|utcnow|today)$|loop(\(\))?\.time$"

LONGEST = 450
# Modules that are longer, and why no cut would make them easier to read.
LONG_MODULES: dict[str, str] = {}

# What an embedding program must not pay for, or be touched by, when it only imports actorflow.
HEAVY = {
    "alembic",
    "asyncio",
    "cronsim",
    "hypothesis",
    "msgspec",
    "multiprocessing",
    "psycopg",
    "pytest",
    "rich",
    "sqlalchemy",
    "structlog",
    "thespian",
    "typer",
}

# SQLAlchemy imports the driver of a database by the name that stands in its URL, and zoneinfo the
# data of timezones.
LOADED_BY_OTHERS = {"psycopg", "tzdata"}

# Runs in a fresh interpreter, and prints what an import has changed there.
PROBE = """
import json, logging, os, signal, sys, threading, warnings

def footprint():
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": sorted(os.listdir("/dev/fd")),
        "root handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "root level": logging.getLogger().level,
        "signal handlers": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "warning filters": repr(warnings.filters),
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(sys.displayhook)],
    }

# A signal that the tests' own import made ignored would be inherited as such.
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)

def loaded():
    return sorted(sys.modules)

before = footprint()
import actorflow
after, modules = footprint(), loaded()

from actorflow import RetryPolicy, Workflow
flow = Workflow("order")
flow.step(lambda url: url, id="fetch", retry=RetryPolicy(max_attempts=3), timeout=10)
flow.step(lambda fetch: fetch, id="store", after="fetch", compensate=lambda: None)
flow.validate()
defined = loaded()

from actorflow import Orchestrator
named = loaded()

said = {"before": before, "after": after, "modules": modules, "defined": defined, "named": named}
json.dump(said, sys.stdout)
"""

# What each of these loads of actorflow itself.
IMPORTED = {"actorflow", "actorflow.support", "actorflow.support.lazy"}
DEFINED = IMPORTED | {
    "actorflow.definition",
    "actorflow.definition.arguments",
    "actorflow.definition.compiling",
    "actorflow.definition.durations",
    "actorflow.definition.options",
    "actorflow.definition.parameters",
    "actorflow.definition.plan",
    "actorflow.definition.retry",
    "actorflow.definition.step",
    "actorflow.definition.workflow",
    "actorflow.errors",
    "actorflow.errors.definition",
    "actorflow.support.read_only",
    "actorflow.support.safe_text",
    "actorflow.support.suggestions",
    "actorflow.support.warnings",
}
NAMED = DEFINED | {
    "actorflow.orchestrator",
    "actorflow.orchestrator.orchestrator",
    "actorflow.orchestrator.schedule_methods",
}

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def name_of(path: Path) -> str:
    """The file's place in the checkout, as the tables above write it."""
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module", autouse=True)
def _forgets():
    """Let go of all syntax trees, which the garbage collector would look at ever after."""
    yield
    parsed.cache_clear()


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module that this one names in an import, wherever the import stands."""
    nodes = list(ast.walk(parsed(path)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def asks_for_the_time(path: Path) -> bool:
    """Whether the module asks the machine or an event loop what time it is."""
    attributes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)]
    asked = {f"{ast.unparse(node.value).rpartition('.')[2]}.{node.attr}" for node in attributes}
    return "time" in imported(path) or any(re.search(READS_A_CLOCK, name) for name in asked)


def metadata() -> configparser.ConfigParser:
    """What setup.cfg says."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def declared_requirements() -> set[str]:
    """The distributions that the package itself imports: required, or by an extra."""
    required = metadata()["options"]["install_requires"]
    optional = metadata()["options.extras_require"]
    extras = "\n".join(optional[name] for name in ("cli", "schedules", "sql", "testing"))
    lines = f"{required}\n{extras}".splitlines()
    return {Requirement(line).name for line in lines if line.strip()}


def homes_of(tree: ast.Module) -> set[tuple[str, str]] | None:
    """The modules and names that a package hands to `lazy_names`, if it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_names":
            homes = ast.literal_eval(node.args[1])
            return {(module, name) for module, names in homes.items() for name in names}
    return None


# Only a package can be lazy; parsing every module would delay the collection of all tests.
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
LAZY_PACKAGES = [path for path in PACKAGES if homes_of(parsed(path)) is not None]


@pytest.fixture(scope="module")
def light_import():
    """What `import actorflow`, and then a definition, did to a fresh interpreter."""
    command = [sys.executable, "-c", PROBE]
    ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120)
    return json.loads(ended.stdout)


def test_imports_keep_the_contracts(monkeypatch):
    """The layers and the borders around heavy libraries, written down in setup.cfg, hold."""
    monkeypatch.chdir(ROOT)
    configuration.configure()

    assert lint_imports(config_filename="setup.cfg", cache_dir=None, no_logo=True)


@every_module
def test_no_module_imports_the_package_itself(path: Path):
    """Importing the table of contents from within the book makes circles."""
    assert "actorflow" not in imported(path)


@every_module
def test_every_module_has_its_frame(path: Path):
    """A module says what it is, names what it offers, and keeps its annotations lazy."""
    tree = parsed(path)
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }

    assert ast.get_docstring(tree)
    assert "__future__" in imported(path)
    assert "__all__" in assigned


def test_only_the_clock_asks_for_the_time():
    """Time is handed in, so that a simulation can hand in its own."""
    assert {name_of(path) for path in MODULES if asks_for_the_time(path)} == CLOCKS


def test_a_status_changes_by_the_tables_only():
    """The ledger sets the first status, and the outbox every other one."""
    rooms = sorted((PACKAGE / "scheduling").glob("*.py"))
    targets = {
        path.name: [
            target
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        ]
        for path in rooms
    }

    assert {"ledger.py", "outbox.py"} == {
        name
        for name, assigned in targets.items()
        if any(isinstance(it, ast.Attribute) and it.attr == "status" for it in assigned)
    }


def test_modules_stay_short():
    """A module longer than the ceiling has a reason in the table, and no reason is left over."""
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}

    assert set(LONG_MODULES) == {name for name, length in lengths.items() if length > LONGEST}


def test_the_public_names_exist():
    """Everything in the table of contents can be imported, and stands there once."""
    names = actorflow.__all__

    assert len(names) == len(set(names))
    assert [] == [name for name in names if not hasattr(actorflow, name)]
    assert set(names) <= set(dir(actorflow))


def test_the_public_names_have_docstrings_of_their_own():
    """An inherited docstring describes the parent, not this name."""
    objects = {name: getattr(actorflow, name) for name in actorflow.__all__}
    explainable = {name: it for name, it in objects.items() if callable(it)}

    assert [] == [name for name, it in explainable.items() if not (it.__doc__ or "").strip()]


def test_the_reference_mentions_every_public_name():
    """A public name that the reference leaves out is not public yet."""
    page = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    entries = re.findall(r"^\.\. auto\w+:: actorflow\.(\w+)$", page, flags=re.MULTILINE)

    assert list(actorflow.__all__) == entries


def test_importing_loads_nothing_heavy(light_import):
    """A program that only defines workflows pays for no loop, no log and no actor system."""
    assert set() == HEAVY & set(light_import["modules"])
    assert set() == HEAVY & set(light_import["named"])


@pytest.mark.parametrize(
    ("stage", "expected"), [("modules", IMPORTED), ("defined", DEFINED), ("named", NAMED)]
)
def test_importing_loads_few_modules(light_import, stage: str, expected: set[str]):
    """Every class costs time to build, so a module is loaded when something needs it."""
    loaded = {name for name in light_import[stage] if name.partition(".")[0] == "actorflow"}

    assert set() == loaded - expected


@pytest.mark.parametrize("path", LAZY_PACKAGES, ids=name_of)
def test_lazy_names_are_said_alike_three_times(path: Path):
    """Type checkers, `__all__` and the running program know the same names of a lazy package."""
    tree = parsed(path)
    homes = homes_of(tree)
    assert homes is not None
    published = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    for_types = {
        (node.module, alias.asname or alias.name)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert homes == for_types
    assert sorted(name for _, name in homes) == sorted(published)


def test_importing_changes_nothing_in_the_process(light_import):
    """No thread, descriptor, handler, hook or filter appears with the import."""
    assert light_import["before"] == light_import["after"]


def test_everything_imported_is_declared():
    """A distribution that the package imports is one that setup.cfg asks for."""
    roots = {name.partition(".")[0] for path in MODULES for name in imported(path)}

    assert roots - sys.stdlib_module_names - {"actorflow"} <= declared_requirements()


def test_everything_required_is_imported():
    """A distribution that nothing imports is not asked for."""
    roots = {name.partition(".")[0] for path in MODULES for name in imported(path)}

    assert declared_requirements() - LOADED_BY_OTHERS <= roots


def test_the_version_stands_in_one_place():
    """The installed metadata comes from setup.cfg."""
    assert metadata()["metadata"]["version"] == importlib.metadata.version("actorflow")


def test_the_package_is_typed():
    """The marker that tells type checkers to trust the annotations is shipped."""
    assert (PACKAGE / "py.typed").exists()
    assert "py.typed" in metadata()["options.package_data"]["actorflow"]
