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
