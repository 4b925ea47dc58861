"""What training on a table takes where nothing is asked for.

It must not import anything: `fastbp --help` shows these numbers and is to be quick.
"""

HIDDEN = (64, 64)
BATCH_SIZE = 32
LEARNING_RATE = 0.003

STEPS = 3000
FEWEST_EPOCHS = 10
MOST_EPOCHS = 100


def default_epochs(n_rows: int, batch_size: int) -> int:
    """Return as many epochs as make about `STEPS` steps: many over a small table, few over a large one."""
    steps_per_epoch = -(-n_rows // batch_size)
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(STEPS / steps_per_epoch)))


def default_weight_decay(n_rows: int) -> float:
    """Return Adam's decoupled decay: worth so many rows of evidence for small weights, whatever the table's length."""
    return min(2.0, 1000 / n_rows)
