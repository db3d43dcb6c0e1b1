"""What Sphinx must be told about actorflow.

- The table of laws, by the directive `laws`.
- Pictures in place of Mermaid diagrams: the line `<!-- picture: FILE WORDS -->` above one names it.
- Links to public names, wherever the source defines them.
- Where errors are defined: they name `actorflow` as their module, which has no source of theirs.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import pkgutil
import re
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective

from actorflow import errors
from actorflow.testing import laws

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

__all__ = ["Laws", "inventory", "setup"]

# What annotations of public names mention, by where Python's own documentation has it.
_STANDARD = {
    "class": [
        *("BaseException", "Exception", "ImportError", "LookupError", "TimeoutError", "TypeError"),
        *("ValueError", "UserWarning", "bool", "bytes", "dict", "float", "frozenset", "int"),
        *("list", "object", "range", "set", "str", "tuple", "type"),
        *("collections.abc.AsyncIterator", "collections.abc.Awaitable"),
        *("collections.abc.Callable", "collections.abc.Collection", "collections.abc.Coroutine"),
        *("collections.abc.Generator", "collections.abc.Hashable", "collections.abc.Iterable"),
        *("collections.abc.Iterator", "collections.abc.Mapping", "collections.abc.Sequence"),
        *("collections.abc.Set", "datetime.datetime", "datetime.timedelta", "enum.Enum"),
        *("datetime.tzinfo",),
        *("enum.StrEnum", "pathlib.Path", "random.Random", "types.TracebackType"),
        *("typing.NamedTuple", "typing.Protocol"),
    ],
    "data": ["None", "typing.Any", "typing.Literal", "typing.Self", "typing.Unpack"],
}
_FUNCTIONS = {"bool", "float", "int", "object", "type"}
_PICTURED = re.compile(
    r"^<!-- picture: (?P<file>\S+) (?P<about>[^\n]*) -->\n```mermaid\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)
# Names with an entry that no package lists in its `__all__`.
_LISTED_APART = [
    "actorflow.definition.durations.Duration",
    "actorflow.definition.retry.ErrorPattern",
    "actorflow.definition.retry.ErrorPatterns",
    "actorflow.model.attributes.Attribute",
    "actorflow.model.filters.RunFilters",
    "actorflow.model.filters.RunListing",
    "actorflow.model.records.RunRecord",
    "actorflow.model.terms.OnConflict",
    "actorflow.model.terms.Reuse",
    "actorflow.model.terms.StartTerms",
    "actorflow.orchestrator.requests.RunOptions",
    "actorflow.orchestrator.schedules.ScheduleOptions",
    "actorflow.run.event_stream.EventStream",
    "actorflow.testing.simulation.behaviours.Behaviour",
    "actorflow.testing.simulation.tape.Choice",
    "actorflow.testing.simulation.tape.Source",
]


def inventory() -> str:
    """Write the inventory of the standard library, and return its file."""
    lines = [
        f"{shown} py:{kind} 1 library/{_page(name)}.html#{name} -\n"
        for kind, names in _STANDARD.items()
        for name in names
        for shown in {name, name.rpartition(".")[2]}
    ]
    head = "# Sphinx inventory version 2\n# Project: Python\n# Version: 3\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    path = Path(tempfile.gettempdir()) / "actorflow-docs-python.inv"
    path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
    return str(path)


def _page(name: str) -> str:
    module = name.rpartition(".")[0]
    if module:
        return module
    found = getattr(builtins, name, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return "exceptions"
    return "constants" if name == "None" else "functions" if name in _FUNCTIONS else "stdtypes"


# ── Laws ─────────────────────────────────────────────────────────────────────────────────────


class Laws(SphinxDirective):
    """Lists `laws.ALL`: number, name, and what each says."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        lines = [
            line
            for law in laws.ALL
            for line in (
                f".. py:data:: actorflow.testing.laws.{law.name}",
                "",
                f"   **{law.number}.** {law.text}",
                "",
            )
        ]
        return self.parse_text_to_nodes("\n".join(lines))


# ── Names ────────────────────────────────────────────────────────────────────────────────────


class _Known(XRefRole):
    """A link to a public name; text that names none is code."""

    def __init__(self) -> None:
        super().__init__(fix_parens=False)

    def process_link(
        self,
        env: BuildEnvironment,
        refnode: nodes.Element,
        has_explicit_title: bool,  # noqa: FBT001 - Sphinx's own signature
        title: str,
        target: str,
    ) -> tuple[str, str]:
        refnode["refdomain"], refnode["reftype"], refnode["lenient"] = "py", "obj", True
        refnode["py:module"] = env.ref_context.get("py:module")
        refnode["py:class"] = env.ref_context.get("py:class")
        return title, target.removesuffix("()")


