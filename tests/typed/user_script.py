"""A user's script, which test_types.py checks with mypy and pyright and then runs statement by statement.

Each line that ends in a comment such as `error: no y` holds one mistake. Both checkers must report this line, and the
line must raise an exception. Every other line must pass and run.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import fastbp
from fastbp import SGD, Adam, Network, losses, schedules, tabular
from fastbp.activations import ActivationName
from fastbp.losses import LossName
from fastbp.sklearn import MLPClassifier, MLPRegressor
from fastbp.tabular import Progress, TabularClassifier, TabularRegressor

random = np.random.default_rng(0)
X = random.standard_normal((40, 3))
y = X[:, 0] - X[:, 1]
classes = (y > 0).astype(np.int64)
weight = np.ones(len(X))
frame = {"size": [1.5, None, 2.5, 3.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
labels = ["small", "large", "large", "small"] * 10


def stop(progress: Progress) -> bool:
    return progress.epoch > 1


def without_arguments() -> bool:
    return True


def of_two_arguments(progress: Progress, epoch: int) -> bool:
    return progress.epoch > epoch


def accuracy(model: MLPClassifier, rows: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float:
    return float(np.mean(model.predict(rows) == targets))


def lowest_loss(name: LossName, activation: ActivationName) -> float:
    return min(Network([3, 4, 1], activation=activation).fit(X, abs(y), name, epochs=2).loss)


# --- networks -----------------------------------------------------------------------------------------------

net = Network([3, 4, 1], dtype="float64", seed=0, activation="tanh")
Network((3, 1), np.float32)
Network(np.array([3, 1]), np.dtype("float64"))
Network([3, 1], net.dtype, activation=net.activation)
assert_type(net.fit(X, y, epochs=2), fastbp.History)
assert_type(net.predict(X), npt.NDArray[np.floating[Any]])
assert_type(net.loss(X, y, "absolute_error"), float)
assert_type(net.fit(X, y).loss, list[float])
assert_type(net.fit(iter([(X, y)]), epochs=1), fastbp.History)
assert_type(net.fit(lambda: [(X, y)], loss="huber", callback=stop), fastbp.History)
assert_type(net.predict(lambda: [X]), npt.NDArray[np.floating[Any]])
net.fit(X, y, "huber", Adam(), epochs=1, sample_weight=weight, validation_data=(X, y, weight), callback=stop)
net.fit(X.tolist(), y.tolist(), losses.quantile(0.9), SGD(0.1, momentum=0.9), validation_data=[X, y], callback=print)
assert_type(net.gradients(X, y, loss=losses.squared_error), fastbp.Gradients)
assert_type(net.forward(X).output, npt.NDArray[np.floating[Any]])
assert_type(lowest_loss("poisson", "logistic"), float)

fastbp.Netwrok([3, 1])  # error: no such name
Network("3, 1")  # error: text for sizes
Network([3, 1.5])  # error: a half of a unit
Network([3, 1], dtype="float16")  # error: no such dtype
Network([3, 1], dtype=np.int64)  # error: no dtype of parameters
Network([3, 1], activation="rleu")  # error: no such activation
lowest_loss("poison", "tanh")  # error: no such loss
lowest_loss("poisson", "tan")  # error: no such activation
net.fit(X)  # error: no y
net.fit(lambda: [(X, y)], y)  # error: chunks hold y
net.fit(X, y, "squared_eror")  # error: no such loss
net.fit(X, y, loss=losses.huber)  # error: a function that makes a loss
net.fit(X, y, optimizer="adam")  # error: the name of an optimizer
net.fit(X, y, optimizer=Adam)  # error: the class of an optimizer
net.fit(X, y, batchsize=8)  # error: no such argument
net.fit(X, y, callback=of_two_arguments)  # error: a callback takes one argument
net.fit(X, y, callback=without_arguments)  # error: a callback takes one argument
net.fit(X, y, callback=lambda progress: progress.epochs > 3)  # error: no such attribute of the progress
net.fit(X, y, validation_data=X)  # error: rows without targets
net.fit(X, y, validation_data=(X,))  # error: rows without targets
net.loss(X, y, "log_loss")  # error: no such loss
print(net.predict(X).probabilities)  # error: no such attribute of an array
print(net.fit(X, y).losses)  # error: no such attribute of the history
net.forwards(X)  # error: no such method

# --- losses, optimizers, schedules --------------------------------------------------------------------------

assert_type(losses.huber(2.0), losses.Loss)
assert_type(losses.custom(lambda f, y: (f - y, 1.0)), losses.Loss)
SGD(learning_rate=schedules.Cosine(0.1), momentum=0.9, nesterov=True)
Adam(schedules.WarmUp(schedules.Step(0.1, every=10), steps=5), weight_decay=1e-4)
SGD(lambda step: 0.1 / (step + 1))
fastbp.RMSprop(alpha=0.9, max_gradient_norm=1.0)
fastbp.Adagrad(0.1, 1e-4, initial_accumulator_value=0.1, decay_biases=False)
assert_type(fastbp.Lion(1e-4), fastbp.Lion)
SGD(schedules.WarmUp(0.1, 5))
net.fit(X, y, "huber", SGD(lambda step: np.float64(0.1) / (step + 1)), epochs=1)

losses.huber("2")  # error: text for a number
losses.hubber(2.0)  # error: no such loss
SGD()  # error: no learning rate
SGD("0.1")  # error: text for a number
SGD(schedules.Cosine)  # error: the class of a schedule
SGD(0.1, momentun=0.9)  # error: no such argument
Adam(betas=(0.9, 0.999))  # error: no such argument
Adam().learning_rate = 0.1  # error: optimizers are frozen
fastbp.AdamW().max_gradient_norm = 1.0  # error: optimizers are frozen
fastbp.Lion(epsilon=1e-8)  # error: no such argument
SGD(0.1, max_gradient_norm="1")  # error: text for a number
schedules.Cosine()  # error: no initial rate
schedules.Step(0.1, every="epoch")  # error: text for a number
schedules.WarmUp(0.1)  # error: no number of steps
schedules.Exponential(0.1)  # error: no such schedule

# --- scikit-learn's estimators ------------------------------------------------------------------------------

assert_type(MLPClassifier(tol=1e9, n_iter_no_change=1).fit(X, classes), MLPClassifier)
assert_type(MLPRegressor(solver="lbfgs", tol=1e9).fit(X, y), MLPRegressor)
assert_type(MLPClassifier(solver="lbfgs", tol=1e9).fit(X, classes).predict_proba(X), npt.NDArray[Any])
assert_type(MLPClassifier().partial_fit(X, classes, classes=[0, 1]), MLPClassifier)
assert_type(MLPRegressor().partial_fit(X, y).predict(X), npt.NDArray[Any])


class Stacked(MLPClassifier):
    """A user's own class."""


