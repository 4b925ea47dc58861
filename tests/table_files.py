"""Helpers of the tests of text tables: a file is written, and its columns are read."""

from pathlib import Path

from fastbp.tables.reading import read_table


def written(data: bytes | str, name: str = "t.csv") -> Path:
    path = Path(name)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def columns(data: bytes | str) -> dict[str, list[object]]:
    return read_table(written(data)).values().to_dict(as_series=False)


def column(cells: list[str], separator: str = ",", others: str = "") -> list[object]:
    """Return the values of a column, read beside a column of other cells."""
    quoted = [f'"{cell}"' for cell in cells]
    rows = [f"{cell}{separator}{others}" for cell in quoted]
    return columns("\n".join([f"a{separator}b", *rows]) + "\n")["a"]
