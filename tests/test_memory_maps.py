"""Training on a memory map: the bits of an array in memory, without a copy of the map."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import fastbp
from fastbp.runs.training_rows import checked_rows

Floats = npt.NDArray[np.floating]


def mapped(path: Path, array: Floats, mode: str = "r") -> Floats:
    np.save(path, array)
    return np.load(path, mmap_mode=mode)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_inputs", "n_more"), [(1, 0), (5, 3), (16, 0), (17, 0), (30, 1), (33, 2)])
def test_a_map_trains_to_the_bits_of_an_array(dtype: str, n_inputs: int, n_more: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n_inputs)
    table = mapped(tmp_path / "table.npy", rng.standard_normal((97, n_inputs + n_more)).astype(dtype))
    X, y = table[:, :n_inputs], table[:, -1]
    assert np.shares_memory(checked_rows(X, y, None, (n_inputs, 1), fastbp.losses.resolve("squared_error"), dtype).x, X)
    nets = [fastbp.Network([n_inputs, 8, 1], dtype, seed=1) for _ in range(2)]
    histories = [
        net.fit(inputs, y, epochs=2, batch_size=10, seed=2, validation_data=(inputs[::-1], y[::-1]))
        for net, inputs in zip(nets, (X, np.array(X)), strict=True)
    ]
    assert histories[0].loss == histories[1].loss
    assert histories[0].validation_loss == histories[1].validation_loss
    for weights, expected in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(nets[0].gradients(X, y).x, nets[0].gradients(np.array(X), y).x)
    np.testing.assert_array_equal(nets[0].predict(X), nets[0].predict(np.array(X)))


@pytest.mark.parametrize(
    "view",
    [
        lambda table: table[::2],
        lambda table: table[::-1],
        lambda table: table[:, ::-1],
        lambda table: table[:, ::2],
        lambda table: table.T,
        lambda table: table[:1],
        lambda table: np.broadcast_to(table[:1], table.shape),
        lambda table: np.frombuffer(table, table.dtype, offset=table.itemsize, count=60).reshape(10, 6),
        lambda table: np.frombuffer(table.tobytes(), table.dtype).reshape(table.shape),
        lambda table: table.astype(np.float64),
        lambda table: table.astype(">f4"),
    ],
)
@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_every_view_of_a_map_is_read_as_an_array(view, mode: str, tmp_path: Path) -> None:
    table = mapped(tmp_path / "table.npy", np.random.default_rng(0).standard_normal((40, 40)).astype("float32"), mode)
    X = view(table)
    y, net = X[:, :1].copy(), fastbp.Network([X.shape[1], 4, 1], seed=0)
    expected = fastbp.Network([X.shape[1], 4, 1], seed=0)
    assert net.fit(X, y, batch_size=7).loss == expected.fit(np.array(X, order="C"), y, batch_size=7).loss
    assert net.loss(X, y) == expected.loss(np.array(X), y)


def test_a_map_at_an_odd_place_of_a_file_is_read(tmp_path: Path) -> None:
    numbers = np.arange(24, dtype=np.float32).reshape(8, 3) / 24
    (tmp_path / "odd").write_bytes(b"?" + numbers.tobytes())
    X = np.memmap(tmp_path / "odd", np.float32, "r", offset=1, shape=(8, 3))
    net, expected = (fastbp.Network([3, 4, 1], seed=0) for _ in range(2))
    assert net.fit(X, X[:, 0]).loss == expected.fit(numbers, numbers[:, 0]).loss


def test_a_number_of_a_map_that_is_not_finite_is_named(tmp_path: Path) -> None:
    table = np.zeros((300_000, 2), np.float32)
    table[280_000, 1] = np.nan
    X = mapped(tmp_path / "table.npy", table)
    with pytest.raises(ValueError, match=r"X holds nan at \[280000, 1\]: not a finite number"):
        fastbp.Network([2, 1]).fit(X, X[:, 0])


_MEASURED = """
import sys
import numpy as np
import fastbp

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

X = np.load(sys.argv[1], mmap_mode="r")
y = np.zeros(len(X), np.float32)
net = fastbp.Network([X.shape[1], 8, 1])
net.fit(X[:100], y[:100])
before, most = anonymous(), []
net.fit(X, y, batch_size=4096, epochs=1, callback=lambda progress: most.append(anonymous()))
net.predict(X)
print((max(*most, anonymous()) - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process has of its own")
def test_a_map_is_not_copied(tmp_path: Path) -> None:
    table = np.lib.format.open_memmap(tmp_path / "table.npy", "w+", np.float32, (1_000_000, 64))  # 244 MiB
    table.flush()
    answer = subprocess.run(
        [sys.executable, "-c", _MEASURED, tmp_path / "table.npy"], capture_output=True, text=True, check=True
    )
    assert float(answer.stdout) < 61  # MiB, a quarter of the map: the order, the targets and the predictions take 20
