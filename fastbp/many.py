"""`train_many`: many networks over one table, on all cores. `runs` trains them. This file must not compute anything."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import HeldOut, MaybeArray
from fastbp.halving import Halving
from fastbp.losses import Loss, LossName
from fastbp.network import Network
from fastbp.optimizers import SGD, Optimizer
from fastbp.results import History, Progress
from fastbp.runs.checkpoint import Checkpoint
from fastbp.runs.chunks import are_chunks
from fastbp.runs.fit_settings import FitSettings, checked_settings
from fastbp.runs.many_progress import shown
from fastbp.runs.member import Member
from fastbp.runs.shared_table import SharedTable, row_numbers
from fastbp.runs.side_by_side import Answers, train_members
from fastbp.runs.threads import available

_SETTINGS = (*FitSettings._fields, "sample_weight", "validation_data", "callback")


def train_many(
    networks: Sequence[Network],
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    settings: Sequence[Mapping[str, Any]] | None = None,
    rows: Sequence[npt.ArrayLike | None] | None = None,
    validation_rows: Sequence[npt.ArrayLike | None] | None = None,
    halving: Halving | None = None,
    loss: LossName | Loss | None = None,
    optimizer: Optimizer = SGD(learning_rate=0.01),  # noqa: B008 (frozen)
    batch_size: int = 32,
    epochs: int = 10,
    shuffle: bool = True,
    drop_last: bool = False,
    seed: int | None = None,
    sample_weight: MaybeArray = None,
    validation_data: HeldOut | None = None,
    callback: Callable[[Progress], object] | None = None,
    n_threads: int | None = None,
    dropout: float = 0.0,
    l2_penalty: float = 0.0,
    patience: int | None = None,
    restore_best: bool = True,
    verbose: bool | None = None,
) -> list[History]:
    """Train many networks over one table at the same time: a grid of settings, an ensemble, folds or seeds.

    Each network ends with the same bits as if `Network.fit` trained it alone with the same settings and rows, for any
    number of threads. The table is checked and converted once. Without a callback, no Python code runs between the
    epochs of a network: compiled code computes the loss of held-out rows, counts the patience and keeps the best
    parameters. Ctrl-C ends all networks within about a tenth of a second.

    Parameters
    ----------
    networks : sequence of Network
        They may differ in hidden layers, activations, dtypes and earlier training. Each is trained in place.
    X : array-like of shape (n, D_0)
        Rows of the table.
    y : array-like of shape (n, D_{K+1})
        Targets, as in `Network.loss`.
    settings : sequence of mappings, optional
        One per network, such as ``[{"epochs": 20}, {"optimizer": Adam(1e-3), "dropout": 0.2}]``. A network's own
        settings replace the common keywords: loss, optimizer, batch_size, epochs, shuffle, drop_last, seed, dropout,
        l2_penalty, patience, restore_best, sample_weight, validation_data and callback.
    rows : sequence of array-like or None, optional
        For each network, the numbers of the rows to train on, from 0 to n − 1, or n truth values. Numbers may repeat,
        as in a bootstrap sample. None means all rows except `validation_rows`. The part of the table is copied while
        the network is trained.
    validation_rows : sequence of array-like or None, optional
        For each network, the rows of the table whose loss is computed after each epoch, in place of
        `validation_data`. They keep their `sample_weight`.
    halving : Halving, optional
        Ends the networks with the largest losses of held-out rows early. Default: no network ends for others.
    loss, optimizer, batch_size, epochs, shuffle, drop_last, seed, validation_data
        As in `Network.fit`, for every network.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows of the table. Default: 1 for each row.
    callback : callable, optional
        Called as `callback(progress)` with a `fastbp.Progress` after each epoch of each network, in the thread that
        called `train_many`, one call at a time. `progress.network` is the number of the network, and `progress.model`
        the network. If the callback returns True, the training of this network ends.
    n_threads : int, optional
        Number of networks that are trained at the same time, each by one thread. Default: the number of available
        cores, as in `Network.fit`.
    dropout, l2_penalty, patience, restore_best
        As in `Network.fit`, for every network.
    verbose : bool, optional
        Whether the progress is shown, as in `Network.fit`.

    Returns
    -------
    list of History
        One per network. `ended_by` tells why the training of a network ended. The seconds of an epoch contain the
        computation of the held-out loss, unless there is a callback.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid. The message names the network, such as ``settings[3]``. No network is changed.
    DivergenceError
        If a loss or a parameter of every network is not finite. If only some networks diverge, a RuntimeWarning names
        them, their histories are `ended_by` "divergence", and they keep what they keep after `Network.fit`.
    RuntimeError
        If another fit of one of the networks is running. No network is changed.

    References
    ----------
    Successive halving: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> networks = [fastbp.Network([4, width, 1], seed=0) for width in (8, 16, 32)]
    >>> histories = fastbp.train_many(networks, X[:150], X[:150, 0], validation_data=(X[150:], X[150:, 0]), epochs=5)
    >>> [len(history.validation_loss) for history in histories]
    [5, 5, 5]
    """
    given: dict[str, Any] = {
        "loss": loss,
        "optimizer": optimizer,
        "batch_size": batch_size,
        "epochs": epochs,
        "shuffle": shuffle,
        "drop_last": drop_last,
        "seed": seed,
        "dropout": dropout,
        "l2_penalty": l2_penalty,
        "patience": patience,
        "restore_best": restore_best,
        "sample_weight": sample_weight,
        "validation_data": validation_data,
        "callback": callback,
    }
    networks = _checked_networks(networks)
    if are_chunks(X):
        raise TypeError("train_many takes one table: X must be an array-like, not the chunks that Network.fit takes")
    n_threads = checks.thread_count(n_threads)
    verbose = None if verbose is None else checks.flag("verbose", verbose)
    if halving is not None:
        checks.instance("halving", halving, (Halving,))
    _checked(given, networks[0])
    answers = Answers()
    own = _own_settings(settings, len(networks))
    both = _one_each("rows", rows, len(networks)), _one_each("validation_rows", validation_rows, len(networks))
    numbers = list(zip(*both, strict=True))
    is_divided = any(each is not None for pair in numbers for each in pair)
    tables = _Tables(SharedTable(X, y, is_copied=is_divided))
    members = []
    are_alike = len({(network.layer_sizes[0], network.layer_sizes[-1]) for network in networks}) == 1
    for k, network in enumerate(networks):
        with _named(f"settings[{k}]" if own[k] else "" if are_alike else f"networks[{k}]"):
            members.append(_member(k, network, {**given, **own[k]}, tables, numbers[k], answers))
    if halving is not None:
        _check_comparable(members)
    with ExitStack() as stack:
        for network in networks:
            stack.enter_context(network._only_fit)
        with shown(members, verbose):
            train_members(members, n_threads or available(), halving, answers)
    _tell_of_divergence(members)
    return [member.history for member in members]


# --- checks -------------------------------------------------------------------------------------------------


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Return a context whose errors begin with the name of a network or of its settings, if it is not empty."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not name:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def _checked_networks(networks: Any) -> list[Network]:
    """Return the networks as a list; raise unless there are some, each of them once."""
    if isinstance(networks, Network) or not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a list of Network, got {checks.shown(networks)}")
    found = list(networks)
    if not found:
        raise ValueError("networks holds no network")
    places: dict[int, int] = {}
    for k, network in enumerate(found):
        checks.instance(f"networks[{k}]", network, (Network,))
        first = places.setdefault(id(network), k)
        if first != k:
            raise ValueError(f"networks[{k}] is networks[{first}]: pass a copy.deepcopy of the network")
    return found


def _one_each(name: str, values: Any, n: int) -> list[Any]:
    """Return a value for each network: None, or one of `values`; raise unless there are as many as networks."""
    if values is None:
        return [None] * n
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        raise TypeError(f"{name} must be a list with an entry for each network, got {checks.shown(values)}")
    if len(values) != n:
        raise ValueError(f"{name} must have an entry for each of the {n} networks, got {len(values)}")
    return list(values)


def _own_settings(settings: Any, n: int) -> list[Mapping[str, Any]]:
    """Return each network's own settings; raise unless they are mappings with names of settings."""
    found = [{} if own is None else own for own in _one_each("settings", settings, n)]
    for k, own in enumerate(found):
        if not isinstance(own, Mapping):
            raise TypeError(f"settings[{k}] must be a mapping such as a dict, got {checks.shown(own)}")
        if unknown := [name for name in own if name not in _SETTINGS]:
            known = ", ".join(_SETTINGS)
            raise ValueError(f"settings[{k}] has no setting {checks.shown(unknown[0])}; the settings are {known}")
    return found


