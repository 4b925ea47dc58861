"""The memory that training needs."""

import numpy as np

import fastbp
from benchmarks.common import INPUTS, OUTPUTS


class Workspace:
    """Bytes of a workspace, without the parameters and the table; fewer is better."""

    params = ((1, 4), (16, 256), (32, 256))
    param_names = ("K", "width", "batch")
    unit = "bytes"

    def track_workspace_bytes(self, K, width, batch):
        from fastbp.kernels.packing import workspace_for

        return workspace_for([INPUTS, *K * [width], OUTPUTS], batch, "float32").data.nbytes


class PeakOfFit:
    """Peak memory of a process that fits 100,000 rows of 16 numbers (6.4 MB)."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((100_000, 16), dtype=np.float32)
        self.network = fastbp.Network([16, 256, 256, 1], dtype="float32", seed=0)
        self.network.fit(self.X[:64], self.X[:64, 0], epochs=1)

    def peakmem_fit(self):
        self.network.fit(self.X, self.X[:, 0], optimizer=fastbp.SGD(1e-6), batch_size=256, epochs=1)
