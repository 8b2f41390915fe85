"""The weights a run ends with: an average of those at the ends of its last two stages.

Both ends lie on the rim of the same basin, and what lies between hears unknown voices better than either (stochastic weight
averaging, Izmailov et al. 2018). Owns the file that keeps the earlier weights beside the state.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

POLISHED_SHARE = 2 / 3

Weights = dict[str, Tensor]


def write_whole(value: object, path: Path) -> None:
    """Save a value; a crash while writing leaves the old file."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    part.rename(path)


def joint_path(run: Path) -> Path:
    """Where the weights at the end of joint training are kept."""
    return run / "joint.pt"


def average(earlier: Weights, later: Weights, share: float) -> Weights:
    """`share` of the later weights and the rest of the earlier; counters are the later's."""
    return {
        name: earlier[name].lerp(weight, share) if weight.is_floating_point() else weight
        for name, weight in later.items()
    }


def final_weights(run: Path) -> tuple[Weights, int]:
    """The weights of a run and its step; before polishing has begun, those of the state alone."""
    state = torch.load(run / "state.pt", weights_only=True)
    if not joint_path(run).exists():
        return state["model"], state["step"]
    joint = torch.load(joint_path(run), weights_only=True)
    return average(joint, state["model"], POLISHED_SHARE), state["step"]
