"""Timing of whole epochs, after a warm-up. This file must not know which library trains."""

import time


def seconds_of(train, epochs):
    start = time.perf_counter()
    train(epochs)
    return time.perf_counter() - start


def warm_up(train, seconds):
    """Train until everything is compiled; return the number of epochs, at least 1, that take about `seconds`."""
    train(1)
    epochs, took = 1, seconds_of(train, 1)
    while took < seconds / 2:  # a call has a fixed time, so the time of one epoch alone would give too few epochs
        epochs = max(epochs + 1, min(8 * epochs, round(epochs * seconds / took)))
        took = seconds_of(train, epochs)
    return epochs
