"""Backpropagation equals PyTorch's autograd: every ∂L/∂Ω_i, ∂L/∂β_i, ∂L/∂f_i and ∂L/∂x of random networks."""

from typing import NamedTuple

import numpy as np
import pytest

from fastbp import Network, activations, losses

torch = pytest.importorskip("torch")
functional = torch.nn.functional

PARAMETERS = {"huber": losses.huber(0.7), "quantile": losses.quantile(0.3)}
LOSSES = [PARAMETERS.get(name, losses.resolve(name)) for name in losses.NAMES]


class Problem(NamedTuple):
    """A network and a batch."""

    net: Network
    X: np.ndarray
    y: np.ndarray
    loss: losses.Loss
    sample_weight: np.ndarray | None


ACTIVATIONS = {
    "relu": torch.relu,
    "identity": lambda f: f,
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda f: functional.gelu(f, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "hard_tanh": functional.hardtanh,
}


def problem(seed, dtype, activation="relu"):
    """Draw K from 0 to 7, widths from 1 to 75 and a batch of 1 to 90 rows; each loss has its turn."""
    rng = np.random.default_rng(seed)
    K, loss, n = seed % 8, LOSSES[seed % 7], int(rng.integers(1, 91))
    sizes = [int(size) for size in rng.integers(1, 76, K + 2)]
    if loss.name == "cross_entropy":
        sizes[-1] = max(sizes[-1], 2)  # one class has nothing to learn
    net = Network(sizes, dtype, seed, activation)
    net.set_parameters(net.weights, [rng.normal(0, 0.3, b.shape) for b in net.biases])
    X, y = rng.standard_normal((n, sizes[0])), rng.standard_normal((n, sizes[-1]))
    if loss.name == "binary_cross_entropy":
        y = rng.random(y.shape)
    if loss.name == "poisson":
        y = rng.poisson(2, y.shape)
    if loss.name == "cross_entropy":
        y = rng.dirichlet(np.ones(sizes[-1]), n) if rng.random() < 0.5 else rng.integers(sizes[-1], size=n)
    weight = rng.uniform(0, 2, n) if rng.random() < 0.5 else None
    cast = [a if a is None or a.dtype.kind == "i" else a.astype(dtype) for a in (X, y, weight)]
    return Problem(net, *cast[:2], loss, cast[2])


def torch_loss(loss, f, y):
    """Return each sample's loss, by PyTorch's own functions where it has them."""
    name, each = loss.name, {"reduction": "none"}
    if name == "cross_entropy":
        return functional.cross_entropy(f, y, **each)
    if name == "squared_error":
        value = functional.mse_loss(f, y, **each) / 2
    elif name == "binary_cross_entropy":
        value = functional.binary_cross_entropy_with_logits(f, y, **each)
    elif name == "poisson":
        value = functional.poisson_nll_loss(f, y, log_input=True, full=False, **each)
    elif name == "huber":
        value = functional.huber_loss(f, y, delta=loss.parameter, **each)
    elif name == "absolute_error":
        value = functional.l1_loss(f, y, **each)
    else:
        value = torch.maximum(loss.parameter * (y - f), (loss.parameter - 1) * (y - f))
    return value.sum(1)


def autograd(p):
    """Return the loss and, in float64, the gradients in the order of `backpropagation`, and f_0 … f_K."""
    weights, biases = (
        [torch.tensor(a.astype(float), requires_grad=True) for a in held] for held in (p.net.weights, p.net.biases)
    )
    x = h = torch.tensor(p.X.astype(float), requires_grad=True)
    f = []
    for Ω, β in zip(weights, biases, strict=True):
        f.append(h @ Ω.T + β)
        f[-1].retain_grad()
        h = ACTIVATIONS[p.net.activation](f[-1])
    y = torch.tensor(p.y if p.y.ndim == 1 else p.y.astype(float))
    w = torch.tensor(np.ones(len(y)) if p.sample_weight is None else p.sample_weight.astype(float))
    loss = (w * torch_loss(p.loss, f[-1], y)).sum() / w.sum()
    loss.backward()
    return loss.item(), [a.grad.numpy() for a in (*weights, *biases, *f, x)], [a.detach().numpy() for a in f]


def backpropagation(p):
    got = p.net.gradients(p.X, p.y, p.loss, p.sample_weight)
    return got.loss, [*got.weights, *got.biases, *got.f, got.x]


def away_from_kinks(p):
    """Return the problem without the rows where rounding may put a ReLU, or an error's sign, on the other side."""
    *f, output = autograd(p)[2]
    if p.loss.name in ("absolute_error", "quantile"):
        f.append(output - p.y)
    keep = np.ones(len(p.X), bool)
    for values, kinks in zip(f, [*[activations.resolve(p.net.activation).kinks] * p.net.K, (0,), (0,)], strict=False):
        for kink in kinks:
            keep &= (abs(values - kink) > 1e-5 * abs(values).max()).all(1)
    X, y, weight = (a if a is None else a[keep] for a in (p.X, p.y, p.sample_weight))
    return p._replace(X=X, y=y, sample_weight=weight)


def errors(got, wanted):
    """Return each array's error relative to its norm; 0 where both are 0, as behind a layer without a live unit."""
    return [np.linalg.norm(a - b) / (np.linalg.norm(b) or 1) for a, b in zip(got, wanted, strict=True)]


@pytest.mark.parametrize("seed", range(64))
def test_gradients_equal_pytorchs(seed):
    p = problem(seed, "float64")
    wanted_loss, wanted, _ = autograd(p)
    loss, got = backpropagation(p)
    assert loss == pytest.approx(wanted_loss, rel=1e-11)
    assert loss == pytest.approx(p.net.loss(p.X, p.y, p.loss, p.sample_weight), rel=1e-13)
    assert [a.shape for a in got] == [a.shape for a in wanted]
    # No absolute term: an array whose gradient is truly 0 is 0 to the bit on both sides.
    assert max(errors(got, wanted)) <= 1e-11


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", activations.NAMES[1:])
@pytest.mark.parametrize("seed", range(16))
def test_gradients_equal_pytorchs_with_other_activations(seed, activation, dtype):
    p = problem(seed, dtype, activation)
    if p.loss.name in ("absolute_error", "quantile"):
        p = away_from_kinks(p)
    wanted_loss, wanted, _ = autograd(p)
    loss, got = backpropagation(p)
    n = sum(p.net.layer_sizes) + len(p.X)
    tolerance = n * float(np.finfo("float32").eps) / 4 if dtype == "float32" else 1e-11
    assert loss == pytest.approx(wanted_loss, rel=tolerance)
    assert max(errors(got, wanted)) <= tolerance


@pytest.mark.parametrize("seed", range(64))
def test_gradients_in_float32_are_as_close_as_its_sums_allow(seed):
    p = away_from_kinks(problem(seed, "float32"))
    wanted_loss, wanted, _ = autograd(p)
    loss, got = backpropagation(p)
    # A gradient goes through a sum as long as each layer is wide, and one over the batch.
    n = sum(p.net.layer_sizes) + len(p.X)
    tolerance = n * float(np.finfo("float32").eps) / 4
    assert len(p.X) > 0
    assert {a.dtype for a in got} == {np.dtype("float32")}
    assert loss == pytest.approx(wanted_loss, rel=tolerance)
    assert max(errors(got, wanted)) <= tolerance


def test_the_problems_cover_every_depth_with_every_loss():
    problems = [problem(seed, "float64") for seed in range(64)]
    assert {(p.net.K, p.loss.name) for p in problems} == {(K, name) for K in range(8) for name in losses.NAMES}
    assert {p.sample_weight is None for p in problems} == {True, False}
    assert {p.y.ndim for p in problems if p.loss.name == "cross_entropy"} == {1, 2}
    widths = {size for p in problems for size in p.net.layer_sizes}
    assert (min(widths), max(widths)) == (1, 75)
