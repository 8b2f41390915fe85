"""The command is run inside of the tests' process."""

from tests.cli.conftest import nothing_stays_behind

__all__ = ["nothing_stays_behind"]
