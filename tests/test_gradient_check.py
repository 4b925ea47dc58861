"""The gradient check passes right gradients, finds wrong ones, and is not fooled by kinks.

Most tests use a network in plain NumPy behind the same face, so that they judge the check and not the kernels.
"""

import itertools
import types

import numpy as np
import pytest
import reference

import fastbp
from fastbp import losses
from fastbp.gradient_check import check_gradients


class NumpyNetwork:
    """The public face of a network, around the naive twins of its kernels."""

    trained_loss = None

    def __init__(self, layer_sizes, dtype="float64", seed=0, activation="relu"):
        random, self.activation = np.random.default_rng(seed), activation
        self.layer_sizes, self.dtype = tuple(layer_sizes), np.dtype(dtype)
        pairs = list(itertools.pairwise(layer_sizes))
        self.weights = tuple(random.normal(0, (2 / d) ** 0.5, (e, d)).astype(dtype) for d, e in pairs)
        self.biases = tuple(random.normal(0, 0.5, e).astype(dtype) for _, e in pairs)

    def set_parameters(self, weights, biases):
        self.weights = tuple(np.array(array, self.dtype) for array in weights)
        self.biases = tuple(np.array(array, self.dtype) for array in biases)

    def forward(self, X):
        f, h = reference.forward(self.weights, self.biases, X)
        return types.SimpleNamespace(f=f, h=h)

    def gradients(self, X, y, loss="squared_error", sample_weight=None):
        f, h = reference.forward(self.weights, self.biases, X)
        resolved = losses.resolve(loss)
        y = np.asarray(y, np.float64).reshape(f[-1].shape)
        sample_weight = np.ones(len(y)) if sample_weight is None else sample_weight
        total, weight, g = reference.loss_and_gradient(resolved.name, f[-1], y, sample_weight, resolved.parameter)
        weights, biases, (x, *f) = reference.backward(self.weights, h, g)
        return types.SimpleNamespace(loss=total / weight, weights=weights, biases=biases, f=f, x=x)

    def loss(self, X, y, loss="squared_error", sample_weight=None):
        return self.gradients(X, y, loss, sample_weight).loss


def batch(n, layer_sizes, loss="squared_error", seed=1):
    random = np.random.default_rng(seed)
    X, y = random.normal(size=(n, layer_sizes[0])), random.normal(size=(n, layer_sizes[-1]))
    if loss == "binary_cross_entropy":
        y = random.random(y.shape)
    if loss == "cross_entropy":
        y = np.exp(reference.log_softmax(y))
    if loss == "poisson":
        y = random.poisson(2.0, y.shape)
    return X, y


def alter(gradients, name, change):
    array = getattr(gradients, "weights" if name.startswith("Ω") else "biases")[int(name[-1])]
    place = np.argmax(np.abs(array))
    array.flat[place] = change(array.flat[place])
    return gradients


@pytest.mark.parametrize("loss", losses.NAMES)
@pytest.mark.parametrize("layer_sizes", [(3, 2), (2, 5, 1), (4, 7, 3, 2), (3, 9, 8, 7, 6, 5, 2)])
def test_right_gradients_pass(layer_sizes, loss):
    X, y = batch(6, layer_sizes, loss)
    check = check_gradients(NumpyNetwork(layer_sizes), X, y, loss=loss)
    assert check.ok, f"\n{check}"
    assert check.max_relative_error < 1e-6
    assert sum(array.kinks for array in check.arrays) == 0


@pytest.mark.parametrize("loss", losses.NAMES)
def test_right_gradients_pass_at_many_starting_points(loss):
    layer_sizes = (3, 6, 4, 2)
    for seed in range(25):
        X, y = batch(5, layer_sizes, loss, seed)
        check = check_gradients(NumpyNetwork(layer_sizes, seed=seed), X, y, loss=loss)
        assert check.ok, f"seed {seed}\n{check}"


def test_sample_weights_are_part_of_the_check():
    layer_sizes, weight = (3, 4, 2), np.array([0.0, 1.0, 2.5, 0.1, 3.0])
    X, y = batch(5, layer_sizes)
    assert check_gradients(NumpyNetwork(layer_sizes), X, y, sample_weight=weight).ok
    net = NumpyNetwork(layer_sizes)
    right = net.gradients
    net.gradients = lambda X, y, **_: right(X, y)
    assert not check_gradients(net, X, y, sample_weight=weight).ok