assert_type(Stacked().partial_fit(X, classes, weight, [0, 1]), Stacked)
MLPClassifier((8, 8), "logistic", solver="sgd", learning_rate="adaptive", batch_size=16, random_state=0, callback=stop)
MLPClassifier(8, class_weight={0: 1, 1: 2}, random_state=np.random.RandomState(0), n_iter_no_change=np.inf)
MLPClassifier([8], class_weight="balanced", scoring="roc_auc", batch_size="auto", verbose=1)
MLPClassifier(np.array([8]), scoring=accuracy, random_state=np.int64(3))
MLPRegressor("huber", delta=2.0, early_stopping=True, tol=1e9).fit(X, y, weight, validation_data=(X, y))

MLPClassifier().fit(X)  # error: no y
MLPClassifier().partial_fit(X)  # error: no y
MLPClassifier(solver="adams").fit(X, classes)  # error: no such solver
MLPClassifier(activation="rleu").fit(X, classes)  # error: no such activation
MLPClassifier(learning_rate="cosine").fit(X, classes)  # error: no such schedule
MLPClassifier(learning_rate=0.01).fit(X, classes)  # error: a rate for the name of a schedule
MLPClassifier(hidden_layer_sizes="100").fit(X, classes)  # error: text for sizes
MLPClassifier(hidden_layer_sizes=(8.5,)).fit(X, classes)  # error: a half of a unit
MLPClassifier(batch_size="all").fit(X, classes)  # error: no such batch size
MLPClassifier(class_weight="balance").fit(X, classes)  # error: no such weights
MLPClassifier(random_state="seed").fit(X, classes)  # error: text for a seed
MLPClassifier(loss="log_loss").fit(X, classes)  # error: a classifier takes no loss
MLPClassifier(callback=of_two_arguments).fit(X, classes)  # error: a callback takes one argument
MLPClassifier((8,), "relu", "adam")  # error: arguments after the second go by name
MLPClassifier().fit(X, classes, validation_data=X)  # error: rows without targets
MLPClassifier().fit(X, classes, validation=(X, classes))  # error: no such argument
MLPRegressor(loss="squared_eror").fit(X, y)  # error: no such loss
MLPRegressor(loss="cross_entropy").fit(X, y)  # error: the loss of a classifier
MLPRegressor(loss=losses.custom).fit(X, y)  # error: a function that makes losses
MLPRegressor().partial_fit(X, y, classes=[0, 1])  # error: a regressor has no classes

# --- estimators of raw tables -------------------------------------------------------------------------------

small = TabularClassifier(n_estimators=1, epochs=1, metric="auc", callback=stop, class_weight="balanced")
assert_type(small.fit(frame, labels), TabularClassifier)
assert_type(fastbp.tabular.TabularClassifier(), TabularClassifier)
assert_type(small.fit(X, classes, weight, groups=labels).predict_proba(X), npt.NDArray[Any])
numbers = TabularRegressor(n_estimators=1, epochs=1, hidden_layer_sizes=[8, 8], metric="quantile", quantile=0.9)
assert_type(numbers.fit(X, y, validation_data=(X, y)), TabularRegressor)
assert_type(numbers.predict_interval(X, coverage=0.5), npt.NDArray[Any])

small.fit(frame)  # error: no y
small.fit(frame, None)  # error: no y
small.fit(frame, labels, validation_data=frame)  # error: rows without targets
small.fit(frame, labels, validation=(frame, labels))  # error: no such argument
TabularClassifier(256)  # error: all arguments go by name
TabularClassifier(metric="rmse").fit(frame, labels)  # error: the metric of a regressor
TabularClassifier(metric="log-loss").fit(frame, labels)  # error: no such metric
TabularClassifier(hidden_layer_sizes=8).fit(frame, labels)  # error: one number for sizes
TabularClassifier(hidden_layer_sizes="8").fit(frame, labels)  # error: text for sizes
TabularClassifier(callback=without_arguments).fit(frame, labels)  # error: a callback takes one argument
TabularClassifier(class_weight="balance").fit(frame, labels)  # error: no such weights
TabularClassifier(random_state="seed").fit(frame, labels)  # error: text for a seed
TabularClassifier(n_estimator=2)  # error: no such argument
TabularRegressor(metric="rsme").fit(X, y)  # error: no such metric
TabularRegressor(metric="accuracy").fit(X, y)  # error: the metric of a classifier
TabularRegressor(label_smoothing=0.1)  # error: a regressor has no labels
tabular.TabularClasifier()  # error: no such name
