"""What the packages import is what pyproject.toml promises to install."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (ROOT / "src" / "llm_dit", ROOT / "experiments", ROOT / "web")
OWN = {"llm_dit", "experiments", "web"}
COMES_ALONG = {"triton", "httpx", "markupsafe", "pydantic_core", "starlette"}
"""With torch, huggingface-hub, jinja2, pydantic and fastapi."""
LOOKED_FOR = {"fa3_fwd_interface", "flash_attn", "sageattention"}
"""Packages that are used where the user has installed them, and asked for by a setting."""


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


def test_drawing_and_scoring_need_no_diffusers():
    assert "diffusers" not in set().union(*map(imported, SHIPPED))
    assert "diffusers" not in declared()
