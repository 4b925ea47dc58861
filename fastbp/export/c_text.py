"""Numbers, texts, arrays and comments in C99, in ASCII. This file must not know what is computed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastbp._typing import Array

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(rb"[ !#-)+-.0->@-\[\]-~]")  # not the quotation mark, *, /, ?, the backslash: see `text`
_NUMBERS_PER_LINE = 8
_LONGEST_TEXT = 4000  # C99 promises literals of 4095 bytes


def check_prefix(prefix: Any) -> str:
    """Return a prefix of names; raise ValueError if no name in C can begin with it."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix must be a name in C, such as 'pump', got {prefix!r}")
    return prefix


def type_of(dtype: np.dtype[Any]) -> str:
    """Return the type of C for float32 or float64."""
    return "float" if dtype == np.float32 else "double"


def suffix_of(dtype: np.dtype[Any]) -> str:
    """Return what ends the names of functions and constants of a type: f for float."""
    return "f" if dtype == np.float32 else ""


def number(value: Any, dtype: Any = np.float64) -> str:
    """Return the shortest decimal number that a compiler reads as exactly this value."""
    kept_in = np.dtype(dtype)
    return f"{kept_in.type(value)!s}{suffix_of(kept_in)}"


def array(name: str, values: Array, type_name: str) -> str:
    """Return the definition of a constant array of numbers, one row of `values` after the other."""
    flat = values.ravel()
    kept_in = flat.dtype
    texts = [number(one, kept_in) if kept_in.kind == "f" else str(one) for one in flat]
    lines = [
        "  " + ", ".join(texts[first : first + _NUMBERS_PER_LINE]) for first in range(0, len(texts), _NUMBERS_PER_LINE)
    ]
    body = ",\n".join(lines)
    return f"static const {type_name} {name}[{len(texts)}] = {{\n{body}\n}};\n"


def text(value: str) -> str:
    """Return a text as a literal, in UTF-8.

    Three octal digits stand for all bytes but plain ones. So no literal ends a comment or holds a trigraph.
    """
    return '"' + "".join(_byte(one) for one in value.encode()) + '"'


def _byte(one: int) -> str:
    return chr(one) if _PLAIN.fullmatch(bytes([one])) else f"\\{one:03o}"


def texts(name: str, values: Iterable[str]) -> tuple[str, list[str]]:
    """Return definitions of texts that are too long for a literal, and what stands for each text.

    Raises
    ------
    ValueError
        If a text holds a zero, with which a text in C ends.
    """
    definitions, standing = [], []
    for place, value in enumerate(values):
        if "\0" in value:
            raise ValueError(f"the text {value!r} holds a zero byte, and a text in C ends there")
        if len(value.encode()) <= _LONGEST_TEXT:
            standing.append(text(value))
            continue
        own = f"{name}_{place}"
        letters = ", ".join(f"'{_byte(one)}'".replace("'''", "'\\047'") for one in value.encode())
        definitions.append(f"static const char {own}[] = {{{letters}, 0}};\n")
        standing.append(own)
    return "".join(definitions), standing


def names(name: str, values: Iterable[str]) -> str:
    """Return the definition of a constant array of texts."""
    definitions, standing = texts(f"{name}_text", values)
    lines = ",\n".join(f"  {one}" for one in standing)
    return f"{definitions}static const char *const {name}[{len(standing)}] = {{\n{lines}\n}};\n"


def comment(lines: Iterable[str]) -> str:
    """Return lines as a comment; `text` has made all names in them safe."""
    first, *others = lines
    return "\n".join([f"/* {first}", *(f" * {line}".rstrip() for line in others), " */\n"])
