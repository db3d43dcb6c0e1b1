"""Measures the shape of the package: `python -m benchmarks.house`.

Sizes of modules and functions, importers of modules, import cycles with imports for types counted,
arrows between the rooms, and words that read as translated. It is for maintainers who restructure;
nothing here is a limit. A room is a folder or a module directly below `actorflow`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

__all__ = ["Graph", "arrows", "cycles", "floors", "imports", "main", "module_names", "room_of"]

ROOT = Path(__file__).resolve().parents[1]
RIDDLES = re.compile(r"\b(nobody|somebody|whoever|whosesoever|nought|anew)\b", re.IGNORECASE)

_CRUMB = 40

Graph = Mapping[str, set[str]]


def module_names() -> dict[str, Path]:
    """Return the package's modules by dotted name."""
    found = {}
    for path in sorted((ROOT / "actorflow").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(modules: Mapping[str, Path], *, with_types: bool) -> dict[str, set[str]]:
    """Return which modules of the package each of them imports, wherever the import stands."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        skipped = set() if with_types else _under_type_checking(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node not in skipped:
                graph[name] |= _targets(node, modules) - {name}
    return graph


def _under_type_checking(tree: ast.Module) -> set[ast.AST]:
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {inner for block in blocks for inner in ast.walk(block)}


def _targets(node: ast.ImportFrom, modules: Mapping[str, Path]) -> set[str]:
    names = {f"{node.module}.{alias.name}" for alias in node.names}
    return (names | {str(node.module)} if not names <= modules.keys() else names) & modules.keys()


def cycles(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            cut = stack.index(name)
            if len(stack) - cut > 1:
                found.append(sorted(stack[cut:]))
            del stack[cut:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def room_of(module: str) -> str:
    """Return the room that a module is in; the package itself has none."""
    return module.split(".")[1] if "." in module else ""


def arrows(graph: Graph) -> Counter[tuple[str, str]]:
    """Return how many imports lead from each room to each other one."""
    pairs = ((room_of(one), room_of(other)) for one, targets in graph.items() for other in targets)
    return Counter((one, other) for one, other in pairs if one and other and one != other)


def floors(leads: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the floor of each room: one above the highest room that it imports."""
    below = defaultdict(set)
    for one, other in leads:
        below[one].add(other)

    def floor(room: str, seen: tuple[str, ...] = ()) -> int:
        if room in seen:
            raise ValueError(f"rooms import each other: {' -> '.join((*seen, room))}")
        return 1 + max((floor(it, (*seen, room)) for it in below[room]), default=-1)

    rooms = {room for lead in leads for room in lead}
    return {room: floor(room) for room in sorted(rooms)}


def _function_lengths(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                last = node.end_lineno or node.lineno
                documented = ast.get_docstring(node) is not None
                doc = node.body[0] if documented else None
                skipped = (doc.end_lineno or 0) - doc.lineno + 1 if doc is not None else 0
                yield last - node.lineno + 1 - skipped


def _spread(name: str, values: list[int]) -> str:
    tenth = quantiles(values, n=10)[-1]
    return f"{name}: median {median(values):g}, 90th percentile {tenth:g}, most {max(values)}"


def _riddles(paths: Iterable[Path]) -> Counter[str]:
    texts = (path.read_text("utf-8") for path in paths)
    return Counter(word.lower() for text in texts for word in RIDDLES.findall(text))


def main() -> None:
    """Print the figures."""
    modules = module_names()
    load, whole = imports(modules, with_types=False), imports(modules, with_types=True)
    importers = Counter(target for targets in whole.values() for target in targets)
    plain = [name for name, path in modules.items() if path.name != "__init__.py"]
    sizes = {name: len(modules[name].read_text("utf-8").splitlines()) for name in modules}
    print(f"{len(modules)} modules, {sum(sizes.values()):,} lines")
    print(_spread("lines a module", [sizes[name] for name in plain]))
    print(_spread("lines a function", list(_function_lengths(modules.values()))))
    crumbs = [name for name in plain if sizes[name] < _CRUMB]
    print(f"modules below {_CRUMB} lines: {', '.join(crumbs) or 'none'}")
    print(f"modules with one importer or none: {sum(importers[name] <= 1 for name in plain)}")
    print(f"flat modules at the top: {sum(name.count('.') == 1 for name in plain)}")
    leads, drawn = arrows(load), arrows(whole)
    storeys = floors(leads)
    print(f"{len(storeys)} rooms on {len(set(storeys.values()))} floors")
    print(f"arrows between rooms: {len(leads)} when loading, {len(drawn)} with types")
    for graph, kind in ((load, "when loading"), (whole, "with types")):
        found = cycles(graph)
        across = [it for it in found if len({room_of(name) for name in it}) > 1]
        print(f"cycles {kind}: {len(found)}, across rooms: {len(across)}")
        for names in found:
            print(f"  {', '.join(name.removeprefix('actorflow.') for name in names)}")
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    for where, paths in (("package", modules.values()), ("docs", pages)):
        words = _riddles(paths)
        print(f"riddle words in {where}: {words.total()} {dict(words.most_common())}")


if __name__ == "__main__":
    main()
