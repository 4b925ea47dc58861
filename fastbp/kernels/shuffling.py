"""Random numbers and shuffling, by xoshiro256++ or by NumPy's Mersenne Twister.

The random state is an array of whole numbers, so that a run can be stopped, saved and resumed to the bit. This file
must not know what is shuffled.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Integers
from fastbp.machine.jit import inlined, njit
from fastbp.machine.piece import WHOLE, Piece, address_type, caller, tuple_type

RandomState = npt.NDArray[np.uint64]  # (4,) of xoshiro256++, or (625,) of the Mersenne Twister

MERSENNE_TWISTER = 624  # words of its state; one more number says how many of them are used up


class RowOrder(NamedTuple):
    """The order in which an epoch takes the rows, and what draws it. All arrays are addresses."""

    rows: Integers  # (n,)
    n: int
    random: RandomState


def random_state(seed: int | None) -> RandomState:
    """Return the state that a seed stands for. Without a seed, the operating system gives fresh entropy."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint64).astype(np.uint64, copy=False)


def mersenne_twister(random: np.random.RandomState) -> RandomState:
    """Return the state of NumPy's generator: `shuffle_like_numpy` then does what `random.shuffle` would do next.

    Raises
    ------
    TypeError
        If the generator is not a Mersenne Twister.
    """
    state: Any = random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise TypeError(f"kernels know NumPy's MT19937, and not {state['bit_generator']}")
    words = np.empty(MERSENNE_TWISTER + 1, np.uint64)
    words[:-1], words[-1] = state["state"]["key"], state["state"]["pos"]
    return words


@njit
def _rotate(bits: np.uint64, by: np.uint64) -> np.uint64:
    return (bits << by) | (bits >> (np.uint64(64) - by))


@njit
def random_bits(state: RandomState) -> np.uint64:
    """Return 64 random bits: xoshiro256++ (Blackman and Vigna 2021, ACM TOMS 47(4))."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    bits = _rotate(a + d, np.uint64(23)) + a
    state[0] = a ^ b ^ d
    state[1] = a ^ b ^ c
    state[2] = a ^ c ^ (b << np.uint64(17))
    state[3] = _rotate(b ^ d, np.uint64(45))
    return bits


@njit
def shuffle(order: Integers, n: int, state: RandomState) -> None:
    """Write a random permutation of 0, …, n − 1 to order[:n] (Fisher and Yates), for n below 2³²."""
    for i in range(n):
        # The product of 32 random bits and i + 1: its upper half is uniform over 0, …, i to within i / 2³².
        j = np.int64(((random_bits(state) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i] = order[j]
        order[j] = i


@njit
def _mersenne_bits(state: RandomState) -> np.uint64:
    """Return 32 random bits as NumPy's RandomState does: MT19937 (Matsumoto and Nishimura 1998, ACM TOMACS 8(1))."""
    words, one = MERSENNE_TWISTER, np.uint64(1)
    if state[words] >= words:
        for k in range(words):
            following, far = k + 1 if k < words - 1 else 0, k + 397 if k < words - 397 else k + 397 - words
            bits = (state[k] & np.uint64(0x80000000)) | (state[following] & np.uint64(0x7FFFFFFF))
            twisted = (bits >> one) ^ (np.uint64(0x9908B0DF) if bits & one else np.uint64(0))
            state[k] = state[far] ^ twisted
        state[words] = 0
    bits = state[np.int64(state[words])]
    state[words] += one
    bits ^= bits >> np.uint64(11)
    bits ^= (bits << np.uint64(7)) & np.uint64(0x9D2C5680)
    bits ^= (bits << np.uint64(15)) & np.uint64(0xEFC60000)
    return bits ^ (bits >> np.uint64(18))


@njit
def shuffle_like_numpy(order: Integers, n: int, state: RandomState) -> None:
    """Permute order[:n] as `RandomState.shuffle` does, for n below 2³².

    Each j ≤ i is drawn below the least power of 2 above i, again and again until j ≤ i.
    """
    mask = np.uint64(0)
    while np.int64(mask) < n - 1:
        mask = mask << np.uint64(1) | np.uint64(1)
    for i in range(n - 1, 0, -1):
        while i <= np.int64(mask >> np.uint64(1)):
            mask >>= np.uint64(1)
        j = np.int64(_mersenne_bits(state) & mask)
        while j > i:
            j = np.int64(_mersenne_bits(state) & mask)
        order[i], order[j] = order[j], order[i]


# --- pieces -------------------------------------------------------------------------------------------------


def _types(_dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a piece, which are the same for all dtypes of networks."""
    return (tuple_type(RowOrder, address_type(np.int64), WHOLE, address_type(np.uint64)),)


def _by_xoshiro(order: RowOrder) -> None:
    shuffle(order.rows, order.n, order.random)


def _by_mersenne_twister(order: RowOrder) -> None:
    shuffle_like_numpy(order.rows, order.n, order.random)


PIECES = (Piece(_by_xoshiro, _types, "xoshiro"), Piece(_by_mersenne_twister, _types, "mersenne_twister"))
_call_piece = caller(_types)


def shuffle_address(random: RandomState) -> int:
    """Return the address of the piece that shuffles rows by random numbers of this state."""
    return PIECES[random.size > MERSENNE_TWISTER].address(random.dtype)


@inlined
def shuffle_rows(shuffle: int, order: RowOrder) -> None:
    """Permute the rows anew. `shuffle` is the address of a piece."""
    _call_piece(shuffle, (order,))
