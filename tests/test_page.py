"""The report: one page that needs no other file, has all its sections, and opens in a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from command_line import FEW, run, write_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "path", "use", "image", "rect", "circle"}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page(target: str, *options: object) -> str:
    run("train", write_table(), "--target", target, "--report", "report.html", *FEW, *options)
    return Path("report.html").read_text()


class Balance(HTMLParser):
    """Checks that every tag that is opened is closed, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("target", "sections"),
    [
        ("kind", ["accuracy", "log loss", "AUC", "Confusion matrix and calibration", "growth of the log loss"]),
        ("price", ["R²", "RMSE", "MAE", "Residuals", "growth of the RMSE"]),
    ],
)
def test_the_page_holds_every_part_and_is_well_formed(target: str, sections: list[str]) -> None:
    parser = Balance()
    parser.feed(page(target))
    assert parser.open == []
    for what in (
        *sections,
        "Learning curves",
        "Permutation importance",
        "best epoch",
        "width cm",
        "colour",
        "learning rate",
        "fastbp",
    ):
        assert what in parser.text


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    text = re.sub(r'(xmlns(:\w+)?|rdf:resource|rdf:about)="[^"]*"', "", page("kind"))
    assert not re.search(r"<script|<link|<iframe|@import", text)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text)


def test_names_and_labels_are_text_whatever_they_hold() -> None:
    frame = pl.read_csv(write_table(), infer_schema=False)
    frame = frame.rename({"colour": "<b>$x_1$ & co", "kind": "<script>alert(1)</script>"})
    frame = frame.with_columns(pl.col("<script>alert(1)</script>").replace("big", "<i>$big$</i>"))
    frame.write_csv("odd.csv")
    run("train", "odd.csv", "--target", "<script>alert(1)</script>", "--report", "report.html", *FEW)
    text = Path("report.html").read_text()
    assert "<script>" not in text
    assert "<i>" not in text
    assert "&lt;i&gt;$big$&lt;/i&gt;" in text


def test_lists_long_texts_and_letters_without_a_font_make_a_page(capfd: pytest.CaptureFixture[str]) -> None:
    frame = pl.read_csv(write_table(), null_values="NA").with_columns(
        pl.col("colour").replace({"red": "红色", "green": "绿" * 500}), listed=pl.lit([1, 2])
    )
    frame.write_parquet("odd.parquet")
    run("train", "odd.parquet", "--target", "kind", "--report", "report.html", *FEW)
    text = Path("report.html").read_text()
    assert "红色" in text
    assert "绿" * 50 not in text
    assert "Glyph" not in capfd.readouterr().err


def test_many_classes_and_columns_still_make_a_page() -> None:
    lines = [",".join([*(f"c{i}" for i in range(60)), "y"])]
    lines += [",".join([*(str((i * k) % 7) for k in range(2, 62)), f"label {i % 30}"]) for i in range(240)]
    Path("wide.csv").write_text("\n".join(lines) + "\n")
    run("train", "wide.csv", "--target", "y", "--report", "report.html", *FEW)
    assert "label 29" in Path("report.html").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("target", ["kind", "price"])
def test_a_browser_shows_the_page(target: str, directory: Path) -> None:
    page(target)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [f"--user-data-dir={directory / 'profile'}", "--window-size=950,2200", "--virtual-time-budget=2000"]
    address = (directory / "report.html").as_uri()
    arguments = [CHROMIUM, *options, f"--screenshot={directory / 'page.png'}", address]
    subprocess.run(arguments, check=True, capture_output=True, timeout=120)
    from PIL import Image

    with Image.open(directory / "page.png") as picture:
        colours = picture.convert("RGB").resize((95, 220)).getcolors(maxcolors=95 * 220)
    assert len(colours) > 100  # a page with pictures, not a blank one
