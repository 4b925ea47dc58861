"""Networks to compare: all that one is, as bits, and the making of small ones."""

import numpy as np

from fastbp import Network


def bits(net):
    """Return everything that the network is."""
    tensors, metadata = net.to_tensors()
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in tensors.items()}, metadata


def network(*sizes, dtype="float32"):
    """Return a network with biases, so that they count."""
    net = Network(sizes, dtype, seed=0)
    net.set_parameters(net.weights, [np.linspace(-1, 1, len(b)) for b in net.biases])
    return net


def fitted(*args, net=(3, 8, 2), **options):
    """Return what a network is after one fit."""
    made = Network(net, seed=0)
    made.fit(*args, **{"epochs": 3, "batch_size": 8, **options})
    return bits(made)
