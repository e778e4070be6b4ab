"""`python -m cellularity_core` is the `cellularity` command."""

import sys

from cellularity_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
