"""Single kernels, and the same matrix products with NumPy's BLAS."""

from benchmarks.common import pin, usable_cores


class Kernels:
    """Seconds of 1000 calls in float32, for equal numbers of inputs and outputs. NumPy computes only the product."""

    params = (("fastbp", "numpy"), ("forward", "backward_input", "backward_parameters"), (16, 64, 256), (32,))
    param_names = ("implementation", "kernel", "width", "batch")
    rounds = 4
    repeat = (5, 50, 0.3)

    def setup(self, implementation, kernel, width, batch):
        from benchmarks.kernel_calls import fastbp_calls, numpy_calls

        pin({max(usable_cores())})
        make = {"fastbp": fastbp_calls, "numpy": numpy_calls}[implementation]
        self.repeat_kernel = make(kernel, width, batch, "float32").repeat
        self.repeat_kernel(10)

    def time_thousand_calls(self, *_):
        self.repeat_kernel(1000)
