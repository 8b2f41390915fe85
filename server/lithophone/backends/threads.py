"""How many of torch's threads compute together.

Every thread that computes has a team of its own. The model's has all cores; teams beside it, on the same cores, would take
turns with it in waiting for each other: voice activity of a short clip takes ten times the processor time with two threads on
two busy cores.
"""

from __future__ import annotations

import threading

import torch


def let_newcomers_compute_alone() -> None:
    """One thread for whoever computes first from now on, in this process; those that did before keep what they have.

    A thread takes over the last number that was set by anyone when it first asks for it.
    """
    newcomer = threading.Thread(target=torch.set_num_threads, args=(1,))
    newcomer.start()
    newcomer.join()
