"""`python -m fastbp` runs the command `fastbp`."""

from fastbp.command.app import main

if __name__ == "__main__":
    main()
