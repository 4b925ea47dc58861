"""The documents tell the truth: their Python runs, prints what they show, and what they name is there.

Each file's `python` blocks run in order, as one program, in a directory that holds a copy of `examples/` and nothing
else. Where a `text` block follows a `python` block with nothing between them, it is what that block prints, to the
letter.
"""

import contextlib
import importlib
import importlib.util
import io
import itertools
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import fastbp

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


class Block(NamedTuple):
    code: str
    line: int
    output: str | None


def python_blocks(text):
    fences = list(FENCE.finditer(text))
    for fence, following in itertools.zip_longest(fences, fences[1:]):
        if fence[1] == "python":
            shown = following and following[1] == "text" and not text[fence.end() : following.start()].strip()
            line = text[: fence.start(2)].count("\n")
            yield Block(fence[2], line, following[2] if shown else None)


def run(text, name):
    namespace = {"__name__": "__main__"}
    for block in python_blocks(text):
        printed = io.StringIO()
        # Blank lines before the code: a traceback then shows the document's own line numbers.
        code = compile("\n" * block.line + block.code, name, "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if block.output is not None:
            assert printed.getvalue() == block.output, (
                f"{name}, line {block.line}: the text shown is not what is printed"
            )


@document
def test_the_code_runs_and_prints_what_the_document_shows(path, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", "examples")
    run(path.read_text(encoding="utf-8"), str(path))


@document
def test_every_test_that_is_named_exists(path):
    for file, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", path.read_text(encoding="utf-8")):
        assert (ROOT / file).exists(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


NAMED = re.compile(r"`(?:fastbp\.)?(\w+)\.(\w+)(?:\([^`]*\))?`")
FILES = ("csv", "fastbp", "html", "json", "md", "py", "toml")  # endings of files' names


def modules():
    """Return the modules of fastbp by their last names."""
    package = ROOT / "fastbp"
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.setdefault(parts[-1], []).append(".".join(parts))
    return found


def has(module, name):
    """Tell whether a module has such a name, or a module of that name in it."""
    with contextlib.suppress(AttributeError, ModuleNotFoundError):
        return hasattr(importlib.import_module(module), name) or bool(importlib.util.find_spec(f"{module}.{name}"))
    return False


def is_there(first, second, text):
    """Tell whether what a document calls `first.second` exists."""
    if second in FILES:
        return True
    if any(has(module, second) for module in modules().get(first, [])):
        return True
    if first[0].isupper() and hasattr(fastbp, first):
        return hasattr(getattr(fastbp, first), second)
    code = "\n".join(block.code for block in python_blocks(text))
    if re.search(rf"^{first}\b.*=", code, re.MULTILINE):  # a variable of the document
        return True
    return has(first, second)


@document
def test_every_function_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    for first, second in NAMED.findall(text):
        assert is_there(first, second, text), f"{first}.{second}"


@pytest.mark.parametrize(
    "name",
    ["kernel_room.linear_forward", "Network.fits", "toy.example", "fastbp.nothing", "joblib.nothing", "nowhere.to_be"],
)
def test_a_name_or_a_module_that_is_not_there_is_found(name):
    (found,) = NAMED.findall(f"`{name}`")
    assert not is_there(*found, "")


@document
def test_every_file_that_is_linked_exists(path):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_page_on_backpropagation_shows_its_equations_in_code():
    blocks = list(python_blocks((ROOT / "docs" / "backpropagation.md").read_text(encoding="utf-8")))
    assert sum("assert" in block.code for block in blocks) >= 8
    assert sum(block.output is not None for block in blocks) >= 3


# The reader of documents itself.


def test_blocks_share_one_namespace_and_their_output_is_compared():
    text = "```python\na = 2\n```\n\nprose\n\n```python\nprint(a)\n```\n\n```text\n2\n```\n"
    run(text, "a document")
    with pytest.raises(AssertionError, match="line 7: the text shown is not what is printed"):
        run(text.replace("\n2\n", "\n3\n"), "a document")


def test_a_text_block_after_prose_is_not_compared():
    run("```python\nprint(1)\n```\n\nsomething else:\n\n```text\n2\n```\n", "a document")


def test_an_error_in_a_block_names_the_documents_line():
    with pytest.raises(ZeroDivisionError) as error:
        run("# Title\n\n```python\na = 1\na / 0\n```\n", "a document")
    assert error.traceback[-1].lineno + 1 == 5
