"""`python -m eelocal`."""

import sys

from eelocal.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
