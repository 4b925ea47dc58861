"""The progress of many networks that train side by side, in words: networks, epochs, and the seconds that are left."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from fastbp.runs.display import Line, TimeLeft, showing
from fastbp.runs.member import Member


def shown(members: Sequence[Member], verbose: bool | None) -> AbstractContextManager[object]:
    """Return a context in which the progress of networks is shown, as `display.showing` does."""
    started, time_left = time.perf_counter(), TimeLeft()
    work = sum(member.work_until(member.settings.epochs) for member in members)

    def look(is_over: bool) -> Line:
        n_over = sum(member.is_over for member in members)
        left = sum(member.work_until(member.settings.epochs) for member in members if not member.is_over)
        text = f"{n_over} of {len(members)} networks  {sum(member.epochs for member in members):,} epochs"
        losses = [member.history.validation_loss[-1] for member in members if member.history.validation_loss]
        if losses:
            text += f"  least validation loss {min(losses):.4f}"
        if is_over:
            return Line(f"{text}  {time.perf_counter() - started:,.1f} s", 1.0)
        return Line(text + time_left.in_words(work - left, work), 1 - left / work)

    return showing(look, verbose)
