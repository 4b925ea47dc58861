"""What larger machines would give: a simulation of an ensemble's training by the measured constants of `formulas`.

A fit is: the encoding in one process, the table to the workers, the first two networks, of which one encoding is
chosen, all further networks as workers become free, and the end in one process. This file must not measure anything.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.scale.formulas import BATCH_ROWS, HELD_OUT, OPTIMIZER_ARRAYS, TRAFFIC_ARRAYS, Constants
from benchmarks.scale.processes import digits, print_lines

# Measured once by `--only growth`, on an Intel Xeon with AVX-512 and two cores.
MEASURED = Constants(
    read_csv=260,
    read_parquet=20.1,
    encode=153,
    step=33.6,
    gather=22.8,
    finish=266,
    forward=19.8,
    code=190,
    cell=26.1,
    stored=11.4,
    base=360,
    pair=1.0,
)
COLUMNS, OUTPUTS = 19, 2
WEIGHTS, SMALL_WEIGHTS = 337_000, 136_000  # of a network; the latter for up to 20,000 rows
N_NETWORKS = (10, 100, 1000)
ROUNDS = 20  # of random epochs and speeds
LEAST_EPOCHS = 25  # one more than the patience


@dataclass(frozen=True)
class Table:
    """A table: how many rows it has, and how long its networks train.

    Attributes
    ----------
    first, later : float
        Epochs of the first two networks, and mean epochs of the later ones.
    spread : float
        Standard deviation of the epochs of all networks.
    weights : int
        Number of weights of a network.
    """

    rows: int
    first: float
    later: float
    spread: float = 0.0
    weights: int = WEIGHTS


@dataclass(frozen=True)
class Machine:
    """Workers, each of one core.

    Attributes
    ----------
    per_host : int
        Workers that share a machine: its memory and its network card.
    network : float
        Bytes per second of a network card. Infinity: the workers share one table.
    bandwidth, cache : float
        Bytes per second of a machine's memory, and bytes of its last cache.
    speeds : float
        Standard deviation of the speed of workers, as a share.
    """

    name: str
    workers: int
    per_host: int
    network: float = math.inf
    bandwidth: float = 250e9
    cache: float = 256e6
    speeds: float = 0.0


TABLES = (Table(20_000, 33.5, 33.5, 2.7, SMALL_WEIGHTS), Table(100_000, 15, 3), Table(1_000_000, 6, 6))
MACHINES = (
    Machine("1 core", 1, 1),
    Machine("64 cores", 64, 64),
    Machine("100 workers", 100, 16, network=1.25e9, speeds=0.05),
)


@dataclass(frozen=True)
class Simulated:
    """Seconds of the phases of a fit, and of the work of all workers."""

    encoding: float
    sending: float
    first: float
    later: float
    end: float
    work: float

    @property
    def total(self) -> float:
        """Seconds of the whole fit."""
        return self.encoding + self.sending + self.first + self.later + self.end


def slowdown(machine: Machine, n_networks: int, seconds_of_step: float, n_weights: int) -> float:
    """Return how much longer a step takes if networks on one machine share its memory.

    The arrays of the optimizer move through the memory in each step, if those of all networks do not fit the cache.
    """
    at_once = min(machine.per_host, math.ceil(n_networks * machine.per_host / machine.workers))
    if 4 * OPTIMIZER_ARRAYS * n_weights * at_once <= machine.cache:
        return 1.0
    return max(1.0, at_once * 4 * TRAFFIC_ARRAYS * n_weights / machine.bandwidth / seconds_of_step)


def sending(machine: Machine, n_bytes: float) -> float:
    """Return the seconds in which each worker gets a copy: a tree of machines, and all copies through each card."""
    if math.isinf(machine.network):
        return 0.0
    hosts = math.ceil(machine.workers / machine.per_host)
    return (machine.per_host + math.log2(hosts)) * n_bytes / machine.network


def schedule(seconds: np.ndarray, speeds: np.ndarray) -> float:
    """Return when the last network ends, if each free worker takes the next one."""
    free = [(0.0, worker) for worker in range(len(speeds))]
    for each in seconds:
        begin, worker = heapq.heappop(free)
        heapq.heappush(free, (begin + each / speeds[worker], worker))
    return max(end for end, _ in free)


def simulated(
    table: Table,
    machine: Machine,
    n_networks: int,
    constants: Constants = MEASURED,
    n_columns: int = COLUMNS,
    n_weights: int | None = None,
    seed: int = 0,
) -> Simulated:
    """Return the mean seconds of a fit over some rounds of random epochs and speeds."""
    random, n_weights = np.random.default_rng(seed), n_weights or table.weights
    epoch = constants.epoch(table.rows, n_columns, n_weights)
    step = epoch * BATCH_ROWS / ((1 - HELD_OUT) * table.rows)
    n_trained = n_networks + (n_networks > 1)  # of the first two, one may be dropped
    waves = min(2, n_trained), n_trained - min(2, n_trained)
    phases = []
    for _ in range(ROUNDS):
        speeds = np.maximum(0.5, 1 + machine.speeds * random.standard_normal(machine.workers))
        found, work = [], 0.0
        for n, mean in zip(waves, (table.first, table.later), strict=True):
            epochs = np.full(n, float(mean))
            if table.spread:
                epochs = np.maximum(LEAST_EPOCHS, epochs + table.spread * random.standard_normal(n))
            seconds = epochs * epoch * (slowdown(machine, n, step, n_weights) if n else 1.0)
            found.append(schedule(seconds, speeds))
            work += float(epochs.sum()) * epoch
        phases.append((*found, work))
    first, later, work = np.mean(phases, axis=0)
    return Simulated(
        encoding=constants.encoding(table.rows, n_columns),
        sending=sending(machine, constants.stored * table.rows * n_columns),
        first=float(first),
        later=float(later),
        end=n_networks * constants.finishing(table.rows),
        work=float(work),
    )


def limit(table: Table, machine: Machine) -> float:
    """Return the seconds of a fit with more workers than networks: they do not fall with the number of workers."""
    without = simulated(replace(table, spread=0.0), Machine("", 4, 1), 3)
    copies = sending(machine, MEASURED.stored * table.rows * COLUMNS)
    return without.encoding + copies + without.first + without.later


def lines() -> list[list[str]]:
    """Return a line for each table, machine and number of networks."""
    found = []
    for table in TABLES:
        for n_networks in N_NETWORKS:
            alone = simulated(table, MACHINES[0], n_networks).total
            for machine in MACHINES:
                fit = simulated(table, machine, n_networks)
                parts = (fit.encoding, fit.sending, fit.first, fit.later, fit.end)
                found.append(
                    [
                        f"{table.rows:,}",
                        str(n_networks),
                        machine.name,
                        digits(fit.total),
                        f"{alone / fit.total:.1f}",
                        f"{alone / fit.total / machine.workers:.0%}",
                        *(digits(part, 2) for part in parts),
                    ]
                )
    return found


COSTS = ("encoding", "sending", "first two", "others", "end")  # seconds of the phases of a fit
HEADER = ("rows", "networks", "machine", "fit, s", "speed-up", "efficiency", *COSTS)


def print_tables() -> None:
    """Print the tables of the simulation."""
    print_lines(HEADER, lines())
    print()
    limits = [[f"{table.rows:,}", *(digits(limit(table, each)) for each in MACHINES[1:])] for table in TABLES]
    print_lines(("rows", *(f"least seconds, {each.name}" for each in MACHINES[1:])), limits)
    print()
    sizes = [
        [
            f"{rows:,}",
            digits(MEASURED.reading(rows, COLUMNS + 1)),
            digits(MEASURED.encoding(rows, COLUMNS)),
            digits(MEASURED.epoch(rows, COLUMNS, n_weights)),
            digits(MEASURED.predicting(rows, COLUMNS, n_weights, 4)),
            f"{MEASURED.peak(rows, COLUMNS) / 2**30:.2f}",
        ]
        for rows, n_weights in [(10_000, SMALL_WEIGHTS), *((10**power, WEIGHTS) for power in (5, 6, 7, 8))]
    ]
    header = "rows", "reading CSV, s", "encoding, s", "an epoch, s", "predicting by 4 networks, s", "peak, GiB"
    print_lines(header, sizes)
