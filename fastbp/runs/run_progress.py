"""The progress of a training run in words: epochs, rows, losses, and the seconds that are left."""

import time
from contextlib import AbstractContextManager

from fastbp.results import History
from fastbp.runs.display import Line, TimeLeft, showing
from fastbp.runs.run import Run


def shown(run: Run, epochs: int, history: History, verbose: bool | None) -> AbstractContextManager[object]:
    """Return a context in which the progress of a run is shown, as `display.showing` does.

    Parameters
    ----------
    run : Run
    epochs : int
        Number of epochs that the run is to make.
    history : History
        The history of the run, which has one more entry after each epoch.
    verbose : bool or None
    """
    started, time_left = time.perf_counter(), TimeLeft()

    def look(is_over: bool) -> Line:
        seen, total = run.rows_seen, run.rows_in_all(epochs)
        done = len(history.loss)
        if seen == 0:
            return Line("preparing the code", 0.0)
        text = f"epoch {done if is_over else min(done + 1, epochs)}/{epochs}  {seen:,}"
        text += f" of {total:,} rows" if total else " rows"
        if not is_over:
            text += time_left.in_words(seen, total)
        if history.loss:
            text += f"  training loss {history.loss[-1]:.4f}"
        if history.validation_loss:
            text += f"  validation loss {history.validation_loss[-1]:.4f}"
        if is_over:
            return Line(f"{text}  {time.perf_counter() - started:,.1f} s", 1.0)
        return Line(text, seen / total if total else None)

    return showing(look, verbose)
