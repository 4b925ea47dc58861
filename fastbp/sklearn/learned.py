"""What an estimator has learned: packed for kernels, and unpacked for the user when the user asks.

A fit leaves packed parameters and packed moments. The next call of `partial_fit` or `predict` uses them as they are.
`Learned` is the part of an estimator that holds them. This file must not know how a fit proceeds.
"""

from typing import Any

from fastbp import activations
from fastbp.kernels.layout import Parameters
from fastbp.runs import portable
from fastbp.sklearn import solvers
from fastbp.sklearn.packed import Arrays, Packed, arrays_of, parameters_of

_NOT_PICKLED = ("_packed", "_moments")


class Learned:
    """The part of an estimator that holds parameters and moments; its attributes are those of the estimator.

    `coefs_` and `intercepts_` are unpacked when they are first read. From then on, the user may write to the arrays, or
    replace them, between any two calls. Each later call therefore compares the arrays with copies of what the user got.
    """

    activation: activations.ActivationLike
    _optimizer: solvers.Optimizer  # its moments are up to date only if `_moments` is None
    _packed: Packed | None = None
    _moments: tuple[Parameters, ...] | None = None

    @property
    def coefs_(self) -> Arrays:
        """Weights of each layer, each of shape (inputs, outputs). The list has n_layers_ − 1 matrices."""
        return self._unpacked("coefs_")

    @coefs_.setter
    def coefs_(self, coefs: Arrays) -> None:
        self._replace("coefs_", coefs)

    @property
    def intercepts_(self) -> Arrays:
        """Biases of each layer, each of shape (outputs,)."""
        return self._unpacked("intercepts_")

    @intercepts_.setter
    def intercepts_(self, intercepts: Arrays) -> None:
        self._replace("intercepts_", intercepts)

    def _unpacked(self, name: str) -> Arrays:
        """Return the coefficients or the intercepts, as the user may write to them."""
        held = vars(self)
        if name not in held:
            if self._packed is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            held["coefs_"], held["intercepts_"] = coefs, intercepts = arrays_of(self._packed.parameters)
            self._packed.unpacked = [array.copy() for array in (*coefs, *intercepts)]
        found: Arrays = held[name]
        return found

    def _replace(self, name: str, arrays: Arrays) -> None:
        """Set the coefficients or the intercepts."""
        if self._packed is not None:
            self._unpacked(name)  # the other ones stay as they are
        vars(self)[name] = arrays

    @property
    def _has_learned(self) -> bool:
        """Whether there are parameters, from this process or from a pickle."""
        return self._packed is not None or "coefs_" in vars(self)

    def _current(self) -> Packed:
        """Return the present parameters in packed form; pack them if the user has changed them."""
        packed, held = self._packed, vars(self)
        n_hidden = len(self.coefs_) - 1 if packed is None else packed.parameters.n_layers - 1
        activation = activations.resolve_layers(self.activation, n_hidden)
        if packed is None or ("coefs_" in held and not packed.is_from([*self.coefs_, *self.intercepts_])):
            packed = Packed(parameters_of(self.coefs_, self.intercepts_), activation, packed)
            packed.unpacked = [array.copy() for array in (*self.coefs_, *self.intercepts_)]
            self._packed = packed
        if packed.activation != activation:  # set by the user after the fit
            unpacked = packed.unpacked
            self._packed = packed = Packed(packed.parameters, activation, packed)
            packed.unpacked = unpacked
        return packed

    def _current_moments(self, parameters: Parameters) -> tuple[Parameters, ...]:
        """Return the present moments in packed form, laid out as the parameters; raise if they have other shapes."""
        moments = self._moments
        if moments is None or any(moment.data.dtype != parameters.data.dtype for moment in moments):
            if moments is not None:
                solvers.write_moments(self._optimizer, moments)
            moments = solvers.packed_moments(self._optimizer, parameters.data.dtype)
        sizes = parameters.sizes.tolist()
        if any(moment.sizes.tolist() != sizes for moment in moments):
            raise ValueError(f"the layers have the sizes {sizes} now, and the optimizer's moments have other shapes")
        return moments

    def _take_over(self, parameters: Parameters) -> None:
        """Let packed parameters be what the estimator has learned. The epochs of a fit may change them in place."""
        activation = activations.resolve_layers(self.activation, parameters.n_layers - 1)
        self._packed = Packed(parameters, activation, self._packed)
        vars(self).pop("coefs_", None)
        vars(self).pop("intercepts_", None)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all attributes, with unpacked parameters and moments in place of packed ones."""
        given: Any = super().__getstate__()
        state = {name: value for name, value in given.items() if name not in _NOT_PICKLED}
        if self._packed is not None and "coefs_" not in state:
            state["coefs_"], state["intercepts_"] = arrays_of(self._packed.parameters)
        if self._moments is not None:
            solvers.write_moments(self._optimizer, self._moments)
        return portable.with_portable(state, "loss", "activation") if self._has_learned else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(portable.with_plain(state, "loss", "activation"))  # type: ignore[misc]  # scikit-learn's
