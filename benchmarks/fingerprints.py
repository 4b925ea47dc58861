"""Print hashes of the results of about 180 fits: `python -m benchmarks.fingerprints`.

The output has one line per fit, with a hash of all its results and a name, and a hash of all fits at the end. Two
commits give the same results to the bit if their outputs on one machine are equal. This file must not know how a
network is trained.
"""

import hashlib
import itertools
import warnings

import numpy as np

import fastbp
from fastbp import losses, schedules

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((150, 5))
NUMBERS = np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]
COUNTS = RANDOM.poisson(2.0, (150, 1))
CLASSES = RANDOM.integers(0, 3, 150)
WEIGHTS = RANDOM.uniform(0, 2, 150)

LOSSES = {
    "squared_error": NUMBERS,
    "binary_cross_entropy": (NUMBERS > 0).astype(float),
    "cross_entropy": CLASSES,
    "poisson": COUNTS,
    "huber": NUMBERS,
    "absolute_error": NUMBERS,
    "quantile": NUMBERS,
}
OPTIMIZERS = {
    "sgd": fastbp.SGD(0.02),
    "sgd, decay": fastbp.SGD(0.02, weight_decay=0.01),
    "momentum": fastbp.SGD(0.01, momentum=0.9),
    "nesterov": fastbp.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": fastbp.Adam(0.01),
    "adamw": fastbp.Adam(0.01, weight_decay=0.05),
}
SCHEDULES = {
    "step": schedules.Step(0.02, every=10),
    "inverse": schedules.InverseScaling(0.02),
    "cosine": schedules.Cosine(0.02, steps=20),
    "waves": schedules.LogarithmicCosine(0.02, steps=20),
    "rising": schedules.WarmUp(schedules.Cosine(0.02, steps=20), steps=5),
}


def digest(arrays):
    """Return a short hash of the bits of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def network(hidden, y, loss, dtype="float32", activation="relu", **options):
    """Fit a `Network`; return its parameters, predictions, losses and gradients."""
    outputs = 3 if loss == "cross_entropy" else y.shape[1]
    net = fastbp.Network([5, *hidden, outputs], dtype, seed=1, activation=activation)
    history = net.fit(X, y, loss=loss, **{"epochs": 3, "batch_size": 20, **options})
    gradients = net.gradients(X[:9], y[:9], loss=loss)
    return [*net.weights, *net.biases, net.predict(X), np.array(history.loss), *gradients.f]


def of_networks():
    for dtype, (loss, y), optimizer in itertools.product(("float32", "float64"), LOSSES.items(), OPTIMIZERS):
        yield (
            f"Network {dtype} {loss} {optimizer}",
            lambda a=(dtype, loss, y, optimizer): network((7, 19), a[2], a[1], a[0], optimizer=OPTIMIZERS[a[3]]),
        )
    for loss in (losses.huber(0.3), losses.quantile(0.9)):
        yield f"Network {loss.name} {loss.parameter}", lambda loss=loss: network((9,), NUMBERS, loss)
    for dtype, activation in itertools.product(("float32", "float64"), ("identity", "tanh", "logistic")):
        yield (
            f"Network {dtype} {activation}",
            lambda a=(dtype, activation): network((7, 33), NUMBERS, "squared_error", *a, optimizer=fastbp.Adam(0.01)),
        )
    for name, schedule in SCHEDULES.items():
        yield (
            f"Network {name}",
            lambda schedule=schedule: network((8,), NUMBERS, "huber", optimizer=fastbp.SGD(schedule, momentum=0.5)),
        )
    for name, options in {
        "weighted": {"sample_weight": WEIGHTS},
        "drop_last": {"drop_last": True},
        "in order": {"shuffle": False},
        "one row": {"batch_size": 1},
        "two rows": {"batch_size": 2, "optimizer": fastbp.Adam()},
        "whole": {"batch_size": 150},
        "reseeded": {"seed": 7},
    }.items():
        yield f"Network {name}", lambda o=options: network((20, 16), NUMBERS, "squared_error", **o)
    for hidden in ((), (1,), (15,), (17, 16), (64, 64), (4, 4, 4, 4, 4)):
        for y, loss in ((NUMBERS, "squared_error"), (np.tile(NUMBERS, 20), "absolute_error")):
            yield f"Network {hidden} {y.shape[1]}", lambda a=(hidden, y, loss): network(*a)
    for threads, optimizer, dtype in itertools.product((2, 3), ("sgd", "adam"), ("float32", "float64")):
        yield (
            f"Network {threads} threads {optimizer} {dtype}",
            lambda a=(threads, optimizer, dtype): network(
                (40, 40), NUMBERS, "squared_error", a[2], optimizer=OPTIMIZERS[a[1]], batch_size=64, n_threads=a[0]
            ),
        )


def fitted(model, *args, **options):
    """Fit an estimator of `fastbp.sklearn`; return its parameters, predictions and curves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(*args, **options)
    says = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    curves = [np.array(getattr(model, name, None) or [0.0], float) for name in ("loss_curve_", "validation_scores_")]
    return [*model.coefs_, *model.intercepts_, says, *curves]


