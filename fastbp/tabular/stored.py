"""What the file of a table model must hold: every field is checked before a model is made of it.

A checksum detects damage but no other program and no attacker. So a file with a right checksum may hold anything. It
knows the fields of a file, and networks, encodings and targets. It must not know how a file is read or written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastbp import checks
from fastbp._typing import Array, Floats
from fastbp.network import Network
from fastbp.tabular import fields, own_loss
from fastbp.tabular.encoding.columns import MAX_LEVELS, PERIODS
from fastbp.tabular.encoding.inputs import MAX_BINS, Encoding
from fastbp.tabular.encoding.target import MAX_RESIDUALS, Classes, Quantity, Target

_LARGEST_INPUT = 3.0  # of a network
_LARGEST_LOG_TEMPERATURE = 4.0001
_MOST_ROWS = 2**53

_NEW_SETTINGS = {"n_ensemble": "n_estimators", "hidden": "hidden_layer_sizes"}
_NEW_TARGET = {"spread": "std"}
_NEW_METRICS = {
    "log loss": "log_loss",
    "AUC": "auc",
    "R²": "r2",
    "RMSE": "rmse",
    "MAE": "mae",
    "quantile loss": "quantile_loss",
    "share below": "share_below",
}


class Stored(NamedTuple):
    """The checked content of a file.

    Attributes
    ----------
    networks : list of (dict, dict)
        The tensors and the metadata of each network, as `Network.from_tensors` takes them.
    residuals : ndarray of shape (m,)
    table : dict
        The other fields, with the names that are used now.
    """

    networks: list[tuple[dict[str, Array], dict[str, Any]]]
    residuals: Floats
    table: dict[str, Any]


def checked(tensors: dict[str, Array], metadata: dict[str, Any]) -> Stored:
    """Return the content of a model file; raise a `ValueError` that names the first wrong field."""
    try:
        table = _table(metadata["table"])
        is_classes = table["target"]["task"] == Classes.task
        networks = _networks(tensors, fields.json_list("networks", metadata.get("networks"), least=1))
        if len(table["about"]["networks"]) != len(networks):
            raise ValueError(f"about.networks must describe {len(networks)} networks")
        return Stored(networks, _residuals(tensors.get("residuals"), 0 if is_classes else MAX_RESIDUALS), table)
    except TypeError as error:
        raise ValueError(str(error)) from None


def networks_for(held: Stored, encoding: Encoding, target: Target) -> tuple[Network, ...]:
    """Return the networks; raise a `ValueError` unless they fit the table, and their outputs are always finite."""
    networks = []
    for k, described in enumerate(held.networks):
        try:
            networks.append(Network.from_tensors(*described))
        except ValueError as error:
            raise ValueError(f"networks[{k}]: {error}") from None
    _check_networks(networks, encoding, target)
    return tuple(networks)


def _check_networks(networks: Sequence[Network], encoding: Encoding, target: Target) -> None:
    widths = {encoding.width, int(encoding.is_not_bin.sum())}
    for k, network in enumerate(networks):
        n_inputs, n_outputs = network.layer_sizes[0], network.layer_sizes[-1]
        if n_inputs not in widths:
            wanted = " or ".join(map(str, sorted(widths)))
            raise ValueError(f"networks[{k}] must have {wanted} inputs, as the columns give; got {n_inputs}")
        if n_outputs != target.n_outputs:
            raise ValueError(f"networks[{k}] must have {target.n_outputs} outputs, as the target asks; got {n_outputs}")
        # The logits are divided by the temperature, which may be e^−4. The factor e^5 leaves room for rounding.
        if not _largest_output(network) < float(np.finfo(network.dtype).max) / math.exp(5):
            raise ValueError(f"networks[{k}] has weights so large that its outputs may overflow")


def _largest_output(network: Network) -> float:
    """Return an upper bound of every number that a forward pass computes from inputs in [−3, 3].

    Two bounds are computed: of each unit, |f_i| ≤ |β_i| + |Ω_i| |h_i|, and of each layer, ‖f_i‖ ≤ ‖β_i‖ + ‖Ω_i‖ ‖h_i‖.
    The first bound is fast. The second bound is much smaller for deep networks.
    """
    layers = [
        (weights.astype(np.float64), biases.astype(np.float64))
        for weights, biases in zip(network.weights, network.biases, strict=True)
    ]
    safe = float(np.finfo(network.dtype).max) / math.exp(5)
    with np.errstate(over="ignore", invalid="ignore"):
        units, largest = np.full(network.layer_sizes[0], _LARGEST_INPUT), 0.0
        for weights, biases in layers:
            units = np.maximum(np.abs(biases) + np.abs(weights) @ units, 1)  # a logistic unit is at most 1
            largest = max(largest, float(units.max()))
        if largest < safe or not np.isfinite([np.abs(w).max() for w, _ in layers]).all():
            return largest
        norm, largest = _LARGEST_INPUT * math.sqrt(network.layer_sizes[0]), 0.0
        for weights, biases in layers:
            scale = float(np.abs(weights).max()) or 1.0
            own = scale * float(np.linalg.norm(weights / scale, 2))
            norm = max(float(np.linalg.norm(biases)) + own * norm, math.sqrt(len(biases)))
            largest = max(largest, norm)
        return largest


# --- the parts of a file ----------------------------------------------------------------------------------------


def _networks(tensors: dict[str, Array], described: list[Any]) -> list[tuple[dict[str, Array], dict[str, Any]]]:
    """Return the tensors and the metadata of each network."""
    held: list[dict[str, Array]] = [{} for _ in described]
    places = {str(k): k for k in range(len(described))}
    for name, tensor in tensors.items():
        number, _, own = name.partition(".")
        if number in places:
            held[places[number]][own] = tensor
        elif name != "residuals":
            raise ValueError(f"tensor {checks.shown(name)} belongs to no network")
    return [(held[k], fields.json_object(f"networks[{k}]", one)) for k, one in enumerate(described)]


def _residuals(found: Array | None, most: int) -> Floats:
    if found is None or found.dtype != np.float64 or found.ndim != 1:
        raise ValueError("tensor 'residuals' must be a vector of float64")
    if len(found) > most:
        raise ValueError(f"tensor 'residuals' must hold at most {most} numbers for this target, got {len(found)}")
    if not (np.isfinite(found).all() and (found >= 0).all() and (np.diff(found) >= 0).all()):
        raise ValueError("tensor 'residuals' must be finite, not negative and in ascending order")
    return found


def _table(found: Any) -> dict[str, Any]:
    """Return the checked description of a model, with the names that are used now."""
    table = fields.json_object("table", found)
    fields.need("table", table, {"encoding", "target", "n_rows", "temperature", "about", "version"})
    target = _target(fields.json_object("target", table["target"]))
    temperature = checks.positive("temperature", table["temperature"])
    if abs(math.log(temperature)) > _LARGEST_LOG_TEMPERATURE:
        raise ValueError(f"temperature must lie between e^−4 and e^4, got {temperature}")
    return {
        "encoding": _encoding(fields.json_object("encoding", table["encoding"])),
        "target": target,
        "n_rows": checks.whole_number("n_rows", table["n_rows"], 1, _MOST_ROWS),
        "temperature": temperature,
        "about": _about(fields.json_object("about", table["about"]), target["task"]),
        "version": fields.text("version", table["version"]),
    }


def _encoding(encoding: dict[str, Any]) -> dict[str, Any]:
    fields.need_exactly("encoding", encoding, {"columns", "names"})
    names = fields.texts("encoding.names", encoding["names"])
    columns = [
        _column(f"encoding.columns[{i}]", column)
        for i, column in enumerate(fields.json_list("encoding.columns", encoding["columns"], least=1))
    ]
    fields.check_unique("the names of encoding.columns", [column["name"] for column in columns])
    known = set(names)
    for i, column in enumerate(columns):
        if column["name"] not in known:
            raise ValueError(f"encoding.columns[{i}].name is not one of encoding.names: {checks.shown(column['name'])}")
    return {"columns": columns, "names": names}


def _column(field: str, found: Any) -> dict[str, Any]:
    """Return the checked encoding of one column."""
    column = fields.json_object(field, found)
    kind = column.get("kind")
    if kind == "text":
        fields.need_exactly(field, column, {"kind", "name", "levels"})
        levels = fields.texts(f"{field}.levels", column["levels"], least=1, most=MAX_LEVELS)
        return {"kind": kind, "name": fields.text(f"{field}.name", column["name"]), "levels": levels}
    if kind == "dates":
        fields.need_exactly(field, column, {"kind", "name", "days", "periods"})
        days = fields.json_object(f"{field}.days", column["days"])
        if days.get("kind") != "numbers":
            raise ValueError(f"{field}.days must be an encoding of numbers")
        periods = fields.texts(f"{field}.periods", column["periods"])
        for period in periods:
            checks.choice(f"{field}.periods", period, tuple(PERIODS))
        name = fields.text(f"{field}.name", column["name"])
        return {"kind": kind, "name": name, "days": _column(f"{field}.days", days), "periods": periods}
    if kind != "numbers":
        raise ValueError(f"{field}.kind must be numbers, text or dates, got {checks.shown(kind)}")
    column = {"offset": 0} | column  # only of whole numbers beyond 2⁵³
    fields.need_exactly(field, column, {"kind", "name", "median", "scale", "marks_missing", "edges", "offset"})
    scale = fields.number(f"{field}.scale", column["scale"])
    if scale < 0:
        raise ValueError(f"{field}.scale must not be negative, got {scale}")
    edges = [
        fields.number(f"{field}.edges", edge)
        for edge in fields.json_list(f"{field}.edges", column["edges"], most=MAX_BINS + 1)
    ]
    if edges and (len(edges) < 3 or not (np.diff(edges) / 2 > np.finfo(float).tiny).all()):
        raise ValueError(f"{field}.edges must be at least 3 numbers in ascending order")
    return {
        "kind": kind,
        "name": fields.text(f"{field}.name", column["name"]),
        "median": fields.number(f"{field}.median", column["median"]),
        "scale": scale,
        "marks_missing": checks.flag(f"{field}.marks_missing", column["marks_missing"]),
        "edges": edges,
        "offset": checks.whole_number(f"{field}.offset", column["offset"], least=-(2**63), most=2**64 - 1),
    }


def _target(found: dict[str, Any]) -> dict[str, Any]:
    target = {_NEW_TARGET.get(name, name): value for name, value in found.items()}
    tasks = (Classes.task, Quantity.task)
    if tasks[checks.choice("target.task", target.get("task"), tasks)] == Classes.task:
        fields.need_exactly("target", target, {"task", "name", "labels"})
        labels = fields.json_list("target.labels", target["labels"], least=2)
        kinds = {type(label) for label in labels}
        if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
            raise ValueError("target.labels must be texts, whole numbers, numbers or Booleans, all of one type")
        fields.check_unique("target.labels", labels)
        if np.array(labels).dtype.kind not in "biufU" or (kinds == {float} and not np.isfinite(labels).all()):
            raise ValueError("target.labels must be finite and fit into 64 bits")
        return {"task": Classes.task, "name": fields.text("target.name", target["name"]), "labels": labels}
    numbers = ("mean", "std", "lowest", "highest")
    fields.need_exactly("target", target, {"task", "name", *numbers})
    values = {name: fields.number(f"target.{name}", target[name]) for name in numbers}
    if values["std"] <= 0:
        raise ValueError(f"target.std must be positive, got {values['std']}")
    if values["lowest"] > values["highest"]:
        raise ValueError("target.lowest must be at most target.highest")
    return {"task": Quantity.task, "name": fields.text("target.name", target["name"]), **values}


def _about(about: dict[str, Any], task: str) -> dict[str, Any]:
    fields.need("about", about, {"settings", "scores", "rows_held_out", "notices", "networks"})
    if "has_names" in about:
        checks.flag("about.has_names", about["has_names"])
    if "reading" in about:
        _check_reading(fields.json_object("about.reading", about["reading"]))
    for k, found in enumerate(fields.json_list("about.networks", about["networks"])):
        network = fields.json_object(f"about.networks[{k}]", found)
        fields.need(f"about.networks[{k}]", network, {"sees_bins", "epoch", "epochs"})
        checks.flag(f"about.networks[{k}].sees_bins", network["sees_bins"])
        for name in ("epoch", "epochs"):
            checks.whole_number(f"about.networks[{k}].{name}", network[name], 0)
        if network.get("error") is not None:
            fields.number(f"about.networks[{k}].error", network["error"])
    for i, notice in enumerate(fields.json_list("about.notices", about["notices"])):
        fields.text(f"about.notices[{i}]", notice)
    checks.whole_number("about.rows_held_out", about["rows_held_out"], 0)
    scores = [
        _score(f"about.scores[{i}]", score) for i, score in enumerate(fields.json_list("about.scores", about["scores"]))
    ]
    settings = _settings(fields.json_object("about.settings", about["settings"]), task)
    return {**about, "settings": settings, "scores": scores}


def _check_reading(reading: dict[str, Any]) -> None:
    if reading.get("decimal_mark") not in (None, ".", ","):
        raise ValueError(f"about.reading.decimal_mark must be . or , or null; got {checks.shown(reading)}")
    odd = fields.json_object("about.reading.odd", reading.get("odd", {}))
    for i, found in enumerate(odd.values()):
        for text in fields.json_list(f"about.reading.odd[{i}]", found):
            fields.text(f"about.reading.odd[{i}]", text)


def _score(field: str, found: Any) -> dict[str, Any]:
    score = fields.json_object(field, found)
    if "metric" not in score:  # the first files of version 0.1
        measure = fields.text(f"{field}.metric", score.get("measure"))
        score = {"metric": _NEW_METRICS.get(measure, measure), **score}
    fields.need(field, score, {"metric", "value", "baseline"})
    values = {
        name: None if score[name] is None else fields.number(f"{field}.{name}", score[name], math.inf)
        for name in ("value", "baseline")
    }
    return {"metric": fields.text(f"{field}.metric", score["metric"]), **values}


def _settings(found: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the checked settings of a training. Settings that this version does not know are kept."""
    settings = {_NEW_SETTINGS.get(name, name): value for name, value in found.items()}
    fields.need("about.settings", settings, {"metric", "quantile", "hidden_layer_sizes", "seed", "n_threads"})
    names = Classes.metric_names if task == Classes.task else Quantity.metric_names
    if task == Quantity.task and isinstance(settings["metric"], dict):
        own_loss.metric_of(settings["metric"])
    else:
        checks.choice("about.settings.metric", settings["metric"], names)
    for i, width in enumerate(fields.json_list("about.settings.hidden_layer_sizes", settings["hidden_layer_sizes"])):
        checks.whole_number(f"about.settings.hidden_layer_sizes[{i}]", width, 1)
    for name, value in settings.items():
        field = f"about.settings.{name}"
        if name in ("n_threads", "n_estimators", "epochs", "batch_size", "patience"):
            if value is not None or name not in ("n_threads", "patience"):
                checks.whole_number(field, value, 0 if name == "patience" else 1)
        elif name == "seed":
            checks.whole_number(field, value, 0, math.inf)
        elif name == "quantile":
            checks.between(field, value, 0, 1)
        elif name in ("dropout", "label_smoothing"):
            checks.fraction(field, value)
        elif name in ("learning_rate", "time_budget"):
            if value is not None:
                checks.positive(field, value)
        elif name == "class_weight":
            _check_class_weight(field, value)
    return settings


def _check_class_weight(field: str, value: Any) -> None:
    if value is None or value == "balanced":
        return
    for i, pair in enumerate(fields.json_list(field, value)):
        label, weight = fields.json_list(f"{field}[{i}]", pair, least=2, most=2)
        if not isinstance(label, str | int | float):
            raise ValueError(f"{field}[{i}] must be a label and its weight")
        fields.number(f"{field}[{i}]", weight)
