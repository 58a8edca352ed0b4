"""The imports of the code against the allowed arrows in docs/architecture.md; lengths of files and functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "llm_dit": ROOT / "src" / "llm_dit",
    "experiments": ROOT / "experiments",
    "web": ROOT / "web",
    "training": ROOT / "training",
    "benchmarks": ROOT / "benchmarks",
    "scripts": ROOT / "scripts",
}
FRONT = "front"
"""Room of the modules that lie beside a package's rooms, those excepted that the table names by themselves."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def arrows() -> dict[str, frozenset[str]]:
    """Module to the project's modules it imports, anywhere in its text and for types alone as well."""
    return {module: frozenset(_imported(module, path)) for module, path in modules().items()}


def _imported(module: str, path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def inner(module: str) -> set[str]:
    """The project's modules that `module` imports, itself left out."""
    return {name for name in arrows()[module] if name in modules() and name != module}


@cache
def table() -> dict[str, frozenset[str]]:
    """Package to the packages, and room to the rooms of its package, that it may import; from docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|$", text[text.index("## Allowed arrows") :], re.MULTILINE)
    return {room: frozenset(re.findall(r"`([\w.]+)`", allowed)) for room, allowed in rows}


def room_of(module: str) -> str:
    """The room of a module: the module itself where the table names it, else its folder, else its package's front."""
    if module in table() and module not in PACKAGES:
        return module
    package, *rest = module.split(".")
    room = f"{package}.{rest[0]}" if rest else ""
    front = f"{package}.{FRONT}"
    return room if room in table() else front if front in table() else package


def arrow(module: str, target: str) -> tuple[str, str]:
    """What a module's import is in the table: between packages, or between rooms of one."""
    packages = module.split(".")[0], target.split(".")[0]
    return packages if packages[0] != packages[1] else (room_of(module), room_of(target))


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for following in sorted(graph[node]):
            if following not in order:
                visit(following)
                low[node] = min(low[node], low[following])
            elif following in stack:
                low[node] = min(low[node], order[following])
        if low[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_circles_are_found_in_a_graph_that_has_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_circle():
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph = {module: inner(module) - packages for module in modules() if module not in packages}
    assert circles(graph) == []


def test_every_room_stands_in_the_table_and_every_row_is_a_room():
    rooms = {room_of(module) for module in modules() if modules()[module].name != "__init__.py"}
    assert rooms | set(PACKAGES) == table().keys()
    assert set().union(*table().values()) <= table().keys()


def test_the_table_has_no_circles():
    assert circles({room: set(allowed) for room, allowed in table().items()}) == []


def test_packages_and_rooms_import_only_what_the_table_allows():
    arrows = [(module, target, *arrow(module, target)) for module in modules() for target in inner(module)]
    forbidden = [(module, target) for module, target, here, there in arrows if there not in {*table()[here], here}]
    assert forbidden == []


def test_arrows_that_nobody_uses_are_not_allowed():
    used = {arrow(module, target) for module in modules() for target in inner(module)}
    assert [(room, other) for room, allowed in table().items() for other in allowed if (room, other) not in used] == []


def test_every_room_says_what_lives_there_and_what_must_not():
    for room in table():
        package, _, folder = room.partition(".")
        start = PACKAGES[package] / folder / "__init__.py"
        if folder and start.exists():
            docstring = ast.get_docstring(ast.parse(start.read_text(encoding="utf-8"))) or ""
            assert len(docstring.splitlines()) >= 3, room
            assert "ot here: " in docstring, room


def test_no_file_is_longer_than_400_lines_and_no_function_than_60():
    folders = (*PACKAGES.values(), ROOT / "tests")
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".js", ".css", ".j2")]
    texts = {path: path.read_text(encoding="utf-8") for path in files if "vendor" not in path.parts}
    lengths = {str(path.relative_to(ROOT)): len(text.splitlines()) for path, text in texts.items()}
    for path, text in texts.items():
        if path.suffix == ".py":
            lengths |= {f"{path.relative_to(ROOT)} {node.name}": lines for node, lines in _functions(ast.parse(text))}
    assert {name: lines for name, lines in lengths.items() if lines > (60 if " " in name else 400)} == {}


def _functions(node: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Yield every function with its number of lines, decorators left out; expressions have none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            assert child.end_lineno is not None
            yield child, child.end_lineno - child.lineno + 1
        if isinstance(child, ast.stmt):
            yield from _functions(child)