def of_the_drop_in():
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    common = {"max_iter": 12, "random_state": 0, "hidden_layer_sizes": (11, 6)}
    for solver, activation in itertools.product(("sgd", "adam", "lbfgs"), ("relu", "tanh", "logistic", "identity")):
        options = {"solver": solver, "activation": activation, **common}
        yield f"MLPClassifier {solver} {activation}", lambda o=options: fitted(MLPClassifier(**o), X, CLASSES)
        yield f"MLPRegressor {solver} {activation}", lambda o=options: fitted(MLPRegressor(**o), X, NUMBERS.ravel())
    for name, options in {
        "early stopping": {"early_stopping": True},
        "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
        "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
        "dropout": {"dropout": 0.3},
        "small batches": {"batch_size": 7, "alpha": 0.1},
        "plain": {"solver": "sgd", "momentum": 0.0},
        "class weights": {"class_weight": "balanced"},
        "callback": {"callback": lambda progress: progress.epoch == 5},
    }.items():
        yield f"MLPClassifier {name}", lambda o=options: fitted(MLPClassifier(**{**common, **o}), X, CLASSES)
    for loss in ("poisson", "huber", "absolute_error", "quantile"):
        y = COUNTS.ravel() if loss == "poisson" else NUMBERS.ravel()
        for weights in (None, WEIGHTS):
            yield (
                f"MLPRegressor {loss} {'weighted' if weights is not None else ''}",
                lambda a=(loss, y, weights): fitted(MLPRegressor(a[0], **common), X, a[1], a[2]),
            )
    yield (
        "MLPClassifier float32, early stopping by AUC",
        lambda: fitted(
            MLPClassifier(**common, early_stopping=True, scoring="neg_log_loss"), X.astype(np.float32), CLASSES
        ),
    )
    yield (
        "MLPRegressor validation data",
        lambda: fitted(
            MLPRegressor(**common), X[:100], NUMBERS[:100].ravel(), validation_data=(X[100:], NUMBERS[100:].ravel())
        ),
    )
    yield "MLPClassifier partial_fit", lambda: partially_fitted(MLPClassifier(**common))


def partially_fitted(model):
    for start in range(0, 150, 30):
        model.partial_fit(X[start : start + 30], CLASSES[start : start + 30], classes=[0, 1, 2])
    return [*model.coefs_, *model.intercepts_]


def of_tables():
    from fastbp.tabular import TabularClassifier, TabularRegressor

    frame = {
        "a": [None if i % 11 == 4 else float(value) for i, value in enumerate(X[:, 0])],
        "b": X[:, 1],
        "colour": [None if i % 19 == 2 else ("red", "green", "blue")[i % 3] for i in range(150)],
        "wet": [bool(value > 0) for value in X[:, 2]],
        "day": np.arange(150).astype("timedelta64[D]") + np.datetime64("2024-01-01"),
    }
    labels, values = np.array(["x", "y", "z"])[CLASSES], NUMBERS.ravel()

    def learned(model, *args, **options):
        model.fit(*args, **options)
        parameters = [array for net in model.model_.networks for array in (*net.weights, *net.biases)]
        says = model.predict_proba(frame) if hasattr(model, "predict_proba") else model.predict(frame)
        return [*parameters, says, np.array(list(model.scores_.values()), float), model.model_.residuals]

    few = {"n_estimators": 3, "hidden_layer_sizes": (24, 16), "epochs": 10}
    for metric in ("log_loss", "accuracy", "auc"):
        yield (
            f"TabularClassifier {metric}",
            lambda m=metric: learned(TabularClassifier(**few, metric=m), frame, labels),
        )
    for metric in ("rmse", "mae", "quantile"):
        yield f"TabularRegressor {metric}", lambda m=metric: learned(TabularRegressor(**few, metric=m), frame, values)
    for name, options in {
        "one network": {"n_estimators": 1},
        "patience": {"patience": 2},
        "two threads": {"n_jobs": 2},
        "linear": {"hidden_layer_sizes": ()},
        "balanced": {"class_weight": "balanced"},
        "no dropout": {"dropout": 0.0, "label_smoothing": 0.0},
    }.items():
        yield f"TabularClassifier {name}", lambda o=options: learned(TabularClassifier(**few | o), frame, labels)
    yield "TabularRegressor weighted", lambda: learned(TabularRegressor(**few), frame, values, WEIGHTS)
    yield (
        "TabularRegressor groups",
        lambda: learned(TabularRegressor(**few), frame, values, groups=np.arange(150) // 10),
    )
    yield (
        "TabularClassifier eval_set",
        lambda: learned(TabularClassifier(**few), frame, labels, validation_data=(frame, labels[::-1])),
    )


def main():
    hashes = []
    for name, fit in itertools.chain(of_networks(), of_the_drop_in(), of_tables()):
        hashes.append(digest(fit()))
        print(f"{hashes[-1]}  {name}")
    print(f"{digest([np.frombuffer(''.join(hashes).encode(), np.uint8)])}  all {len(hashes)}")


if __name__ == "__main__":
    main()
