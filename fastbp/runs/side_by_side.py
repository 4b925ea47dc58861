"""Many networks that train at the same time, each in one thread at a time, and halvings between their epochs.

A halving waits for all networks, so which networks go on does not depend on the number of threads. This file must not
know how a network is trained.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from fastbp.halving import Halving
from fastbp.runs.member import Member
from fastbp.runs.threads import shared_work

_LOOK_SECONDS = 0.1  # a thread that waits for a callback looks so often whether the training has ended


class Answers:
    """Calls of users' functions by other threads, which the thread that began the training makes for them."""

    def __init__(self) -> None:
        self._is_ended = threading.Event()
        self._calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[Any]] | None] = SimpleQueue()

    def ask(self, function: Callable[[], object]) -> object:
        """Return the answer of a function that the first thread calls; True if the training ends before."""
        answer: SimpleQueue[Any] = SimpleQueue()
        self._calls.put((function, answer))
        while not self._is_ended.is_set():
            try:
                return answer.get(timeout=_LOOK_SECONDS)
            except Empty:
                pass
        return True

    def is_ended(self) -> bool:
        """Tell whether all networks have to end."""
        return self._is_ended.is_set()

    def end(self) -> None:
        """Let all networks end."""
        self._is_ended.set()

    def wake(self) -> None:
        """Let the first thread look whether all work is done."""
        self._calls.put(None)

    def serve(self) -> None:
        """Make the next call. Return without a call if the first thread is woken, or after a second."""
        with suppress(Empty):  # Ctrl-C can lose what has just been taken from a queue, so nobody waits for ever
            call = self._calls.get(timeout=1.0)
            if call is not None and not self.is_ended():
                function, answer = call
                answer.put(function())


def train_members(members: Sequence[Member], n_threads: int, halving: Halving | None, answers: Answers) -> None:
    """Train all networks, up to `n_threads` of them at the same time.

    Ctrl-C, or an error in a callback, ends all networks between two slices of their training. Each network then keeps
    what its last slice left, or the parameters of its best epoch.

    Parameters
    ----------
    members : sequence of Member
    n_threads : int
    halving : Halving or None
        Ends networks by the losses of their held-out rows.
    answers : Answers
        What the members' callbacks ask.
    """
    most = max(member.settings.epochs for member in members)
    remaining = list(members)
    try:
        for epochs, n_kept in halving.rungs(len(members), most) if halving is not None else ():
            _take_turns(remaining, epochs, n_threads, answers)
            remaining.sort(key=lambda member: member.held_out_error)  # of equals, the first one goes on
            for member in remaining[n_kept:]:
                if not member.is_over:
                    member.end("halving")
            remaining = remaining[:n_kept]
        _take_turns(remaining, most, n_threads, answers)
    finally:
        for member in members:
            member.restore_best()


def _take_turns(members: Sequence[Member], epochs: int, n_threads: int, answers: Answers) -> None:
    """Train all of these networks until so many epochs are made; raise the first error."""
    waiting = [member for member in members if not member.is_over and member.epochs < epochs]
    waiting.sort(key=lambda member: -member.work_until(epochs))  # the longest first, so that all threads end together
    errors: list[BaseException] = []
    done: list[Member] = []

    def take_turn(member: Member) -> None:
        try:
            if not answers.is_ended():
                member.train_until(epochs, answers.is_ended)
        except BaseException as error:
            errors.append(error)
            answers.end()
        done.append(member)
        answers.wake()

    _start(shared_work(take_turn, waiting), min(n_threads, len(waiting)))
    while len(done) < len(waiting):
        try:
            answers.serve()
        except BaseException as error:  # Ctrl-C, or an error in a callback
            if answers.is_ended():
                raise
            errors.append(error)
            answers.end()
    if errors:
        raise errors[0]


def _start(work: Callable[[], None], n_threads: int) -> None:
    """Start threads. If the system allows fewer, they are enough.

    Raises
    ------
    RuntimeError
        If the system allows no thread.
    """
    for k in range(n_threads):
        try:
            threading.Thread(target=work, name="fastbp", daemon=True).start()
        except RuntimeError:
            if k == 0:
                raise
            return
