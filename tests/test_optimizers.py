"""Every optimizer equals its twin and PyTorch's, step by step."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from networks import bits

import fastbp
from fastbp import DivergenceError, Network
from fastbp.kernels import steps
from fastbp.kernels.clipping import sum_of_squares
from fastbp.kernels.packing import aligned_zeros
from fastbp.kernels.steps import Block, step_sizes_of

SIZE = 48  # whole lines of either dtype
OPTIMIZERS = {
    "SGD": fastbp.SGD(0.05),
    "momentum": fastbp.SGD(0.05, momentum=0.8),
    "Nesterov": fastbp.SGD(0.05, momentum=0.8, nesterov=True),
    "Adam": fastbp.Adam(0.05, beta_1=0.8, beta_2=0.95, epsilon=1e-6),
    "AdamW": fastbp.AdamW(0.05),
    "RMSprop": fastbp.RMSprop(0.05, alpha=0.9, epsilon=1e-6),
    "RMSprop with momentum": fastbp.RMSprop(0.02, alpha=0.9, momentum=0.7),
    "Adagrad": fastbp.Adagrad(0.1),
    "Adagrad from 0.5": fastbp.Adagrad(0.1, initial_accumulator_value=0.5, epsilon=1e-4),
    "Lion": fastbp.Lion(0.01, beta_1=0.8, beta_2=0.95),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
VARIANTS = {
    "as it is": {},
    "decay": {"weight_decay": 0.1},
    "decay of weights": {"weight_decay": 0.1, "decay_biases": False},
    "clipped": {"weight_decay": 0.1, "decay_biases": False, "max_gradient_norm": 2.0},
}
each_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
X, y = np.random.default_rng(3).standard_normal((40, 5)), np.random.default_rng(4).standard_normal((40, 2))


# --- the kernels ----------------------------------------------------------------------------------------------


def buffer(values, dtype):
    out = aligned_zeros(SIZE, dtype)
    out[:] = values
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("momentum", steps.momentum_step),
        ("Nesterov", steps.momentum_step),
        ("Adam", steps.adam_step),
        ("RMSprop", steps.rmsprop_step),
        ("RMSprop with momentum", steps.rmsprop_step),
        ("Adagrad from 0.5", steps.adagrad_step),
        ("Lion", steps.lion_step),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_step_equals_its_twin(name, kernel, dtype):
    """With weight decay, an L2 penalty, gradients that are scaled, and a factor of the learning rate."""
    rng, optimizer = np.random.default_rng(0), replace(OPTIMIZERS[name], weight_decay=0.05)
    rule = optimizer.rule._replace(penalty=0.03)
    φ, moments = buffer(rng.standard_normal(SIZE), dtype), [buffer(0, dtype), buffer(rule.initial_square, dtype)]
    wanted = [array.astype(float) for array in (φ, *moments)]
    twin = replace(optimizer, learning_rate=0.5 * optimizer.learning_rate)
    for step in range(1, 21):
        g = buffer(rng.standard_normal(SIZE), dtype)
        block = Block(φ, g, *moments, 0, SIZE, factor=0.5, weight_decay=0.05, penalty=0.03)
        kernel(rule, step_sizes_of(rule, optimizer.learning_rate, step, 1.0)._replace(gradient_scale=0.25), block)
        wanted = reference.step_of(twin, wanted[0], 0.25 * g + 0.03 * wanted[0], *wanted[1:], step)
    tolerance = 200 * np.finfo(dtype).eps
    for got, expected in zip((φ, *moments), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-14)])
@pytest.mark.parametrize(("first", "end"), [(0, 16), (0, 1024), (16, 5008), (48, 48), (32, 1072)])
def test_squares_of_a_part_of_a_buffer_are_added_up(first, end, dtype, tolerance):
    g, φ = np.random.default_rng(0).standard_normal((2, 5008)).astype(dtype)
    wanted = ((g[first:end] + 0.5 * φ[first:end].astype(float)) ** 2).sum()
    assert sum_of_squares(g, φ, 0.5, first, end) == pytest.approx(wanted, rel=tolerance)


# --- PyTorch --------------------------------------------------------------------------------------------------


def lion(torch):
    """Return Lion as a class of PyTorch, which has none; by Chen et al. (2023), algorithm 2."""

    class Lion(torch.optim.Optimizer):
        def __init__(self, parameters, lr, betas, weight_decay):
            super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                β_1, β_2 = group["betas"]
                for θ in group["params"]:
                    m = self.state[θ].setdefault("m", torch.zeros_like(θ))
                    c = torch.lerp(θ.grad, m, β_1)
                    θ -= group["lr"] * (torch.sign(c) + group["weight_decay"] * θ)
                    m.copy_(torch.lerp(θ.grad, m, β_2))

    return Lion


def peer_of(torch, o, weights, biases):
    """Return PyTorch's optimizer with the same numbers."""
    groups = [
        {"params": weights, "weight_decay": o.weight_decay},
        {"params": biases, "weight_decay": o.weight_decay if o.decay_biases else 0.0},
    ]
    match o:
        case fastbp.SGD():
            return torch.optim.SGD(groups, o.learning_rate, o.momentum, nesterov=o.nesterov)
        case fastbp.Adam():
            return torch.optim.AdamW(groups, o.learning_rate, (o.beta_1, o.beta_2), o.epsilon)
        case fastbp.RMSprop():
            return torch.optim.RMSprop(groups, o.learning_rate, o.alpha, o.epsilon, momentum=o.momentum)
        case fastbp.Adagrad():
            first = o.initial_accumulator_value
            return torch.optim.Adagrad(groups, o.learning_rate, initial_accumulator_value=first, eps=o.epsilon)
        case fastbp.Lion():
            return lion(torch)(groups, o.learning_rate, (o.beta_1, o.beta_2), 0.0)
    raise ValueError(f"PyTorch has no {o}")


