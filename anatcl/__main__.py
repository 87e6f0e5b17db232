"""``python -m anatcl <stage> <step>``: the command line of every stage."""

import sys

from anatcl.cli import main

if __name__ == "__main__":
    sys.exit(main())
