"""What an operator can rely on, measured against a real server: `python -m tests.trust` or `make test-trust`."""

from __future__ import annotations

import argparse
from typing import Final

import structlog

from tests.trust.bad_media import bad_media
from tests.trust.chaos import chaos
from tests.trust.scarcity import few, idle, overload, trickle
from tests.trust.soak import soak

ALL: Final = ("trickle", "idle", "few", "overload", "bad_media", "chaos", "soak")


def main() -> None:
    """The figures asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("only", nargs="*", help=", ".join(ALL))
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    figures = {
        "trickle": lambda: trickle(75.0),
        "idle": idle,
        "few": few,
        "overload": lambda: [overload(times, 30.0) for times in (1.5, 2.0)],
        "bad_media": bad_media,
        "chaos": chaos,
        "soak": lambda: soak(options.minutes),
    }
    for name in options.only or ALL:
        figures[name]()


if __name__ == "__main__":
    main()
