"""Model files with a right checksum and wrong content end in a ValueError, or in a model that works.

The checksum is no signature: another program, or an attacker, can write any content and seal it.
"""

import copy
import hashlib
import json
import os
import pathlib
import random
import time
import tracemalloc

import numpy as np
import pytest
from command_line import error

import fastbp
from fastbp.command.texts import inspection_text, model_summary
from fastbp.files import model_file
from fastbp.tabular import TableModel, TabularClassifier, TabularRegressor
from fastbp.tabular.encoding.cells import Frame, cells_of
from fastbp.tabular.encoding.columns import kind_of

MODELS = pathlib.Path(__file__).parent / "models"
KINDS = ("classifier", "regressor")
ORIGINALS = {name: model_file.read(MODELS / f"{name}-0.1.fastbp") for name in (*KINDS, "network")}
RAW = "@raw "  # a text that begins so is written into the JSON as it stands
N_MUTATIONS = 20_000
CODES = {dtype: code for code, dtype in model_file.DTYPES.items()}


def sealed(tensors, metadata):
    """Return the bytes of a model file with a right checksum, whatever it holds."""
    text = json.dumps(metadata)
    while RAW in text:
        before, _, rest = text.partition(f'"{RAW}')
        raw, _, after = rest.partition('"')
        text = before + raw + after
    about = {"format": "fastbp", "sha256": "0" * 64, "format_version": "1", "fastbp_version": "0.1.0", "metadata": text}
    header, begin, data = {"__metadata__": about}, 0, b""
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        end = begin + tensor.nbytes
        code = CODES[tensor.dtype]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin, data = end, data + tensor.tobytes()
    text = json.dumps(header).encode()
    start = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start + data).hexdigest().encode()
    return start.replace(b"0" * 64, digest, 1) + data


FRAME = Frame(
    [
        cells_of("size", [1.0, None, 1e300, -1e300, 3.0]),
        cells_of("colour", ["red", "blue", None, "no level", "green"]),
        cells_of("day", np.array(["2024-01-01", "2024-06-01", "NaT", "1700-01-01", "2200-02-03"], "M8[D]")),
        cells_of("wet", ["true", "false", None, "true", "true"]),
    ]
)
KINDS_OF_FRAME = {cells.name: cells.kind for cells in FRAME}


def use(path):
    """Load a model, predict finite numbers, inspect the model, and save it so that it loads again."""
    model = TableModel.load(path)
    is_classes = model.target.task == "classification"
    with np.errstate(over="ignore"):
        if {column.name: kind_of(column) for column in model.encoding.columns} == KINDS_OF_FRAME:
            answers = model.predict(FRAME, is_classes, None if is_classes or not len(model.residuals) else 0.5)
        else:  # the frame lacks a column
            outputs = [network.predict(np.full((2, network.layer_sizes[0]), 3.0)) for network in model.networks]
            answers = {str(k): model.target.answers(output, model.temperature) for k, output in enumerate(outputs)}
    for name, values in answers.items():
        assert values.dtype.kind not in "fc" or np.isfinite(values).all(), name
    assert inspection_text(model)
    json.dumps(model_summary(model), allow_nan=False)
    model.save(path)
    again = TableModel.load(path)
    assert (again.target, again.encoding, again.n_rows) == (model.target, model.encoding, model.n_rows)


# --- mutations ----------------------------------------------------------------------------------------------

HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53 + 1, 2**63 - 1, 2**64, -(2**63), 10**400),
    *(0.0, -0.0, 0.5, -0.15, 1e-300, 5e-324, 1e-38, 3e38, 1e300, -1e300, 1.7e308),
    *(RAW + "1e999", RAW + "-1e999", RAW + "NaN", RAW + "[" * 300 + "]" * 300),
    *(
        "",
        "x",
        "size",
        "numbers",
        "text",
        "dates",
        "regression",
        "classification",
        "\0",
        "\ud800",
        "\x1b[2J",
        "x" * 9999,
    ),
    *([], {}, [[]], [None], {"kind": "text"}, [1, "a", None], ["a", "a"], list(range(200)), {"a": {"b": []}}),
]


