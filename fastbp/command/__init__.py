"""The command `fastbp`. No other folder knows the terminal.

May import every other folder. It must not hold any rule about tables or networks.
"""
