"""The house is as the README draws it: every file in its room, no room too large, and no arrow that runs up."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastbp"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
MOST_LINES = 350

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def drawn():
    """Return the files that the README's floor plan names, by folder."""
    (plan,) = re.findall(r"^```text\n(fastbp/.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    found, path = {}, []
    for line in plan.splitlines():
        folder, names = re.fullmatch(r"( *\w+/)?(.*)", line).groups()
        if folder:
            depth = (len(folder) - len(folder.lstrip())) // 2
            path = [*path[:depth], folder.strip().rstrip("/")]
        found.setdefault("/".join(path), set()).update(names.split())
    return found


def test_the_floor_plan_of_the_readme_is_the_tree():
    there = {
        folder.relative_to(ROOT).as_posix(): {path.stem for path in folder.glob("*.py")} - {"__init__"}
        for folder in FOLDERS
    }
    assert drawn() == there


@each_file
def test_no_file_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@each_file
def test_a_file_says_in_its_first_lines_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_folder_says_what_it_may_import_and_what_it_must_not_know(folder):
    told = " ".join(ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))).split())
    assert re.search(r"\bmay import\b", told, re.I), told
    assert re.search(r"\bmust not know\b|\bmust not hold\b", told), told


@each_file
def test_no_file_but_the_losses_own_compares_a_loss_by_name(path):
    """A loss carries its properties; a comparison with its name would miss the next loss."""
    if path.name == "losses.py":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = [side for side in sides if isinstance(side, ast.Attribute) and side.attr == "name"]
            of_loss = [side for side in names if isinstance(side.value, ast.Name | ast.Attribute)]
            assert not any("loss" in ast.unparse(side) for side in of_loss), f"line {node.lineno}"
