"""All compiled mathematics: how matrices lie in memory, the equations, one step, and a whole run as one call.

May import `machine`, and at the top of fastbp `losses`, `activations` and `optimizers`. It must not know networks,
estimators, files, time or the terminal. Inside, imports run in this order: layout, packing; dense, narrow, activations,
dropout, losses, steps, input_factors, rows, shuffling; custom_losses, custom_activations; propagation, run_state; step;
entries, frozen; epochs.
"""
