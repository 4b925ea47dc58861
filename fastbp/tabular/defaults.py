"""What training on a table takes where nothing is asked for.

It must not import anything: `fastbp --help` shows these numbers and is to be quick.
"""

HIDDEN = (64, 64)
BATCH_SIZE = 32
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.01

STEPS = 3000
FEWEST_EPOCHS = 10
MOST_EPOCHS = 200


def default_epochs(n_rows: int, batch_size: int) -> int:
    """Return as many epochs as make about `STEPS` steps: many over a small table, few over a large one."""
    steps_per_epoch = -(-n_rows // batch_size)
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(STEPS / steps_per_epoch)))
