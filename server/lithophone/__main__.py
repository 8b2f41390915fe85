"""`python -m lithophone`: the `lithophone` command."""

import sys

try:
    from lithophone.cli import main

    code = main()
except KeyboardInterrupt:  # in the middle of an import
    code = 130
sys.exit(code)