def places(value):
    """Return every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def mutate_metadata(metadata, chance):
    container, key = chance.choice(list(places(metadata)))
    kind = chance.randrange(6)
    value = container[key]
    if kind == 0:
        del container[key]
    elif kind == 1:
        other, other_key = chance.choice(list(places(metadata)))
        container[key] = copy.deepcopy(other[other_key])
    elif kind == 2 and isinstance(container, dict):
        container[chance.choice([f"{key} ", "extra", "name", "target"])] = container.pop(key)
    elif kind == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(value))
    elif kind == 4 and type(value) in (int, float):
        container[key] = value * chance.choice([-1, 2, 0.5, 1e9, 1e-9, 10**9]) + chance.choice([0, 1, -1])
    else:
        container[key] = copy.deepcopy(chance.choice(HOSTILE))


def mutate_tensors(tensors, chance):
    name = chance.choice(sorted(tensors))
    tensor, kind = tensors[name], chance.randrange(7)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[chance.choice(["x", "9.weights.0", "0.weights.9", "0.mean.weights.0", f"{name} "])] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = tensor.reshape(chance.choice([(-1,), (*tensor.shape, 1), (1, *tensor.shape)]))
    elif kind == 3:
        tensors[name] = tensor.astype(chance.choice(["f8", "f4", "i8", "u8", "u1", "?"]))
    elif kind == 4:
        other = tensors[chance.choice(sorted(tensors))]
        tensors[name] = chance.choice([other, tensor[:-1], tensor[:0]])
    elif tensor.size:
        changed = tensor.copy()
        number = (
            1
            if tensor.dtype.kind != "f"
            else chance.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, -1.0, 0.0, 1e30, 1e-45, 1e300])
        )
        some = slice(None) if chance.random() < 0.3 else chance.randrange(tensor.size)
        changed.reshape(-1)[some] = number
        tensors[name] = changed


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast", "ignore:overflow encountered in cast")
def test_20000_resealed_files_end_in_a_value_error_or_in_a_model_that_works(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    chance, path = random.Random(20), tmp_path / "model.fastbp"
    outcomes = {"refused": 0, "works": 0}
    refused, slowest = [], 0.0
    for number in range(N_MUTATIONS):
        tensors, metadata = ORIGINALS[KINDS[number % 2]]
        tensors, metadata = dict(tensors), copy.deepcopy(metadata)
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            if chance.random() < 0.75 and list(places(metadata)):
                mutate_metadata(metadata, chance)
            elif tensors:
                with np.errstate(all="ignore"):
                    mutate_tensors(tensors, chance)
        path.write_bytes(sealed(tensors, metadata))
        begun = time.monotonic()
        try:
            use(path)
            outcomes["works"] += 1
        except ValueError as error:
            refused.append(str(error))
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"mutation {number}") from error
        slowest = max(slowest, time.monotonic() - begun)
    assert min(outcomes.values()) > N_MUTATIONS / 20, outcomes
    assert slowest < 5, slowest
    odd = [said for said in refused if "model.fastbp" not in said or len(said) > 600 or len(said.splitlines()) > 1]
    assert odd == []


# --- what a field may hold ------------------------------------------------------------------------------------------

TABLE, TARGET, SETTINGS = ("table",), ("table", "target"), ("table", "about", "settings")
COLUMN, SCORE = ("table", "encoding", "columns"), ("table", "about", "scores", 0)
WRONG = [
    ("classifier", (*TABLE, "temperature"), 0, "temperature"),
    ("classifier", (*TABLE, "temperature"), -0.15, "temperature"),
    ("classifier", (*TABLE, "temperature"), 1e-7, "temperature"),
    ("classifier", (*TABLE, "temperature"), RAW + "1e999", "1e999"),
    ("regressor", (*TABLE, "temperature"), "hot", "temperature must be a number"),
    ("classifier", (*TABLE, "n_rows"), -2, "n_rows"),
    ("regressor", (*TABLE, "n_rows"), 12.5, "n_rows"),
    ("regressor", (*TABLE, "version"), 1, "version"),
    ("classifier", TABLE, None, "table must be an object"),
    ("classifier", (*TARGET, "labels"), ["odd", "odd", "small"], "target.labels"),
    ("classifier", (*TARGET, "labels"), ["odd", 1, "small"], "target.labels"),
    ("classifier", (*TARGET, "labels"), [1, 2, 2**70], "target.labels"),
    ("classifier", (*TARGET, "labels"), ["odd"], "target.labels"),
    ("classifier", (*TARGET, "labels"), ["a", "b"], "3 outputs|2 outputs"),
    ("regressor", (*TARGET, "spread"), 0.0, "target.std"),
    ("regressor", (*TARGET, "lowest"), 99.0, "target.lowest"),
    ("regressor", (*TARGET, "mean"), 10**400, "target.mean"),
    ("regressor", (*TARGET, "task"), "ranking", "target.task"),
    ("classifier", (*COLUMN, 0, "scale"), -1.0, "scale"),
    ("classifier", (*COLUMN, 0, "median"), None, "median"),
    ("classifier", (*COLUMN, 0, "edges"), [3.0, 2.0, 1.0], "edges"),
    ("classifier", (*COLUMN, 0, "edges"), list(range(10**5)), "edges"),
    ("classifier", (*COLUMN, 0, "marks_missing"), 1, "marks_missing"),
    ("classifier", (*COLUMN, 0, "weight"), 1, "unknown field"),
    ("classifier", (*COLUMN, 1, "levels"), ["red", "red", "blue"], "levels"),
    ("classifier", (*COLUMN, 1, "levels"), [], "levels"),
    ("classifier", (*COLUMN, 1, "levels"), [str(i) for i in range(3000)], "levels"),
    ("classifier", (*COLUMN, 1, "levels"), ["red", "blue"], "inputs"),
    ("classifier", (*COLUMN, 1, "kind"), ["text"], "kind"),
    ("classifier", (*COLUMN, 2, "periods"), ["year", "moon"], "periods"),
    ("classifier", (*COLUMN, 2, "days"), {"kind": "dates"}, "days"),
    ("classifier", COLUMN, [], "encoding.columns"),
    ("classifier", ("table", "encoding", "names"), ["size"], "encoding.names"),
    ("regressor", (*SETTINGS, "metric"), "auc", "metric"),
    ("regressor", (*SETTINGS, "metric"), {"name": "huber", "parameter": 0}, "delta must be positive"),
    ("regressor", (*SETTINGS, "metric"), {"name": "poisson", "parameter": 0.0}, "metric must be a loss of single"),
    ("regressor", (*SETTINGS, "metric"), {"name": "cost"}, "loss must be the description of one"),
    ("classifier", (*SETTINGS, "metric"), {"name": "huber", "parameter": 1.0}, "metric"),
    ("regressor", (*SETTINGS, "quantile"), 2, "quantile"),
    ("regressor", (*SETTINGS, "hidden"), "88", "hidden_layer_sizes"),
    ("regressor", (*SETTINGS, "seed"), -1, "seed"),
    ("classifier", (*SETTINGS, "class_weight"), [["odd"]], "class_weight"),
    ("regressor", (*SCORE, "value"), "good", "scores"),
    ("regressor", ("table", "about", "notices"), "none", "notices"),
    ("regressor", ("table", "about", "networks"), [], "about.networks"),
    ("regressor", ("table", "about", "networks", 0, "error"), "small", "error"),
    ("regressor", ("table", "about", "reading"), [], "about.reading"),
    ("regressor", ("table", "about", "reading"), {"odd": {"size": [1]}}, "about.reading.odd"),
    ("regressor", ("table", "about", "reading"), {"decimal_mark": "x"}, "about.reading.decimal_mark"),
    ("regressor", ("networks", 0, "step"), 2**63 - 1, "step"),
    ("regressor", ("networks", 0, "dtype"), ["f4"], "dtype"),
    ("regressor", ("networks", 0, "loss"), {"name": "huber", "parameter": 0}, "delta"),
    (
        "regressor",
        ("networks", 0, "optimizer"),
        {"optimizer": "SGD", "learning_rate": {"schedule": 1}},
        "learning_rate",
    ),
    ("regressor", ("networks",), {}, "networks must be a list"),
    ("regressor", ("networks", 0, "layer_sizes"), [19, 8, 1], "network"),
]


def changed(kind, place, value):
    tensors, metadata = copy.deepcopy(ORIGINALS[kind])
    container = metadata
    for key in place[:-1]:
        container = container[key]
    container[place[-1]] = value
    return tensors, metadata


@pytest.mark.parametrize(("kind", "place", "value", "field"), WRONG)
def test_a_wrong_field_is_refused_by_name(tmp_path, kind, place, value, field):
    path = tmp_path / "model.fastbp"
    path.write_bytes(sealed(*changed(kind, place, value)))
    estimator = {"classifier": TabularClassifier, "regressor": TabularRegressor}[kind]
    for load in (TableModel.load, estimator.load):
        with pytest.raises(ValueError, match=rf"model\.fastbp.*({field})"):
            load(path)
    for arguments in (("inspect", path), ("predict", path, MODELS / "none.csv")):
        assert "train the model again" in (said := error(*arguments)) or "cannot read" in said


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("residuals", -np.arange(12.0), "residuals"),
        ("residuals", np.arange(12.0)[::-1], "residuals"),
        ("residuals", np.full(12, np.nan), "residuals"),
        ("residuals", np.ones((3, 4)), "residuals"),
        ("residuals", np.arange(20_000.0), "residuals"),
        ("0.weights.0", np.full((8, 19), 3e38, np.float32), "overflow"),
        ("1.weights.2", np.full((1, 8), -1e38, np.float32), "overflow"),
        ("1.biases.1", np.full(8, np.inf, np.float32), "biases"),
        ("0.biases.1", np.zeros(9, np.float32), "biases"),
        ("0.weights.3", np.zeros((1, 1), np.float32), "no layer"),
        ("2.weights.0", np.zeros((8, 19), np.float32), "no network"),
        ("0.random", np.zeros(4, np.uint64), "random"),
    ],
)
def test_a_wrong_tensor_is_refused_by_name(tmp_path, name, value, field):
    path = tmp_path / "model.fastbp"
    tensors, metadata = ORIGINALS["regressor"]
    path.write_bytes(sealed({**tensors, name: value}, metadata))
    with pytest.raises(ValueError, match=rf"model\.fastbp.*{field}"):
        TableModel.load(path)


def test_a_deep_model_with_ordinary_weights_is_taken(tmp_path):
    tensors, metadata = copy.deepcopy(ORIGINALS["regressor"])
    for k in range(2):
        described = metadata["networks"][k]
        sizes = described["layer_sizes"] = [described["layer_sizes"][0], *[64] * 50, 1]
        own, _ = fastbp.Network(sizes, seed=k).to_tensors()
        tensors |= {f"{k}.{name}": tensor for name, tensor in own.items()}
    path = tmp_path / "model.fastbp"
    path.write_bytes(sealed(tensors, metadata))
    use(path)


@pytest.mark.parametrize("sizes", [[2**30, 1, 1], [1, 2**30, 1], [2**15, 2**15, 2**15], [1] * 2 + [2**29, 2]])
@pytest.mark.parametrize("moments", [None, {"optimizer": "Adam", "learning_rate": 0.1}])
def test_sizes_that_the_tensors_lack_get_no_memory(tmp_path, sizes, moments):
    tensors, metadata = copy.deepcopy(ORIGINALS["network"])
    metadata["network"] |= {"layer_sizes": sizes, "optimizer": moments}
    (tmp_path / "model.fastbp").write_bytes(sealed(tensors, metadata))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.fastbp"):
            fastbp.Network.load(tmp_path / "model.fastbp")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 2**63 - 1},
        {"step": 2**62 + 1},
        {"step": -1},
        {"dtype": "f8,f8"},
        {"dtype": {}},
        {"layer_sizes": [3, 7, 5, 2.0]},
        {"activation": ["tanh"]},
        {"activation": ["tanh", 3]},
        {"activation": {"name": "tanh", "parameter": 0}},
        {"activation": {"name": "elu", "parameter": -1.0}},
        {"activation": {"name": "elu"}},
        {"activation": {"name": ["elu"], "parameter": 1.0}},
        {"activation": {"name": "f", "parameter": 0.0, "is_custom": 1, "gain": 1.0}},
        {"activation": {"name": 3, "parameter": 0.0, "is_custom": True, "gain": 1.0}},
        {"activation": {"name": "f", "parameter": 0.0, "is_custom": True, "gain": -1.0}},
        {"loss": {"name": "quantile", "parameter": 1}},
        {"optimizer": []},
        {"optimizer": {"optimizer": "Adam", "learning_rate": "fast"}},
        {"optimizer": {"optimizer": "Adam", "learning_rate": {"schedule": "Cosine", "initial": "a"}}},
    ],
)
def test_a_wrong_field_of_a_network_is_refused(tmp_path, changes):
    tensors, metadata = copy.deepcopy(ORIGINALS["network"])
    metadata["network"] |= changes
    (tmp_path / "model.fastbp").write_bytes(sealed(tensors, metadata))
    with pytest.raises(ValueError, match=r"model\.fastbp"):
        fastbp.Network.load(tmp_path / "model.fastbp")


def test_a_negative_mean_of_squares_is_refused(tmp_path):
    tensors, metadata = copy.deepcopy(ORIGINALS["network"])
    tensors["square.biases.1"][2] = -1e-9
    (tmp_path / "model.fastbp").write_bytes(sealed(tensors, metadata))
    with pytest.raises(ValueError, match="square"):
        fastbp.Network.load(tmp_path / "model.fastbp")


def test_many_levels_take_no_time(tmp_path):
    path = tmp_path / "model.fastbp"
    path.write_bytes(sealed(*changed("classifier", (*COLUMN, 1, "levels"), [str(i) for i in range(500_000)])))
    begun = time.monotonic()
    with pytest.raises(ValueError, match="levels"):
        TableModel.load(path)
    assert time.monotonic() - begun < 5