def trained_by_pytorch(torch, net, optimizer, l2_penalty, epochs=12):
    """Return the parameters after a training by PyTorch, and the norm of each step's gradient."""
    weights, biases = ([torch.tensor(a, requires_grad=True) for a in arrays] for arrays in (net.weights, net.biases))
    peer, norms = peer_of(torch, optimizer, weights, biases), []
    for _ in range(epochs):
        for first in range(0, 40, 20):
            h, target = (torch.tensor(a[first : first + 20]) for a in (X, y))
            for Ω, β in zip(weights[:-1], biases[:-1], strict=True):
                h = torch.relu(h @ Ω.T + β)
            f = h @ weights[-1].T + biases[-1]
            penalty = l2_penalty / 2 * sum((Ω**2).sum() for Ω in weights)
            peer.zero_grad()
            ((((f - target) ** 2).sum(1) / 2).mean() + penalty).backward()
            if optimizer.max_gradient_norm is not None:
                found = torch.nn.utils.clip_grad_norm_([*weights, *biases], optimizer.max_gradient_norm)
                norms.append(float(found))
            peer.step()
    return [a.detach().numpy() for a in (*weights, *biases)], norms


@pytest.mark.parametrize("n_threads", [1, 2])
@each_variant
@each_optimizer
def test_training_goes_the_way_of_pytorch(optimizer, changes, n_threads):
    """In two fits, with a saved network in between, and with an L2 penalty where gradients are clipped."""
    torch = pytest.importorskip("torch")
    optimizer, l2_penalty = replace(optimizer, **changes), 0.05 if "max_gradient_norm" in changes else 0.0
    net = Network([5, 19, 9, 2], dtype="float64", seed=0)
    wanted, norms = trained_by_pytorch(torch, net, optimizer, l2_penalty)
    assert not norms or min(norms) < optimizer.max_gradient_norm < max(norms)
    options = {"batch_size": 20, "shuffle": False, "n_threads": n_threads, "l2_penalty": l2_penalty}
    net.fit(X, y, optimizer=optimizer, epochs=5, **options)
    net = Network.from_tensors(*net.to_tensors())
    net.fit(X, y, optimizer=optimizer, epochs=7, **options)
    for got, expected in zip((*net.weights, *net.biases), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)


# --- what they are --------------------------------------------------------------------------------------------


def fitted(optimizer, dtype="float32", **options):
    net = Network([5, 19, 9, 2], dtype, seed=0)
    net.fit(X, y, optimizer=optimizer, batch_size=8, epochs=3, **options)
    return net


def test_adamw_is_adam_with_the_weight_decay_of_pytorch():
    by_name, (tensors, _) = bits(fitted(fastbp.AdamW(0.01))), bits(fitted(fastbp.Adam(0.01, weight_decay=0.01)))
    assert by_name[0] == tensors
    assert by_name[1]["optimizer"]["optimizer"] == "AdamW"
    assert fastbp.AdamW() != fastbp.Adam(weight_decay=0.01)


def test_a_limit_that_no_gradient_reaches_changes_no_bit():
    for optimizer in (fastbp.SGD(0.01, momentum=0.9, weight_decay=0.1), fastbp.Lion(0.01), fastbp.Adam(0.01)):
        limited = replace(optimizer, max_gradient_norm=1e9)
        assert bits(fitted(limited))[0] == bits(fitted(optimizer))[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_an_optimizer_keeps_the_moments_that_its_step_needs(optimizer, dtype):
    tensors, metadata = fitted(optimizer, dtype).to_tensors()
    kept = {name.partition(".")[0] for name in tensors} & {"mean", "square"}
    assert kept == set(optimizer.rule.moments)
    assert all(np.any(tensor) for name, tensor in tensors.items() if name.startswith(("mean", "square")))
    assert metadata["optimizer"]["optimizer"] == type(optimizer).__name__


def test_moments_of_another_optimizer_are_refused():
    tensors, metadata = fitted(fastbp.Adagrad()).to_tensors()
    wrong = {**metadata, "optimizer": fastbp.Lion().describe()}
    with pytest.raises(ValueError, match="optimizer keeps mean of each parameter, but there are square"):
        Network.from_tensors(tensors, wrong)


def test_a_description_is_that_of_an_old_file_unless_a_later_parameter_is_used():
    assert set(fastbp.SGD(0.1).describe()) == {"optimizer", "learning_rate", "momentum", "nesterov", "weight_decay"}
    described = fastbp.Adam(max_gradient_norm=np.float32(0.5), decay_biases=np.False_).describe()
    assert (described["max_gradient_norm"], described["decay_biases"]) == (0.5, False)
    assert (type(described["max_gradient_norm"]), type(described["decay_biases"])) == (float, bool)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_gradient_that_is_not_finite_is_not_clipped_but_an_error(n_threads):
    """The loss is finite here, and ∂L/∂Ω_0 is not."""
    net = Network([1, 1, 1], "float64", seed=0)
    net.set_parameters([[[1e-200]], [[1e200]]], [[0.0], [0.0]])
    before = bits(net)
    with pytest.raises(DivergenceError):
        net.fit(
            np.full((16, 1), 1e150), np.zeros(16), optimizer=fastbp.SGD(0.1, max_gradient_norm=1.0), n_threads=n_threads
        )
    assert bits(net) == before
