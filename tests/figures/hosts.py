"""What a process of the model's own costs under load: `python -m tests.figures.hosts`.

The real server with the embedded model in a thread and in a process, in turns; clients send the example clips, one and many at
a time. Told is the audio heard a second in each turn, and the second host's share of the first's by pairs.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Final

from tests.conftest import start_server
from tests.figures.load import drive, example_uploads

HOSTS: Final = ("thread", "process")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    for clients in options.clients:
        shares: list[float] = []
        for _ in range(options.pairs):
            in_thread, in_process = (speed(host, clients, options.seconds) for host in HOSTS)
            shares.append(in_process / in_thread)
            print(
                f"{clients:3} clients: thread {in_thread:.1f}, process {in_process:.1f} audio seconds a second"
            )
        print(f"    process / thread: median {median(shares):.2f}, {min(shares):.2f} to {max(shares):.2f}")


def speed(host: str, clients: int, seconds: float) -> float:
    """Audio seconds answered a second, by a server of its own."""
    process, url = start_server("--hosts", host, "--log-level", "warning")
    try:
        exchanges, took = drive(url, example_uploads(as_wav=True), clients, seconds)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    return sum(exchange.audio_seconds for exchange in exchanges) / took


if __name__ == "__main__":
    main()