def _checked(given: Mapping[str, Any], network: Network) -> FitSettings:
    """Return the checked settings of a network, or raise."""
    checks.function("callback", given["callback"])
    of_fit = {name: given[name] for name in FitSettings._fields}
    return checked_settings(network.trained_loss, network.dtype, **of_fit)


def _check_comparable(members: Sequence[Member]) -> None:
    """Raise unless the losses of the networks' held-out rows can be compared."""
    for k, member in enumerate(members):
        if not member.has_held_out:
            raise ValueError(
                f"halving compares losses of held-out rows, but networks[{k}] has none: pass validation_data"
            )
        if member.settings.loss != members[0].settings.loss:
            both = f"{members[0].settings.loss} of networks[0] and {member.settings.loss} of networks[{k}]"
            raise ValueError(f"halving cannot compare different losses: {both}")


# --- networks -----------------------------------------------------------------------------------------------


class _Tables:
    """The table of all networks, and tables of held-out rows, each of them once."""

    def __init__(self, table: SharedTable) -> None:
        self.table = table
        self._held_out: dict[int, tuple[Any, SharedTable, Any]] = {}

    def held_out(self, validation_data: Any) -> tuple[SharedTable, Any]:
        """Return the table of `validation_data`, and its weights."""
        if id(validation_data) not in self._held_out:
            X, y, weights = checks.rows_with_targets("validation_data", validation_data)
            # The object is kept, so that no other one gets its id.
            self._held_out[id(validation_data)] = validation_data, SharedTable(X, y, "validation "), weights
        return self._held_out[id(validation_data)][1:]


