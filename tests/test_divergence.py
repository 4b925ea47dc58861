"""What a run that leaves the finite numbers keeps, whenever it does and whoever interrupts it."""

import numpy as np
import pytest

import fastbp
from fastbp.runs import fitting

rng = np.random.default_rng(0)
X, y = rng.standard_normal((513, 3)), rng.standard_normal(513)


@pytest.mark.parametrize("first_slice", [1, 64, 1000])
@pytest.mark.parametrize("outputs", [1, 9])
def test_the_step_that_fails_is_found_behind_a_short_batch(outputs, first_slice, monkeypatch):
    """A last batch of one row lies in buffers whose other rows a failed run has left full of NaN."""
    monkeypatch.setattr(fitting, "_FIRST_SLICE", first_slice)
    net = fastbp.Network([3, 8, 8, outputs], seed=0)
    targets = np.repeat(y[:, None], outputs, axis=1)
    with pytest.raises(fastbp.DivergenceError) as caught:
        net.fit(X, targets, optimizer=fastbp.SGD(lambda step: 1e-4 if step < 100 else 3e38), batch_size=8, epochs=3)
    # 65 steps make an epoch; step 100 leaves the numbers.
    assert caught.value.epoch == 2
    assert caught.value.learning_rate == pytest.approx(3e38)
    assert len(caught.value.history.loss) == 1
    assert net.to_tensors()[1]["step"] == 100


def test_ctrl_c_before_the_check_leaves_finite_parameters(monkeypatch):
    """The signal waits for the compiled call to return, and is answered before its result is looked at."""

    def interrupted(*arguments):
        train(*arguments)
        raise KeyboardInterrupt

    train = fitting.train
    monkeypatch.setattr(fitting, "train", interrupted)
    net = fastbp.Network([3, 8, 1], seed=0)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, 100 * y, optimizer=fastbp.SGD(3e38))
    assert all(np.isfinite(array).all() for array in (*net.weights, *net.biases))


@pytest.mark.parametrize("last", [64, 65, 100, 130, 131])
def test_what_is_kept_does_not_depend_on_the_slices(last, monkeypatch):
    """A slice copies the order of the rows only if it shuffles them; 65 steps make an epoch."""
    kept = []
    for first_slice in (1, 7, 64, 1000):
        monkeypatch.setattr(fitting, "_FIRST_SLICE", first_slice)
        net = fastbp.Network([3, 8, 1], seed=0)
        with pytest.raises(fastbp.DivergenceError):
            net.fit(
                X, y, optimizer=fastbp.SGD(lambda step: 1e-3 if step < last else 3e38), batch_size=8, epochs=3, seed=1
            )
        tensors, _ = net.to_tensors()
        kept.append([*net.weights, *net.biases, tensors["random"]])
    for arrays in kept[1:]:
        assert all(map(np.array_equal, kept[0], arrays))


def test_a_slice_copies_the_order_of_the_rows_only_if_it_shuffles(monkeypatch):
    copied = []

    def counted(job, n_steps):
        copies = copy(job, n_steps)
        copied.append((int(job.state.counts[fitting.ROW]), any(array.size == 513 for array in copies)))
        return copies

    copy = fitting._copy
    monkeypatch.setattr(fitting, "_copy", counted)
    monkeypatch.setattr(fitting, "_GROWTH", 1)
    monkeypatch.setattr(fitting, "_FIRST_SLICE", 10)
    fastbp.Network([3, 8, 1], seed=0).fit(X, y, batch_size=8, epochs=2)  # steps 0–9, 10–19, …; 65 begins an epoch
    assert [has_order for _, has_order in copied[:8]] == [True, False, False, False, False, False, True, False]