@pytest.mark.parametrize("name", ["Ω_0", "β_0", "Ω_1", "β_1", "Ω_2", "β_2"])
@pytest.mark.parametrize("change", [lambda g: -g, lambda g: g * 1.00001, lambda _: 0.0, lambda _: np.nan])
def test_one_wrong_number_fails_its_array_and_no_other(name, change):
    layer_sizes = (3, 5, 4, 2)
    net = NumpyNetwork(layer_sizes, seed=2)
    right = net.gradients
    net.gradients = lambda *args, **kwargs: alter(right(*args, **kwargs), name, change)
    check = check_gradients(net, *batch(20, layer_sizes))
    assert not check.ok
    assert [array.name for array in check.arrays if not array.ok] == [name]
    assert [line.split()[0] for line in str(check).splitlines() if line.endswith("WRONG")] == [name]
    assert "GRADIENTS DO NOT AGREE" in str(check)


def test_a_forgotten_relu_mask_is_found():
    class NoMask(NumpyNetwork):
        def gradients(self, X, y, loss, sample_weight):
            wrong = super().gradients(X, y, loss, sample_weight)
            g = wrong.f[1] @ self.weights[1]
            wrong.weights[0], wrong.biases[0] = g.T @ X, g.sum(axis=0)
            return wrong

    check = check_gradients(NoMask((3, 8, 2)), *batch(6, (3, 8, 2)))
    assert [array.name for array in check.arrays if not array.ok] == ["Ω_0", "β_0"]


def at_zero(subgradient=0.0):
    """f_0 = β + ω x = 0 exactly for x = 1, and ŷ = 3 ReLU(f_0)."""

    class AtZero(NumpyNetwork):
        def gradients(self, *args, **kwargs):
            found = super().gradients(*args, **kwargs)
            slope = subgradient * 3.0 * float(found.f[1][0, 0])
            found.weights[0][0, 0] += slope
            found.biases[0][0] += slope
            return found

    net = AtZero((1, 1, 1))
    net.set_parameters([[[0.5]], [[3.0]]], [[-0.5], [0.0]])
    return net


def test_at_f_0_the_gradient_is_held_to_the_convention_that_the_subgradient_is_0():
    check = check_gradients(at_zero(), [[1.0]], [[2.0]])
    assert check.ok, f"\n{check}"
    assert [(array.checked, array.kinks) for array in check.arrays] == [(1, 0)] * 4
    wrong = check_gradients(at_zero(subgradient=0.5), [[1.0]], [[2.0]])
    assert [array.name for array in wrong.arrays if not array.ok] == ["Ω_0", "β_0"]


def test_a_kink_nearer_than_the_step_is_passed_on_its_smooth_side():
    net = at_zero()
    for distance in (1e-7, -1e-7):
        net.set_parameters([[[0.5]], [[3.0]]], [[-0.5 + distance], [0.0]])
        check = check_gradients(net, [[1.0]], [[2.0]])
        assert check.ok, f"\n{check}"
        assert all(array.kinks == 0 for array in check.arrays)


def test_a_one_sided_difference_is_as_sharp_as_a_central_one():
    net = NumpyNetwork((1, 1, 1))
    net.set_parameters([[[0.5]], [[3.0]]], [[-0.5 + 1e-7], [0.0]])
    right = net.gradients
    net.gradients = lambda *args, **kwargs: alter(right(*args, **kwargs), "β_0", lambda g: g * (1 + 3e-6))
    check = check_gradients(net, [[1.0]], [[2.0]], loss="poisson")
    assert [array.name for array in check.arrays if not array.ok] == ["β_0"]


def test_a_kink_on_both_sides_is_counted_and_has_no_part_in_the_verdict():
    # Two rows, x = 1 and x = −1, both with f_0 = 0: a step in Ω_0 either way brings one of them to life.
    net = NumpyNetwork((1, 1, 1))
    net.set_parameters([[[0.0]], [[3.0]]], [[0.0], [1.0]])
    check = check_gradients(net, [[1.0], [-1.0]], [[2.0], [0.5]])
    by_name = {array.name: array for array in check.arrays}
    assert (by_name["Ω_0"].checked, by_name["Ω_0"].kinks) == (0, 1)
    assert (by_name["β_0"].checked, by_name["β_0"].kinks) == (1, 0)
    assert check.ok, f"\n{check}"
    assert "not checked" in str(check)


