"""Files of rows, in and out: a file read as a table, the table made ready for training, predictions written.

May import `tabular`, for its columns and targets, and `files`. It must not know networks, the terminal or the report.
"""
