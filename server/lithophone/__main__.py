"""`python -m lithophone`, and the console script: the `lithophone` command."""

import signal
import sys

from lithophone.interrupts import ended_by_interrupts


def run() -> int:
    """Run the command that was typed; returns its exit code. Ctrl-C in the middle of the imports ends it without a word."""
    with ended_by_interrupts():
        from lithophone.cli import main  # noqa: PLC0415 - half a second in which somebody may change their mind
    try:
        return main()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(run())