def _member(
    k: int, network: Network, given: Mapping[str, Any], tables: _Tables, numbers: tuple[Any, Any], answers: Answers
) -> Member:
    """Return the training of a network, with all its arguments checked."""
    settings, callback = _checked(given, network), given["callback"]
    shape = network.layer_sizes, settings.loss, network.dtype
    n = tables.table.rows(*shape).rows
    rows, validation_rows = (
        None if value is None else row_numbers(name, value, n)
        for name, value in zip((f"rows[{k}]", f"validation_rows[{k}]"), numbers, strict=True)
    )
    if rows is None and validation_rows is not None:
        rows = np.setdiff1d(np.arange(n), validation_rows)
        if rows.size == 0:
            raise ValueError(f"validation_rows[{k}] leaves no rows to train on")
    if validation_rows is not None and given["validation_data"] is not None:
        raise ValueError("validation_rows and validation_data are two ways to hold rows out; pass one of them")
    taken = tables.table.part(*shape, rows, given["sample_weight"])
    held_out = None
    if validation_rows is not None:
        held_out = tables.table.part(*shape, validation_rows, given["sample_weight"])
    elif given["validation_data"] is not None:
        held_out_table, weights = tables.held_out(given["validation_data"])
        held_out = held_out_table.part(*shape, None, weights)

    def keep(checkpoint: Checkpoint) -> None:
        network._checkpoint = checkpoint

    def ask(progress: Progress) -> object:
        return answers.ask(partial(callback, progress._replace(network=k, model=network)))

    n_rows = n if rows is None else rows.size
    return Member(settings, network._checkpoint, taken, n_rows, held_out, ask if callback is not None else None, keep)


def _tell_of_divergence(members: Sequence[Member]) -> None:
    """Warn of the networks that diverged; raise the first error if all did."""
    errors = {k: member.error for k, member in enumerate(members) if member.error is not None}
    if len(errors) == len(members):
        raise next(iter(errors.values()))
    if errors:
        k, error = next(iter(errors.items()))
        which = f"networks {', '.join(map(str, errors))}" if len(errors) > 1 else f"network {k}"
        warnings.warn(f"{which} diverged; network {k}: {error}", RuntimeWarning, stacklevel=3)
