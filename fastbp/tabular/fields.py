"""Checks of the values that a JSON file holds. Each message begins with the name of the field.

It knows JSON's own types. It must not know what a field means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastbp import checks

LARGEST = 4e300  # of a number that a table with cells up to ±1e300 gives


def need(field: str, found: dict[str, Any], names: set[str]) -> None:
    """Raise unless an object has these keys."""
    if missing := sorted(names - set(found)):
        raise ValueError(f"{field} lacks {', '.join(missing)}")


def need_exactly(field: str, found: dict[str, Any], names: set[str], optional: str = "") -> None:
    """Raise unless an object has these keys and no others; one more key is optional."""
    need(field, found, names)
    if unknown := sorted(set(found) - names - {optional}):
        raise ValueError(f"{field} holds an unknown field: {checks.shown(unknown[0])}")


def json_object(field: str, found: Any) -> dict[str, Any]:
    """Return an object."""
    if not isinstance(found, dict):
        raise ValueError(f"{field} must be an object, got {checks.shown(found)}")
    return found


def json_list(field: str, found: Any, least: int = 0, most: float = math.inf) -> list[Any]:
    """Return a list of at least `least` and at most `most` entries."""
    if not isinstance(found, list):
        raise ValueError(f"{field} must be a list, got {checks.shown(found)}")
    if not least <= len(found) <= most:
        bound = f"at least {least}" if len(found) < least else f"at most {most}"
        raise ValueError(f"{field} must have {bound} entries, got {len(found)}")
    return found


def text(field: str, found: Any) -> str:
    """Return a text."""
    if not isinstance(found, str):
        raise ValueError(f"{field} must be a text, got {checks.shown(found)}")
    return found


def texts(field: str, found: Any, least: int = 0, most: float = math.inf) -> list[str]:
    """Return different texts."""
    found_texts = [text(f"{field}[{i}]", one) for i, one in enumerate(json_list(field, found, least, most))]
    check_unique(field, found_texts)
    return found_texts


def check_unique(field: str, values: Sequence[Any]) -> None:
    """Raise unless all values differ."""
    if len(set(values)) < len(values):
        raise ValueError(f"{field} must be different from each other")


def number(field: str, found: Any, most: float = LARGEST) -> float:
    """Return a finite number of at most `most`, as a float."""
    value = checks.real_number(field, found)
    if not math.isfinite(value) or abs(value) > most:
        bound = "finite" if most == math.inf else f"finite and at most {most:g}"
        raise ValueError(f"{field} must be {bound}, got {checks.shown(found)}")
    return value
