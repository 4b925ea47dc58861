"""The progress of a training on a table in words: networks, epoch, rows, losses, and the seconds that are left.

It knows reports about networks. It must not know where the words are shown, or how a network is trained.
"""

from __future__ import annotations

from fastbp.losses import Loss
from fastbp.results import Progress
from fastbp.runs.display import Line, TimeLeft
from fastbp.tabular.metrics import validation_words
from fastbp.tabular.own_loss import Metric
from fastbp.tabular.settings import Settings


class TrainingProgress:
    """What a training has done so far. It is told by all threads of the training.

    Parameters
    ----------
    settings : Settings
    n_rows : int
        Number of rows of the table.
    metric : str or Loss
        The metric that is optimised, such as "log_loss".
    """

    def __init__(self, settings: Settings, n_rows: int, metric: Metric) -> None:
        self._n_networks, self._max_epochs = settings.most_estimators, settings.most_epochs(n_rows)
        self._error = validation_words(metric.describe() if isinstance(metric, Loss) else metric)
        self._doing = f"encoding {n_rows:,} rows"
        self._rows: dict[int, tuple[int, int]] = {}  # of each network that has begun: rows that it has seen, and in all
        self._over: set[int] = set()  # networks whose training has ended
        self._latest: Progress | None = None
        self._time_left = TimeLeft()

    def say(self, doing: str) -> None:
        """Tell what is done before the first step."""
        self._doing = doing

    def count_rows(self, network: int, seen: int, total: int) -> None:
        """Tell how many rows a network has seen, with repetitions, and how many it will see at most."""
        self._rows[network] = seen, total

    def __call__(self, report: Progress) -> None:
        """Tell the end of an epoch, or of the training of a network."""
        self._latest = report
        if report.is_over:
            seen, _ = self._rows.get(report.network, (0, 0))
            self._rows[report.network] = seen, seen
            self._over.add(report.network)
        # The ensemble trains one more network than was asked for, if one of the first two is dropped.
        self._n_networks = max(self._n_networks, report.network + 1)

    def line(self, is_over: bool) -> Line:
        """Return the present line; if the training is over, the last one."""
        rows, latest, n_over = self._rows.copy(), self._latest, len(self._over)
        if latest is None and not any(seen for seen, _ in rows.values()):
            return Line("" if is_over else self._doing, 0.0)
        n = n_over if is_over else self._n_networks  # a large table, or little time, may need fewer than was planned
        text = f"network {n_over}/{n}"
        seen, known = sum(seen for seen, _ in rows.values()), sum(total for _, total in rows.values())
        total = known if is_over else known * max(n, len(rows)) // len(rows)
        if latest is not None:
            text += f"  epoch {latest.epoch}"
        if seen:
            text += f"  {seen:,} rows" if is_over else f"  {seen:,} of {total:,} rows"
        if n_over < n:
            text += self._time_left.in_words(seen, total)
        if latest is not None:
            text += f"  training loss {latest.loss:.4f}  validation {self._error} {latest.validation_loss:.4f}"
        done = [seen / total if total else 1.0 for seen, total in rows.values()]
        return Line(text, min(1.0, max(sum(done), n_over) / max(n, 1)))
