"""The progress of a training run in words: epochs, rows, losses, and the seconds that are left."""

import time
from collections.abc import Callable

from fastbp.results import History
from fastbp.runs.display import Line
from fastbp.runs.run import Run


def progress_of(run: Run, epochs: int, history: History) -> Callable[[bool], Line]:
    """Return the function that describes how far a run is, for a `Display`.

    Parameters
    ----------
    run : Run
    epochs : int
        Number of epochs that the run is to make.
    history : History
        The history of the run, which has one more entry after each epoch.
    """
    started = time.perf_counter()
    first: list[tuple[float, int]] = []  # when the first rows had been seen, and their number

    def look(is_over: bool) -> Line:
        seen, total, now = run.rows_seen, run.rows_in_all(epochs), time.perf_counter()
        done = len(history.loss)
        if seen == 0:
            return Line("preparing the code", 0.0)
        text = f"epoch {done if is_over else min(done + 1, epochs)}/{epochs}  {seen:,}"
        text += f" of {total:,} rows" if total else " rows"
        if history.loss:
            text += f"  training loss {history.loss[-1]:.4f}"
        if history.validation_loss:
            text += f"  validation loss {history.validation_loss[-1]:.4f}"
        if is_over:
            return Line(f"{text}  {now - started:,.1f} s", 1.0)
        if not first:
            first.append((now, seen))
        elif total and seen > first[0][1]:
            left = (now - first[0][0]) / (seen - first[0][1]) * (total - seen)
            text += f"  at most {left:,.0f} s left"  # a run may end early, and no later
        return Line(text, seen / total if total else None)

    return look