@functools.cache
def _public_names() -> dict[str, str]:
    """Return where each public name has its entry, by where it is defined and by itself."""
    found = {name: name for name in _LISTED_APART}
    found |= {name.rpartition(".")[2]: name for name in _LISTED_APART}
    for package in ("actorflow.state.sql", "actorflow.testing", "actorflow"):
        module = importlib.import_module(package)
        for name in module.__all__:
            home = getattr(getattr(module, name), "__module__", package)
            found[name] = found[f"{home}.{name}"] = f"{package}.{name}"
    return found


def _resolve(app: Sphinx, env: BuildEnvironment, node: Any, shown: nodes.Element) -> Any:
    """Link a name to its entry, wherever the source defines it."""
    if node.get("refdomain") != "py":
        return None
    public, target = _public_names(), node["reftarget"]
    owner, _, member = target.rpartition(".")
    names = [public.get(target), public.get(member)]
    if owner.rpartition(".")[2] in public:
        names.insert(0, f"{public[owner.rpartition('.')[2]]}.{member}")
    domain = env.domains["py"]
    for name in filter(None, names):
        link = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, shown)
        if link is not None:
            return link
    return shown if node.get("lenient") else None


def _restore_modules(_app: Sphinx) -> None:
    """Let errors say where they are defined, so that their fields' docstrings are found."""
    inner = pkgutil.iter_modules(errors.__path__, "actorflow.errors.")
    for home in (errors, *(importlib.import_module(module.name) for module in inner)):
        for name in home.__all__:
            if isinstance(getattr(home, name), type):
                getattr(home, name).__module__ = home.__name__


# Classes whose instances are made by actorflow: callers never call their constructors.
_GIVEN_MODULES = {
    "actorflow.model.events",
    "actorflow.model.lifecycle",
    "actorflow.model.powers",
    "actorflow.model.protocols",
    "actorflow.model.records",
    "actorflow.model.results",
    "actorflow.state.sql.health",
    "actorflow.testing.cluster.store",
    "actorflow.testing.cluster.trace",
    "actorflow.testing.laws.law",
    "actorflow.testing.search.coverage",
    "actorflow.testing.search.search",
    "actorflow.testing.simulation.account",
    "actorflow.testing.trace.trace",
}
_GIVEN = {
    *("ActorflowWarning", "EventStream", "PurgeReport", "Run", "Serializer", "Simulations"),
    "StepContext",
}
_ATTRS_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default|NOTHING")


def _sign(
    _app: Sphinx, what: str, name: str, it: Any, _options: Any, said: str | None, returned: Any
) -> tuple[str, Any] | None:
    """Show the defaults of attrs classes, and no constructor that callers do not call."""
    if what not in {"class", "exception"} or said is None:
        return None
    if it.__module__ in _GIVEN_MODULES or name.rpartition(".")[2] in _GIVEN:
        return "", returned

    def default(found: re.Match[str]) -> str:
        value = attrs.fields_dict(it)[found[1]].default if found[1] else attrs.NOTHING
        return "..." if value is attrs.NOTHING or isinstance(value, attrs.Factory) else repr(value)

    return _ATTRS_DEFAULT.sub(default, said), returned


class _PlainFields:
    """Keeps napoleon from reading `Seconds: how long` below a field as a type and a text."""

    def __init__(self, app: Sphinx) -> None:
        self._kept: list[str] = []
        app.connect("autodoc-process-docstring", self._keep, priority=100)  # napoleon has 500
        app.connect("autodoc-process-docstring", self._put_back, priority=900)

    def _keep(self, *heard: Any) -> None:
        self._kept = list(heard[-1])

    def _put_back(self, _app: Sphinx, what: str, *heard: Any) -> None:
        if what in {"attribute", "data", "property"}:
            heard[-1][:] = self._kept


# ── Pages ────────────────────────────────────────────────────────────────────────────────────


def _show_pictures(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = _PICTURED.sub(lambda found: f"![{found['about']}]({found['file']})", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Join Sphinx."""
    app.add_directive("laws", Laws)
    app.add_role("known", _Known())
    app.connect("builder-inited", _restore_modules)
    _PlainFields(app)
    app.connect("autodoc-process-signature", _sign)
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _show_pictures)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
