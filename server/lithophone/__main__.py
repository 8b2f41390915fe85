"""`python -m lithophone`: the `lithophone` command."""

import sys

from lithophone.cli import main

sys.exit(main())