def test_a_check_that_could_compare_nothing_is_not_ok():
    # ŷ = y = 0 everywhere, and every step moves some ŷ off the kink of |ŷ − y|.
    net = NumpyNetwork((1, 1))
    net.set_parameters([[[0.0]]], [[0.0]])
    check = check_gradients(net, [[1.0]], [[0.0]], loss="absolute_error")
    assert [(array.checked, array.kinks) for array in check.arrays] == [(0, 1), (0, 1)]
    assert not check.ok


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_the_kink_of_the_loss_at_y_is_no_error(loss):
    X, y = batch(6, (3, 4, 1))
    net = NumpyNetwork((3, 4, 1))
    y[0] = net.forward(X).f[-1][0]
    y[1] = net.forward(X).f[-1][1] + 1e-7
    check = check_gradients(net, X, y[:, 0], loss=loss)
    assert check.ok, f"\n{check}"
    assert sum(array.kinks for array in check.arrays) > 0


def test_the_bend_of_huber_at_delta_is_no_error():
    net = NumpyNetwork((1, 1))
    net.set_parameters([[[0.0]]], [[0.0]])
    check = check_gradients(net, [[1.0]], [[1.0]], loss=losses.huber(1.0))
    assert check.ok, f"\n{check}"
    assert all(array.checked == 1 for array in check.arrays)


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e12])
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "cross_entropy", "huber"])
def test_raw_inputs_of_any_scale_raise_no_false_alarm(loss, scale):
    layer_sizes = (3, 6, 2)
    for seed in range(10):
        X, y = batch(8, layer_sizes, loss, seed)
        check = check_gradients(NumpyNetwork(layer_sizes, seed=seed), scale * X, y, loss=loss)
        assert check.ok, f"\n{check}"


def test_a_large_input_makes_for_a_small_step_in_its_weights():
    # ŷ = Ω_0 x = 1 and ∂ŷ/∂Ω_0 = 10⁴: a step of 6e-6 in Ω_0 would take ŷ far along the bend of the loss.
    net = NumpyNetwork((1, 1))
    net.set_parameters([[[1e-4]]], [[0.0]])
    check = check_gradients(net, [[1e4]], [[0.5]], loss="binary_cross_entropy")
    assert check.ok, f"\n{check}"


@pytest.mark.parametrize(("weight", "bias", "x", "y"), [(1e12, -1e12, 1.0, 1e12), (0.5, 0.5, 1e12, 1.0)])
def test_numbers_far_from_1_raise_no_false_alarm_and_hide_no_wrong_gradient(weight, bias, x, y):
    net = NumpyNetwork((1, 1))
    net.set_parameters([[[weight]]], [[bias]])
    check = check_gradients(net, [[x]], [[y]])
    assert check.ok, f"\n{check}"
    right = net.gradients
    net.gradients = lambda *args, **kwargs: alter(right(*args, **kwargs), "Ω_0", lambda g: -g)
    assert [array.name for array in check_gradients(net, [[x]], [[y]]).arrays if not array.ok] == ["Ω_0"]


def test_a_network_of_zeros_at_zero_raises_no_false_alarm():
    net = NumpyNetwork((2, 3, 1))
    net.set_parameters([np.zeros((3, 2)), np.zeros((1, 3))], [np.zeros(3), np.zeros(1)])
    check = check_gradients(net, np.zeros((4, 2)), np.zeros(4))
    assert check.ok, f"\n{check}"
    assert check.max_relative_error == 0.0


def test_large_targets_raise_no_false_alarm():
    X, y = batch(8, (3, 6, 2))
    check = check_gradients(NumpyNetwork((3, 6, 2)), X, 1e6 + y)
    assert check.ok, f"\n{check}"


def test_a_network_trained_to_a_gradient_of_0_raises_no_false_alarm():
    X = np.random.default_rng(0).normal(size=(20, 3))
    net = NumpyNetwork((3, 4, 1))
    check = check_gradients(net, X, net.forward(X).f[-1])
    assert check.ok, f"\n{check}"


