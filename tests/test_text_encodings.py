"""Text tables in other encodings than UTF-8, with other line ends, and with long cells."""

import re
from pathlib import Path

import pytest
from command_line import FEW, run, write_table
from table_files import columns, written

from fastbp.tables.reading import read_table
from fastbp.tables.writing import write_table as write_back


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- encodings --------------------------------------------------------------------------------------------------------


FRENCH = "nom,n\n" + "".join(
    f"{word},{i}\n" for i, word in enumerate(["café", "thé", "crème brûlée", "forêt", "où"] * 3)
)
GERMAN = "name,n\n" + "".join(f"{word},{i}\n" for i, word in enumerate(["Müller", "schön", "Jäger", "Straße"] * 3))
POLISH = "name,n\n" + "".join(f"{word},{i}\n" for i, word in enumerate(["Wałęsa", "gęś", "żółw", "mąka", "Łódź"] * 3))
RUSSIAN = "name,n\n" + "".join(f"{word},{i}\n" for i, word in enumerate(["Москва", "привет", "город"] * 3))
JAPANESE = "name,n\n" + "".join(f"{word},{i}\n" for i, word in enumerate(["東京", "カタカナ", "ひらがな"] * 3))


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (FRENCH, "mac_roman", "macintosh"),
        (GERMAN, "mac_roman", "macintosh"),
        (FRENCH, "cp850", "cp850"),
        (GERMAN, "cp850", "cp850"),
        (POLISH, "cp1250", "cp1250"),
        (RUSSIAN, "cp1251", "cp1251"),
        (JAPANESE, "cp932", "shift-jis"),
    ],
)
def test_another_encoding_is_refused_with_the_place_and_the_remedy(text: str, codec: str, name: str) -> None:
    written(text.encode(codec))
    with pytest.raises(ValueError, match=rf"line \d+, byte \d+ of the file \(0x..\).*iconv -f {name} -t utf-8 t.csv"):
        read_table("t.csv")


@pytest.mark.parametrize("text", [FRENCH, GERMAN, "a,b\nÅse Sørøy,1\n¿Qué?,2\nnaïve ’90s – 20 €,3\n5 m²,4\n"])
def test_windows_1252_is_read_and_noted_with_a_word(text: str) -> None:
    table = read_table(written(text.encode("cp1252")))
    assert table.cells.rows() == read_table(written(text, "u.csv")).cells.rows()
    assert re.search(r"read as Windows-1252 \(Latin-1\), as '\S+' in line \d+", table.notices[0])


@pytest.mark.parametrize("bad", ["Zo\xeb".encode("latin-1"), b"caf\xc3", b"\xff\xfe\xfd", b"x\x82y"])
def test_a_few_bad_bytes_leave_a_file_utf_8(bad: bytes) -> None:
    lines = [b"nom,n", *(f"crème brûlée été {i},{i}".encode() for i in range(60))]
    lines[30] = bad + b",30"
    table = read_table(written(b"\n".join(lines)))
    assert table.cells["nom"][0] == "crème brûlée été 0"
    assert "\ufffd" in table.cells["nom"][29]
    assert "line 31" in table.notices[0]
    assert "UTF-8" in table.notices[0]


@pytest.mark.parametrize("text", ["n,nom\n1,thé\n2,café", "n,nom\n1,10 €\n2,20 €", "n,nom\n1,東\n2,京"])
def test_utf_8_that_is_cut_in_its_last_character_stays_utf_8(text: str) -> None:
    table = read_table(written(text.encode()[:-1]))
    assert table.cells.rows()[0][1] == text.split("\n")[1][2:]
    assert "line 3" in table.notices[0]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32", "utf-16"])
def test_wide_encodings_are_read(codec: str) -> None:
    assert columns("a,b\nthé,1\ncafé,2\n".encode(codec))["a"] == ["thé", "café"]


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffa,y\r\n1.5,u\r\n2.5,v\r\n",
        "a,y\r\n1.5,u\r\n2.5,v\r\n",
        "\ufeffa;y\n1.5;u\n2.5;v\n",
        "sep=;\r\na;y\r\n1.5;u\r\n2.5;v\r\n",
        "\ufeffsep=;\r\na;y\r\n1.5;u\r\n2.5;v\r\n",
    ],
)
def test_a_byte_order_mark_and_line_ends_survive(data: str) -> None:
    run("train", write_table("train.csv"), "--target", "kind", *FEW)
    table = read_table(written(data))
    write_back(table.cells, Path("out.csv"), table)
    assert Path("out.csv").read_bytes() == data.encode()


@pytest.mark.parametrize("start", ["\ufeff", "", "\ufeffsep=,\r\n"])
def test_a_byte_order_mark_and_line_ends_survive_a_prediction(start: str) -> None:
    rows = [f"{i % 4}.5,{'uv'[i % 4 > 1]}" for i in range(40)]
    text = start + "\r\n".join(["a,y", *rows, ""])
    run("train", written(text), "--target", "y", *FEW)
    run("predict", "model.fastbp", "t.csv", "-o", "out.csv")
    answered = Path("out.csv").read_bytes().decode()
    assert re.sub(r",[uv],[\d.]+(?=\r\n)|,prediction,confidence", "", answered) == text
    assert answered.count("\n") == answered.count("\r\n")


@pytest.mark.parametrize("ends", ["\r\r\n", "\r\n", "\r", "\n"])
def test_every_line_end_is_one(ends: str) -> None:
    assert columns(ends.join(["a,b", "1,x", "2,y", ""])) == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize("cell", ["x" * 200_000, '5" ' + "y" * 150_000, "z\u00e9" * 140_000])
def test_long_cells_are_read(cell: str) -> None:
    assert columns(f"a,b,c\n{cell},1\nshort,2\n")["a"][0] == cell
