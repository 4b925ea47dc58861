"""Every optimizer equals its twin and PyTorch's, step by step."""

import numpy as np
import pytest
import reference

import fastbp
from fastbp.kernels.packing import aligned_zeros
from fastbp.kernels.steps import Block, adam_step, momentum_step, step_sizes_of

SIZE = 48  # whole lines of either dtype


def buffer(values, dtype):
    out = aligned_zeros(SIZE, dtype)
    out[:] = values
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_equals_its_twin(nesterov, dtype):
    rng = np.random.default_rng(0)
    rule = fastbp.SGD(0.1, momentum=0.8, nesterov=nesterov, weight_decay=0.05).rule
    φ, v = buffer(rng.standard_normal(SIZE), dtype), buffer(0, dtype)
    wanted_φ, wanted_v = φ.astype(float), v.astype(float)
    for _ in range(20):
        g = buffer(rng.standard_normal(SIZE), dtype)
        block = Block(φ, g, v, buffer(0, dtype), 0, SIZE, factor=1.0, penalty=0.0)
        momentum_step(rule, step_sizes_of(rule, 0.1, 1, 1.0), block)
        wanted_φ, wanted_v = reference.momentum_step(wanted_φ, g, wanted_v, 0.1, 0.8, nesterov, 0.05)
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(φ, wanted_φ, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(v, wanted_v, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_equals_its_twin(dtype):
    rng = np.random.default_rng(0)
    rule = fastbp.Adam(0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-6, weight_decay=0.05).rule
    φ, m, v = buffer(rng.standard_normal(SIZE), dtype), buffer(0, dtype), buffer(0, dtype)
    wanted = φ.astype(float), m.astype(float), v.astype(float)
    for step in range(1, 21):
        g = buffer(rng.standard_normal(SIZE), dtype)
        block = Block(φ, g, m, v, 0, SIZE, factor=1.0, penalty=0.0)
        adam_step(rule, step_sizes_of(rule, 0.1, step, 1.0), block)
        wanted = reference.adam_step(wanted[0], g, *wanted[1:], 0.1, 0.8, 0.95, 1e-6, 0.05, step)
    tolerance = 200 * np.finfo(dtype).eps
    for got, expected in zip((φ, m, v), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("optimizer", "name", "options"),
    [
        (fastbp.SGD(0.05, weight_decay=0.1), "SGD", {"weight_decay": 0.1}),
        (fastbp.SGD(0.05, momentum=0.9, weight_decay=0.1), "SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        (fastbp.SGD(0.05, momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
        (fastbp.Adam(0.05, 0.8, 0.99, 1e-6, 0.1), "AdamW", {"betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_training_goes_the_way_of_pytorch(optimizer, name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 2))
    net = fastbp.Network([5, 9, 2], dtype="float64", seed=0)
    parameters = [torch.tensor(a, requires_grad=True) for a in (*net.weights, *net.biases)]
    peer = getattr(torch.optim, name)(parameters, lr=0.05, **options)
    net.fit(X, y, optimizer=optimizer, batch_size=8, epochs=6, shuffle=False)
    for _ in range(6):
        for first in range(0, 40, 8):
            x, target = (torch.tensor(a[first : first + 8]) for a in (X, y))
            Ω_0, Ω_1, β_0, β_1 = parameters
            f = torch.relu(x @ Ω_0.T + β_0) @ Ω_1.T + β_1
            peer.zero_grad()
            (((f - target) ** 2).sum(1) / 2).mean().backward()
            peer.step()
    for got, wanted in zip((*net.weights, *net.biases), parameters, strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-9, atol=1e-11)
