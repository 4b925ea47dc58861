"""Class labels as the targets of a network, and back: the binarizer, checks of classes, weights of classes, accuracy.

`LabelTargets` is the part of `MLPClassifier` that reads labels. This file must not know how a fit proceeds.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import unique_labels

from fastbp import losses
from fastbp._typing import Array
from fastbp.export.parts import Outputs
from fastbp.sklearn.descent import Objective

ClassWeight = dict[Any, Any] | list[dict[Any, Any]] | Literal["balanced"] | None

PLAIN_KINDS = "biuU"  # the kinds of NumPy's dtypes whose values are classes as they are


@functools.cache
def _log_loss(out_activation: str, dtype: np.dtype[Any]) -> Objective:
    """Return the log loss of probabilities that are clipped at ε of the dtype, as in scikit-learn."""
    loss = losses.cross_entropy if out_activation == "softmax" else losses.binary_cross_entropy
    return Objective(loss.with_parameter(float(-np.log(np.finfo(dtype).eps))))


class LabelTargets:
    """The part of a classifier that turns labels into targets and back; its attributes are those of the classifier.

    Targets are truth values of shape (n, n_outputs_). Two classes have one column, which is true for the second class.
    Three and more classes, and the labels of a multilabel `y`, have one column each.
    """

    classes_: Array
    class_weight: ClassWeight
    n_outputs_: int
    out_activation_: str
    stratify: bool
    validation_fraction: float
    warm_start: bool
    _label_binarizer: LabelBinarizer

    def _targets(self, y: Array, incremental: bool) -> Array:
        """Return the targets for checked labels. A fit that does not go on from an earlier one learns the classes."""
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = _binarizer_of(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start or not self._are_classes(y):
            self._check_classes(unique_labels(y))
        return self._indicators(y)

    def _are_classes(self, y: Array) -> bool:
        """Tell whether each of these labels is one of the classes; False for labels that take a closer look."""
        classes = self.classes_
        if y.ndim != 1 or y.dtype.kind not in PLAIN_KINDS or classes.dtype.kind != y.dtype.kind or self._is_multilabel:
            return False
        numbers = np.searchsorted(classes, y)
        return bool((classes.take(numbers, mode="clip") == y).all())

    def _is_known(self, classes: Any) -> bool:
        """Tell whether these are the classes of the first call of `partial_fit`, or none are given in a later call."""
        known = getattr(self, "classes_", None)
        if known is None or classes is None:
            return known is not None
        is_plain = type(classes) is np.ndarray and classes.ndim == 1 and classes.dtype.kind in PLAIN_KINDS
        return is_plain and np.array_equal(np.unique(classes), known)

    def _classes_of(self, p: Array) -> Array:
        """Return the labels that follow from the outputs of the network, as `LabelBinarizer.inverse_transform` does."""
        binarizer = self._label_binarizer
        if not binarizer.sparse_input_ and len(binarizer.classes_) > 1:  # without its checks of the numbers
            if binarizer.y_type_ == "multiclass":
                return np.asarray(binarizer.classes_.take(p.argmax(axis=1), mode="clip"))
            if binarizer.y_type_ == "binary":
                return np.asarray(binarizer.classes_[(p.ravel() > 0.5).astype(int)])
        labels: Array = binarizer.inverse_transform(p.ravel() if self.n_outputs_ == 1 else p)
        return labels

    def _held_out_targets(self, y: Any) -> Array:
        """Return the targets for the labels of `validation_data`; raise unless `y` of the fit has these labels too."""
        y = check_array(y, ensure_2d=False, dtype=None, accept_sparse="csr")
        is_multilabel = self._is_multilabel
        if (y.ndim == 2 and y.shape[1] > 1) != is_multilabel:
            kinds = ("classes", "columns of labels")
            raise ValueError(f"validation_data has {kinds[not is_multilabel]}, y has {kinds[is_multilabel]}")
        if not is_multilabel:
            y = column_or_1d(y)
            unknown = np.setdiff1d(y, self.classes_)
            if len(unknown):
                raise ValueError(f"validation_data has classes that are not in y: {unknown}; y has {self.classes_}")
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(f"validation_data has {y.shape[1]} labels, y has {self.n_outputs_}")
        return self._indicators(y)

    def _check_classes(self, classes: Array) -> None:
        """Raise unless a fit that goes on from an earlier one may have these classes."""
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    @property
    def _is_multilabel(self) -> bool:
        return str(self._label_binarizer.y_type_).startswith("multilabel")

    def _exported_outputs(self) -> Outputs:
        """Return the outputs of an exported model: classes that are not texts become 64-bit integers."""
        classes = self.classes_
        if len(classes) == 1:
            raise ValueError("a classifier that was fitted with one class cannot be exported")
        labels = classes.astype(np.int64 if classes.dtype.kind in "biuf" else np.str_)
        return Outputs(
            self.out_activation_, is_probability=True, labels=labels, is_multilabel=bool(self._is_multilabel)
        )

    def _indicators(self, y: Array) -> Array:
        """Return the targets for checked labels of known classes."""
        if issparse(y) or y.ndim == 2 or self._is_multilabel:
            return np.asarray(self._label_binarizer.transform(y)).astype(bool)
        # `LabelBinarizer.transform` checks the labels once more, which takes longer than a short fit.
        numbers = np.searchsorted(self.classes_, y)
        wanted = np.arange(len(self.classes_)) if len(self.classes_) > 2 else np.ones(1)
        return np.equal(numbers[:, None], wanted)

    def _objective(self, dtype: npt.DTypeLike) -> Objective:
        """Return the loss that a fit in this dtype minimises, without the penalty."""
        return _log_loss(self.out_activation_, np.dtype(dtype))

    def _labels(self, y: Array) -> Array:
        """Return the labels of targets, as `predict` returns labels but never sparse."""
        labels = self._label_binarizer.inverse_transform(y.astype(int))
        return np.asarray(labels.toarray() if issparse(labels) else labels)

    def _class_weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        """Return the weights of rows with these targets: sample weights times class weights."""
        if self.class_weight is None:
            return sample_weight
        weight = compute_sample_weight(self.class_weight, self._labels(y))
        return np.asarray(weight) if sample_weight is None else np.asarray(weight * sample_weight, sample_weight.dtype)

    def _stratify(self, y: Array) -> Array | None:
        """Return the classes by which the split of held-out rows is stratified; None for a split without strata.

        As in scikit-learn, only two classes are strata by default. With `stratify`, three and more classes are strata
        too, unless a class has only one row, or a part of the split has fewer rows than there are classes.
        """
        if self.n_outputs_ == 1:
            return y
        if not self.stratify or self.out_activation_ != "softmax":
            return None
        held_out = int(np.ceil(self.validation_fraction * len(y)))
        has_room = y.sum(axis=0).min() >= 2 and min(held_out, len(y) - held_out) >= y.shape[1]
        return np.asarray(y.argmax(axis=1)) if has_room else None

    def _scorer(self, y: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return a function from ŷ to the accuracy; a row of a multilabel `y` counts if all its labels are right."""
        if len(self.classes_) == 1 and not self._is_multilabel:
            return lambda _: 1.0
        total = len(y) if sample_weight is None else sample_weight.sum()
        is_softmax = self.out_activation_ == "softmax"
        numbers = y.argmax(axis=1) if is_softmax else y

        def score(f: Array) -> float:
            p = losses.inverse_link(self.out_activation_, f)
            right = p.argmax(axis=1) == numbers if is_softmax else ((p > 0.5) == numbers).all(axis=1)
            return float((right if sample_weight is None else right * sample_weight).sum() / total)

        return score


def _binarizer_of(y: Array) -> LabelBinarizer:
    """Return the binarizer of checked labels."""
    binarizer = LabelBinarizer()
    if y.ndim > 1 or y.dtype.kind not in PLAIN_KINDS:
        return binarizer.fit(y)
    # `LabelBinarizer.fit` checks the labels four more times, which takes a tenth of a short fit.
    binarizer.classes_, binarizer.sparse_input_ = np.unique(y), False
    binarizer.y_type_ = "multiclass" if len(binarizer.classes_) > 2 else "binary"
    return binarizer
