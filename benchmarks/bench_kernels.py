"""The kernels by themselves, and the same products through NumPy's BLAS."""

from benchmarks.common import pin, usable_cores


class Kernels:
    """Seconds of a thousand calls on a layer as wide as its input; NumPy's are the product alone, in float32."""

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
