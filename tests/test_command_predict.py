"""`predict`, `evaluate` and `inspect` as a user sees them: predictions beside the old cells, scores, and errors."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import FEW, command, error, run, write_table

import fastbp
from fastbp.files import model_file


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, where `model.fastbp` is saved."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(directory: Path) -> Path:
    """A model of the column `kind` of `write_table`."""
    run("train", write_table("training.csv"), "--target", "kind", "--n-estimators", 2, "--hidden-layer-sizes", 32)
    return directory / "model.fastbp"


def test_predictions_stand_beside_the_cells_as_they_were(model: Path) -> None:
    table = write_table()
    run("predict", model, table, "-o", "out.csv")
    old, new = table.read_text().splitlines(), Path("out.csv").read_text().splitlines()
    assert new[0] == old[0] + ",prediction,confidence"
    assert [line.rsplit(",", 2)[0] for line in new] == old
    predicted = pl.read_csv("out.csv")
    assert (predicted["prediction"] == predicted["kind"]).mean() > 0.9
    assert predicted["confidence"].is_between(0.5, 1).all()


def test_predictions_go_to_stdout_where_no_file_is_named(model: Path) -> None:
    run("predict", model, write_table(), "-o", "out.csv")
    assert run("predict", model, write_table()) == Path("out.csv").read_text()


def test_a_table_keeps_its_dialect(model: Path) -> None:
    text = run("predict", model, write_table("other.csv", separator=";"))
    commas = run("predict", model, write_table())
    assert text.splitlines()[0] == "width cm;colour;kind;price;prediction;confidence"
    confidence = [float(line.rsplit(";", 1)[1].replace(",", ".")) for line in text.splitlines()[1:]]
    assert confidence == [float(line.rsplit(",", 1)[1]) for line in commas.splitlines()[1:]]


def test_the_target_and_columns_of_no_use_need_not_be_there_and_others_may(model: Path) -> None:
    whole = run("predict", model, write_table())
    frame = pl.read_csv("table.csv", infer_schema=False)
    frame.select(pl.lit("x").alias("new"), "colour", "price", "width cm").write_csv("other.csv")
    bare = run("predict", model, "other.csv")
    assert [line.split(",")[-2:] for line in bare.splitlines()] == [line.split(",")[-2:] for line in whole.splitlines()]


def test_unknown_and_missing_cells_are_predicted_too(model: Path) -> None:
    Path("new.csv").write_text("width cm,colour,price\n,,\n1e300,violet,-1e300\ninf,red,nan\n")
    lines = run("predict", model, "new.csv").splitlines()
    assert [line.split(",")[-2] in ("big", "small") for line in lines[1:]] == [True] * 3


def test_predictions_of_a_quantity_are_numbers_in_its_own_unit() -> None:
    run("train", write_table(), "--target", "price", "--n-estimators", 2, "--hidden-layer-sizes", 32)
    frame = pl.read_csv(run("predict", "model.fastbp", "table.csv").encode())
    assert frame.columns[-1] == "prediction"
    assert np.corrcoef(frame["prediction"], frame["price"])[0, 1] > 0.9


def test_probabilities_and_intervals_can_be_added(model: Path) -> None:
    frame = pl.read_csv(run("predict", model, write_table(), "--probabilities").encode())
    assert frame.columns[-2:] == ["p_big", "p_small"]
    np.testing.assert_allclose(frame["p_big"] + frame["p_small"], 1)
    np.testing.assert_allclose(frame.select("p_big", "p_small").max_horizontal(), frame["confidence"])
    assert "--coverage is for regression, and the model of 'kind' is for classification" in error(
        "predict", model, "table.csv", "--coverage", 0.9
    )
    run("train", "table.csv", "--target", "price", *FEW)
    frame = pl.read_csv(run("predict", model, "table.csv", "--coverage", 0.8).encode())
    assert (frame["lower"] < frame["prediction"]).all()
    assert (frame["prediction"] < frame["upper"]).all()
    assert "--probabilities is for classification, and the model of 'price' is for regression" in error(
        "predict", model, "table.csv", "--probabilities"
    )
    assert "--coverage: coverage must be at most" in error("predict", model, "table.csv", "--coverage", 0.999)
    assert "--coverage must lie between 0 and 1" in error("predict", model, "table.csv", "--coverage", 1)


def test_a_model_is_evaluated_on_a_table_with_answers(model: Path) -> None:
    assert re.search(r"table.csv, 40 rows\nscores +accuracy (9\d|100)", run("evaluate", model, write_table()))
    result = json.loads(run("evaluate", model, "table.csv", "--json"))
    predicted = pl.read_csv(run("predict", model, "table.csv").encode())
    accuracy = (predicted["prediction"] == predicted["kind"]).mean()
    assert result["scores"][0] == {"metric": "accuracy", "value": accuracy, "baseline": 0.5}
    frame = pl.read_csv("table.csv", infer_schema=False)
    frame.rename({"kind": "truth"}).write_csv("renamed.csv")
    assert "40 rows" in run("evaluate", model, "renamed.csv", "--target", "truth")
    assert "no column 'kind'" in (message := error("evaluate", model, "renamed.csv"))
    assert "--target" in message
    assert "--target" not in error("evaluate", model, "renamed.csv", "--target", "kind")
    frame.with_columns(kind=pl.lit("huge")).write_csv("other.csv")
    assert "'huge', which is not a class of the training rows" in error("evaluate", model, "other.csv")


def test_a_model_is_described_with_the_settings_that_it_used(model: Path) -> None:
    output = run("inspect", model)
    assert re.search(r"target +kind, 2 classes: big, small\n", output)
    assert "hidden_layer_sizes=32, " in output
    assert "label_smoothing=0.05, " in output
    assert "quantile" not in output


def test_a_quantile_is_scored_by_its_loss_and_the_share_below(directory: Path) -> None:
    options = ["--metric", "quantile", "--quantile", 0.75, *FEW]
    output = run("train", write_table(), "--target", "price", *options)
    assert re.search(r"quantile loss \S+ \(\S+\), share below prediction \S+% \(75.0%\)", output)
    assert "quantile=0.75" in run("inspect", directory / "model.fastbp")


def test_columns_that_the_model_does_not_know_are_noted(model: Path) -> None:
    pl.read_csv(write_table(), infer_schema=False).with_columns(new=pl.lit(1)).write_csv("more.csv")
    assert "does not know a column of the table: 'new'" in command("predict", model, "more.csv").stderr
    assert command("predict", model, "table.csv").stderr == ""


def test_json_lines_and_standard_input_are_tables(model: Path) -> None:
    whole = run("predict", model, write_table())
    wanted = [line.split(",")[-2:] for line in whole.splitlines()]
    pl.read_csv("table.csv", null_values="NA").write_ndjson("table.jsonl")
    assert [line.split(",")[-2:] for line in run("predict", model, "table.jsonl").splitlines()] == wanted
    arguments = [sys.executable, "-m", "fastbp", "predict", str(model), "-"]
    piped = subprocess.run(
        arguments, input=Path("table.csv").read_bytes(), capture_output=True, timeout=120, check=True
    )
    assert piped.stdout.decode() == whole


def test_parquet_and_gzip_come_and_go(model: Path) -> None:
    frame = pl.read_csv(write_table(), null_values="NA")
    frame.write_parquet("table.parquet")
    Path("table.csv.gz").write_bytes(gzip.compress(Path("table.csv").read_bytes()))
    run("predict", model, "table.csv", "-o", "a.parquet")
    run("predict", model, "table.parquet", "-o", "b.parquet")
    run("predict", model, "table.csv.gz", "-o", "c.csv.gz")
    predictions = [pl.read_parquet(name)["prediction"].to_list() for name in ("a.parquet", "b.parquet")]
    third = pl.read_csv(gzip.decompress(Path("c.csv.gz").read_bytes()))["prediction"].to_list()
    assert predictions[0] == predictions[1] == third


def test_a_category_of_digits_is_not_mistaken_for_numbers() -> None:
    Path("codes.csv").write_text("code,kind\n" + "".join(f"{'0' + 'A7'[i % 2]},{'xy'[i % 2]}\n" for i in range(40)))
    run("train", "codes.csv", "--target", "kind", "--n-estimators", 2, "--hidden-layer-sizes", 32)
    Path("new.csv").write_text("code\n07\n07\n")
    assert [line.split(",")[1] for line in run("predict", "model.fastbp", "new.csv").splitlines()[1:]] == ["y", "y"]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("Width_cm,colour,price", "1,red,2", "lacks a column of the model: 'width cm' (did you mean 'Width_cm'?)"),
        ("colour,price", "red,2", "lacks a column of the model: 'width cm'\n"),
        ("width cm,colour,price", "wide,red,2", "'width cm' held numbers in training and holds text here ('wide' in"),
    ],
)
def test_a_table_that_does_not_fit_the_model_is_refused(header: str, row: str, message: str, model: Path) -> None:
    Path("new.csv").write_text(f"{header}\n{row}\n")
    assert message in error("predict", model, "new.csv", "-o", "out.csv")
    assert not Path("out.csv").exists()


def test_a_file_that_is_no_model_is_refused(model: Path) -> None:
    table = write_table()
    assert "no fastbp model" in error("predict", table, table)
    model.write_bytes(model.read_bytes()[:-1])
    error("predict", model, table)
    assert "there is no file none" in error("predict", "none", table)


def test_a_network_without_an_encoding_is_refused() -> None:
    tensors, metadata = fastbp.Network([2, 1]).to_tensors()
    model_file.write("bare.fastbp", tensors, {"network": metadata})
    assert "no encoding" in error("predict", "bare.fastbp", write_table())


@pytest.mark.parametrize("output", ["none/out.csv", ".", "training.csv", "model.fastbp"])
def test_predictions_that_cannot_be_written_are_refused(output: str, model: Path) -> None:
    before = model.read_bytes()
    error("predict", model, "training.csv", "-o", output)
    assert model.read_bytes() == before
