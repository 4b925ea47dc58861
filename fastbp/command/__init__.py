"""The command `fastbp`: the only folder that knows the terminal.

May import everything else. It must not hold any rule about tables or networks.
"""