def test_large_arrays_are_sampled_and_the_seed_says_where():
    class Recording(NumpyNetwork):
        def set_parameters(self, weights, biases):
            super().set_parameters(weights, biases)
            seen.add(weights[0].tobytes())

    layer_sizes = (10, 12, 1)
    results = []
    for seed in (0, 0, 1):
        seen = set()
        check = check_gradients(Recording(layer_sizes), *batch(4, layer_sizes), max_per_array=5, seed=seed)
        assert [array.checked + array.kinks for array in check.arrays] == [5, 5, 5, 1]
        assert check.ok
        assert "5 of 120" in str(check)
        results.append(seen)
    assert results[0] == results[1] != results[2]


def test_a_float32_network_is_checked_through_a_float64_copy():
    layer_sizes = (4, 9, 3)
    X, y = batch(7, layer_sizes)
    check = check_gradients(NumpyNetwork(layer_sizes, dtype="float32"), X, y)
    assert check.ok, f"\n{check}"
    assert check.max_relative_error < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_callers_network_and_data_are_left_as_they_were(dtype):
    layer_sizes = (3, 4, 2)
    net, (X, y) = NumpyNetwork(layer_sizes, dtype=dtype), batch(5, layer_sizes)
    before = [array.tobytes() for array in (*net.weights, *net.biases, X, y)]
    arrays = (*net.weights, *net.biases, X, y)
    check_gradients(net, X, y)
    assert [array.tobytes() for array in (*net.weights, *net.biases, X, y)] == before
    assert all(now is then for now, then in zip((*net.weights, *net.biases), arrays, strict=False))


def test_the_table_names_every_array_and_can_be_read():
    check = check_gradients(NumpyNetwork((2, 3, 1)), *batch(4, (2, 3, 1)))
    *table, verdict = str(check).splitlines()
    assert [line.split()[0] for line in table] == ["array", "Ω_0", "β_0", "Ω_1", "β_1"]
    assert [line.split()[-1] for line in table[1:]] == ["ok"] * 4
    ends = [line.index("of 6") if "of 6" in line else line.index(" of ") + 1 for line in table[1:]]
    assert len(set(ends)) == 1
    assert len({len(line) for line in table[1:]}) == 1
    assert verdict.startswith("squared_error: gradients agree; largest relative error ")
    assert verdict.count("allowed 1e-06") == 1


@pytest.mark.parametrize("name", ["epsilon", "tolerance", "max_per_array"])
@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_settings_that_are_not_positive_are_refused_by_name(name, bad):
    with pytest.raises(ValueError, match=f"^{name} must be positive"):
        check_gradients(NumpyNetwork((2, 1)), *batch(3, (2, 1)), **{name: bad})


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"^loss must be one of"):
        check_gradients(NumpyNetwork((2, 1)), *batch(3, (2, 1)), loss="hinge")


# The same check of the real network.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", losses.NAMES)
def test_the_networks_own_gradients_pass(loss, dtype):
    layer_sizes = [3, 17, 5, 2]
    net = fastbp.Network(layer_sizes, dtype=dtype, seed=3)
    check = fastbp.check_gradients(net, *batch(6, layer_sizes, loss), loss=loss)
    assert check.ok, f"\n{check}"


def test_class_numbers_are_taken_as_targets():
    net = fastbp.Network([3, 5, 4], dtype="float64", seed=0)
    X, _ = batch(6, [3, 4])
    assert fastbp.check_gradients(net, X, [0, 1, 2, 3, 0, 1], loss="cross_entropy").ok


def test_the_networks_bits_are_left_as_they_were():
    net = fastbp.Network([3, 5, 2], dtype="float32", seed=0)
    before = [array.tobytes() for array in (*net.weights, *net.biases)]
    fastbp.check_gradients(net, *batch(4, [3, 2]))
    assert [array.tobytes() for array in (*net.weights, *net.biases)] == before


@pytest.mark.parametrize("activation", ["identity", "tanh", "logistic"])
def test_smooth_activations_have_no_kinks(activation):
    net = fastbp.Network((3, 7, 6, 2), "float64", 0, activation)
    rng = np.random.default_rng(1)
    check = fastbp.check_gradients(net, rng.standard_normal((9, 3)), rng.standard_normal((9, 2)))
    assert check.ok
    assert sum(array.kinks for array in check.arrays) == 0
