"""The progress of a training run in words: epochs, rows, losses, and the seconds that are left."""

import time
from contextlib import AbstractContextManager, nullcontext

from fastbp.results import History
from fastbp.runs.display import Display, Line, TimeLeft, outlet_for
from fastbp.runs.run import Run


def shown(run: Run, epochs: int, history: History, verbose: bool | None) -> AbstractContextManager[object]:
    """Return a context in which the progress of a run is shown, if `outlet_for(verbose)` is somewhere.

    Parameters
    ----------
    run : Run
    epochs : int
        Number of epochs that the run is to make.
    history : History
        The history of the run, which has one more entry after each epoch.
    verbose : bool or None
        As for `outlet_for`. With None, a run that ends before the first line is not shown.
    """
    outlet = outlet_for(verbose)
    if outlet is None:
        return nullcontext()
    started, time_left = time.perf_counter(), TimeLeft()

    def look(is_over: bool) -> Line:
        seen, total = run.rows_seen, run.rows_in_all(epochs)
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
            return Line(f"{text}  {time.perf_counter() - started:,.1f} s", 1.0)
        return Line(text + time_left.in_words(seen, total), seen / total if total else None)

    return Display(look, outlet, is_brief_shown=verbose is True)
