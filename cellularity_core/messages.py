"""What a command says on standard error."""

import sys


def printable(text: str) -> str:
    """`text` without what a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def complain(message: str) -> None:
    """Say one line on standard error, in the program's name."""
    sys.stderr.write(f"cellularity: {printable(message)}\n")
