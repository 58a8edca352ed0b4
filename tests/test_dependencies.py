"""What the packages import is what pyproject.toml promises to install."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (ROOT / "src" / "llm_dit", ROOT / "experiments", ROOT / "web")
OWN = {"llm_dit", "experiments", "web"}
COMES_ALONG = {"httpx", "markupsafe", "pydantic_core", "starlette"}
"""With huggingface-hub, jinja2, pydantic and fastapi."""
SERVES_ANOTHER = {"python-multipart", "setuptools"}
"""FastAPI reads forms by the one, torch compiles by the other; no file of ours imports them."""
LOOKED_FOR = {"fa3_fwd_interface", "flash_attn", "sageattention"}
"""Packages that are used where the user has installed them, and asked for by a setting."""


@cache
def imported(folder):
    """Top names of the modules that a folder's files import, anywhere in their text."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
    return names


def declared():
    """Normalised names of the packages that are installed with the project or one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {re.split(r"[\[<>=;~! ]", line)[0].lower().replace("_", "-") for line in lines}


def test_what_is_imported_is_a_dependency():
    foreign = set().union(*map(imported, SHIPPED)) - set(sys.stdlib_module_names) - OWN - COMES_ALONG - LOOKED_FOR
    packages = packages_distributions()
    known = {name: {package.lower().replace("_", "-") for package in packages.get(name, [name])} for name in foreign}
    assert {name for name, candidates in known.items() if not candidates & declared()} == set()


def test_what_every_installation_gets_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[\[<>=;~! ]", line)[0] for line in project["dependencies"]}
    packages = packages_distributions()
    used = {package for name in set().union(*map(imported, SHIPPED)) for package in packages.get(name, ())}
    assert names - {package.lower().replace("_", "-") for package in used} == SERVES_ANOTHER


def extras():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def test_an_extra_that_a_message_or_a_page_names_is_there_and_the_quick_start_lists_them_all():
    told = [path.read_text(encoding="utf-8") for folder in SHIPPED for path in folder.rglob("*.py")]
    told += [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    named = set(re.findall(r"--extra\s+([a-z]\w*)", "\n".join(told)))
    assert {"float8", "flash3", "gguf", "ocr", "cluster", "lpips"} <= named | extras().keys()
    assert named <= extras().keys()
    table = (
        (ROOT / "docs" / "quick_start.md").read_text(encoding="utf-8").partition("| extra | ")[2].partition("\n\n")[0]
    )
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == sorted(extras())


def test_a_package_that_only_an_extra_brings_is_imported_where_it_is_used():
    of_extras = {re.split(r"[\[<>=;~! ]", line)[0] for lines in extras().values() for line in lines}
    assert {"gguf", "triton"} <= of_extras
    at_import = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in SHIPPED
        for path in folder.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in top_names(node)
    }
    assert {(path, name) for path, name in at_import if name in of_extras and name != "triton"} == set()


def top_names(node):
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return [alias.name.partition(".")[0] for alias in node.names] if isinstance(node, ast.Import) else []


def test_drawing_and_scoring_need_no_diffusers():
    assert "diffusers" not in set().union(*map(imported, SHIPPED))
    assert "diffusers" not in declared()
