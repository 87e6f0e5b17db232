"""The command line: ``python -m anatcl <stage> <step> --flags``.

Parsers are built without importing a stage's code, so that ``--help`` answers at once; a step imports what it needs
when it runs.
"""

import sys

from anatcl.mixed import replaced, why_mixed

if replaced():
    sys.exit(why_mixed())

from anatcl.cli.main import main

__all__ = ["main"]
