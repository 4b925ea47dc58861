"""Whole models as one C99 header: a table with its networks and answers, or one network.

The code allocates no memory and needs nothing but headers of C itself. This file must not know a model's class.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastbp._version import __version__
from fastbp.export import c_encoding, c_layers, c_text
from fastbp.export.c_layers import in_c
from fastbp.export.parts import ClassAnswers, Layers, Outputs, Table
from fastbp.files.atomic import replace_file

_FINITE = """
static inline int P_is_finite(const T *x, int n) {
  int i;
  for (i = 0; i < n; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}
"""

_LIKELIEST = """
static inline int P_likeliest(const T *p, int n) {
  int i, best = 0;
  for (i = 1; i < n; i++) best = p[i] > p[best] ? i : best;
  return best;
}
"""

_LINKS = {
    "identity": "",
    "logistic": "  for (i = 0; i < N; i++) out[i] = P_logistic(out[i]);\n",
    "exp": "  for (i = 0; i < N; i++) out[i] = exp$(out[i]);\n",
    "softmax": "  P_softmax(out, N);\n",
}
_PAIR = "  out[1] = P_logistic(out[1]);\n  out[0] = 1 - out[1];\n"


def write_network(
    path: str | os.PathLike[str],
    network: Layers,
    outputs: Outputs,
    facts: dict[str, Any],
    prefix: str,
    is_int8: bool = False,
) -> None:
    """Write one network.

    Parameters
    ----------
    path : path-like
        An existing file is replaced completely or not at all.
    network : Layers
    outputs : Outputs
    facts : dict of str to Any
        Facts about the model, for a comment.
    prefix : str
        What the names of all functions, arrays and macros begin with.
    is_int8 : bool, default False
        Whether weights are rounded to 8 bits.

    Raises
    ------
    ValueError
        If `prefix` is no name in C, an activation is a user's function, or a label holds a zero byte.
    """
    c_text.check_prefix(prefix)
    dtype, width = network.dtype, len(network.biases[-1])
    has_link = outputs.is_probability or not outputs.raw
    is_pair = outputs.is_probability and width == 1 and not outputs.is_multilabel
    n_answers = 2 if is_pair else width
    also = ["logistic"] if has_link and outputs.link == "logistic" else []
    code = [c_layers.networks(prefix, [network], also, is_int8), in_c(_FINITE, prefix, dtype)]
    about, sizes = [], {"N_INPUTS": network.weights[0].shape[1], "N_OUTPUTS": width if outputs.raw else n_answers}
    if outputs.raw:
        code.append(_predicting(prefix, "predict", dtype, width))
        about += _promise(prefix, "predict", dtype, "N_OUTPUTS", "outputs of the last layer, without a link function")
    if has_link:
        name, size = ("predict_proba", "N_PROBABILITIES") if outputs.raw else ("predict", "N_OUTPUTS")
        sizes[size] = n_answers
        chooses = outputs.labels is not None and not outputs.is_multilabel
        code += [c_layers.softmax(prefix, dtype)] * (outputs.link == "softmax")
        code += [in_c(_LIKELIEST, prefix, dtype)] * chooses
        link = _PAIR if is_pair else _LINKS[outputs.link].replace("N", str(width))
        code.append(_predicting(prefix, name, dtype, n_answers, link, chooses))
        what = "probabilities of the classes" if outputs.is_probability else "predictions"
        what = "probabilities, each that a label is 1" if outputs.is_multilabel else what
        about += _promise(prefix, name, dtype, size, what, chooses)
    if outputs.labels is not None:
        about += [f"{prefix}_labels has the names of the classes, in the order of the probabilities.", ""]
        code.insert(0, f"\n{c_text.names(f'{prefix}_labels', map(_label, outputs.labels.tolist()))}")
    about[-1:] = ["A result of -1 means that a number of x is not finite. Then out is unchanged."]
    _save(path, prefix, [*_facts([network], facts), "", *about], ["stdint.h"] * is_int8, sizes, code)


def write_table(path: str | os.PathLike[str], table: Table, prefix: str) -> None:
    """Write a model of a table; the parameters and errors are those of `write_network`."""
    c_text.check_prefix(prefix)
    of_all, answers = [network.layers for network in table.networks], table.answers
    dtype = of_all[0].dtype
    code = [c_layers.networks(prefix, of_all), c_encoding.encoding(prefix, table.columns, dtype)]
    if isinstance(answers, ClassAnswers):
        n_outputs, what = len(answers.labels), "probabilities of the classes"
        code.insert(0, f"\n{c_text.names(f'{prefix}_labels', map(_label, answers.labels.tolist()))}")
        code += [c_layers.softmax(prefix, np.float64), in_c(_LIKELIEST, prefix, np.float64)]
    else:
        n_outputs = 1 if answers.margin is None else 3
        what = "predicted number" if n_outputs == 1 else "numbers: the prediction, and the ends of its interval"
    is_of_classes = isinstance(answers, ClassAnswers)
    about = _promise(prefix, "predict", np.dtype(float), "N_OUTPUTS", what, is_of_classes)
    if is_of_classes:
        about += [f"{prefix}_labels has the names of the classes, in the order of the probabilities.", ""]
    about += [f"The columns of x, whose names are in {prefix}_columns:", *c_encoding.described(prefix, table.columns)]
    code.append(_predicting_table(prefix, table, n_outputs))
    sizes = {"N_INPUTS": len(table.columns), "N_OUTPUTS": n_outputs}
    needed = c_encoding.headers(table.columns)
    _save(path, prefix, [*_facts(of_all, table.facts), "", *about], needed, sizes, code)


# --- the functions that users call ------------------------------------------------------------------------------


def _predicting(
    prefix: str, name: str, dtype: np.dtype[Any], n_answers: int, link: str = "", chooses: bool = False
) -> str:
    """Return a function of the only network."""
    lines = [
        f"\nstatic inline int P_{name}(const T *x, T *out) {{\n",
        "  int i;\n" if "for" in link else "",
        f"  if (!P_is_finite(x, {prefix.upper()}_N_INPUTS)) return -1;\n",
        f"  P_network_0(x, out{' + 1' if link == _PAIR else ''});\n",
        link,
        f"  return {f'P_likeliest(out, {n_answers})' if chooses else 0};\n}}\n",
    ]
    return in_c("".join(lines), prefix, dtype)


def _predicting_table(prefix: str, table: Table, n_outputs: int) -> str:
    """Return a function of all networks of a table."""
    answers, places, code = table.answers, "", ["\n"]
    dtype = table.networks[0].layers.dtype
    width = len(table.networks[0].layers.biases[-1])
    taken = [network.takes for network in table.networks if network.takes is not None]
    steps = [f"  T z[{prefix.upper()}_WIDTH], f[{width}];\n"]
    if taken:
        places = f"{prefix}_taken"
        code.append(c_text.array(places, taken[0], "int"))
        steps.append(f"  T some[{len(taken[0])}];\n")
    if isinstance(answers, ClassAnswers):
        steps.append(f"  double p[{width}];\n  P_encode(x, z);\n  for (i = 0; i < {width}; i++) out[i] = 0;\n")
    else:
        steps.append("  double y, sum = 0;\n  P_encode(x, z);\n")
    if taken:
        steps.append(f"  for (i = 0; i < {len(taken[0])}; i++) some[i] = z[{places}[i]];\n")
    if isinstance(answers, ClassAnswers):
        temperature = c_text.number(answers.temperature, dtype)
        add = (
            f"  for (i = 0; i < {width}; i++) p[i] = f[i] / {temperature};\n"
            f"  P_softmax(p, {width});\n  for (i = 0; i < {width}; i++) out[i] += p[i];\n"
        )
    else:
        mean, std, lowest, highest = map(c_text.number, answers[:4])
        add = f"  y = f[0] * {std} + {mean};\n  sum += y < {lowest} ? {lowest} : y > {highest} ? {highest} : y;\n"
    for k, network in enumerate(table.networks):
        steps.append(f"  P_network_{k}({'z' if network.takes is None else 'some'}, f);\n{add}")
    n = c_text.number(float(len(table.networks)))
    if isinstance(answers, ClassAnswers):
        rows, share = c_text.number(float(answers.n_rows)), c_text.number(1 / width)
        steps.append(f"  for (i = 0; i < {width}; i++) out[i] = (out[i] / {n} * {rows} + {share}) / ({rows} + 1);\n")
        steps.append(f"  return P_likeliest(out, {width});\n")
    else:
        ends = ["", f" - {c_text.number(answers.margin or 0.0)}", f" + {c_text.number(answers.margin or 0.0)}"]
        steps += [f"  out[{i}] = sum / {n}{ends[i]};\n" for i in range(n_outputs)] + ["  return 0;\n"]
    loop = "  int i;\n" if any("for (" in step for step in steps) else ""
    function = f"\nstatic inline int P_predict(const double *x, double *out) {{\n{loop}{''.join(steps)}}}\n"
    return "".join(code if taken else []) + in_c(function, prefix, dtype)


# --- the file ---------------------------------------------------------------------------------------------------


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _facts(of_all: list[Layers], facts: dict[str, Any]) -> list[str]:
    """Return lines about the version, the layers and the facts."""
    lines = [f"A trained model, written by fastbp {__version__}. This header needs no library but that of C99."]
    for layers in of_all:
        sizes = [layers.weights[0].shape[1], *map(len, layers.biases)]
        between = ", ".join(dict.fromkeys(map(str, layers.between)))
        lines.append(f"Layers {'-'.join(map(str, sizes))} in {layers.dtype}{between and f', with {between}'}.")
    return lines + [f"{name}: {_shown(fact)}" for name, fact in facts.items()]


def _shown(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{c_text.text(name)} {value}" for name, value in fact.items())
    return c_text.text(fact) if isinstance(fact, str) else str(fact)


def _promise(prefix: str, name: str, dtype: np.dtype[Any], size: str, what: str, chooses: bool = False) -> list[str]:
    """Return lines about a function: its arguments and its result."""
    type_name, sizes = c_text.type_of(dtype), prefix.upper()
    return [
        f"int {prefix}_{name}(const {type_name} *x, {type_name} *out)",
        f"  x    {sizes}_N_INPUTS numbers of one row",
        f"  out  {sizes}_{size} {what}",
        f"  The result is {'the place of the most probable class' if chooses else '0'}.",
        "",
    ]


def _save(
    path: str | os.PathLike[str],
    prefix: str,
    about: list[str],
    needed: list[str],
    sizes: dict[str, int],
    code: list[str],
) -> None:
    guard = f"{prefix.upper()}_H"
    lines = [f"#ifndef {guard}", f"#define {guard}", "", *(f"#include <{one}>" for one in ["math.h", *needed]), ""]
    lines += [f"#define {prefix.upper()}_{name} {size}" for name, size in sizes.items()]
    whole = c_text.comment(about) + "\n".join(lines) + "\n" + "".join(code) + "\n#endif\n"
    replace_file(path, [whole.encode("ascii")])
