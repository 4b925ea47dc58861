"""How training is timed: whole epochs, warm, for about as long as asked. This file must not know who trains."""

import time


def seconds_of(train, epochs):
    start = time.perf_counter()
    train(epochs)
    return time.perf_counter() - start


def warm_up(train, seconds):
    """Let everything be compiled; return the number of epochs, at least one, that last about `seconds`."""
    train(1)
    epochs, took = 1, seconds_of(train, 1)
    while took < seconds / 2:  # a call has costs of its own, so one epoch would promise too few
        epochs = max(epochs + 1, min(8 * epochs, round(epochs * seconds / took)))
        took = seconds_of(train, epochs)
    return epochs
