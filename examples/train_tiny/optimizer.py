"""The optimizer: orthogonalised momentum for weight matrices (Muon), AdamW for all else.

Owns which parameter is updated how. The processes share the work of orthogonalising: each does its part of the matrices.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

MOMENTUM = 0.95
DECAY = 0.01
STEPS = 4
QUINTIC = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration (Jordan et al. 2024)
MATCH_ADAM = 0.2  # root mean square of an update, as AdamW's usually is (Liu et al. 2025)


def orthogonalised(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix of each of [count, rows, columns], approximately; rows ≤ columns."""
    a, b, c = QUINTIC
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Inner weight matrices; embeddings, the CTC head and the input layer are AdamW's."""
    outer = (
        "embed",
        "lm_head",
        "rel_pos_emb",
        ".encoder.out.",
        "out_mid",
        "input_linear",
        "depth_conv",
        "depthwise_conv",
    )
    inner = parameter.ndim >= 2 and not name.endswith("projector.query")
    return inner and not any(part in f".{name}" for part in outer)


class Orthogonal:
    """Muon over matrices grouped by shape."""

    def __init__(self, parameters: list[nn.Parameter], rank: int, world: int) -> None:
        self.parameters = parameters
        self.momentum = [torch.zeros_like(parameter) for parameter in parameters]
        self._rank, self._world = rank, world

    @torch.no_grad()
    def step(self, rates: list[float]) -> None:
        """One update with a rate for each parameter; parameters without a gradient stay."""
        active = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        updates = {i: torch.zeros_like(self.parameters[i]) for i in active}
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i in active:
            gradient = self.parameters[i].grad
            self.momentum[i].lerp_(gradient, 1 - MOMENTUM)
            shapes.setdefault(tuple(sorted(_flat(gradient).shape)), []).append(i)
        for members in shapes.values():
            self._orthogonalise(members[self._rank :: self._world], updates)
        self._share([updates[i] for i in active])
        for i in active:
            parameter = self.parameters[i]
            scale = rates[i] * MATCH_ADAM * max(_flat(parameter).shape) ** 0.5
            parameter.mul_(1 - rates[i] * DECAY).sub_(updates[i], alpha=scale)

    def _orthogonalise(self, members: list[int], updates: dict[int, Tensor]) -> None:
        if not members:
            return
        ahead = [_flat(self.parameters[i].grad.lerp(self.momentum[i], MOMENTUM)) for i in members]  # type: ignore[union-attr]
        wide = [one if one.shape[0] <= one.shape[1] else one.T for one in ahead]
        for i, one, found in zip(members, ahead, orthogonalised(torch.stack(wide)), strict=True):
            straight = found if one.shape[0] <= one.shape[1] else found.T
            updates[i].copy_(straight.reshape(updates[i].shape))

    def _share(self, updates: list[Tensor]) -> None:
        if self._world == 1:
            return
        flat = nn.utils.parameters_to_vector(updates)
        dist.all_reduce(flat)
        nn.utils.vector_to_parameters(flat, updates)

    def state_dict(self) -> dict[str, Any]:
        """The momentum."""
        return {"momentum": self.momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a kept momentum."""
        for mine, kept in zip(self.momentum, state["momentum"], strict=True):
            mine.copy_(kept)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[0], -1)


class Optimizer:
    """Both optimizers, with one rate for the encoder and one for all else."""

    def __init__(self, model: nn.Module, rank: int, world: int) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters()]
        matrices = [(name, parameter) for name, parameter in named if is_matrix(name, parameter)]
        others = [(name, parameter) for name, parameter in named if not is_matrix(name, parameter)]
        self._of_encoder = [_in_encoder(name) for name, _ in matrices]
        self._muon = Orthogonal([parameter for _, parameter in matrices], rank, world)
        groups = [
            {"params": [parameter for name, parameter in others if _in_encoder(name)]},
            {"params": [parameter for name, parameter in others if not _in_encoder(name)]},
        ]
        self._adam = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)

    def step(self, encoder_rate: float, other_rate: float) -> None:
        """One update with the gradients as they are."""
        self._adam.param_groups[0]["lr"], self._adam.param_groups[1]["lr"] = encoder_rate, other_rate
        self._adam.step()
        self._muon.step([encoder_rate if inside else other_rate for inside in self._of_encoder])

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._muon.parameters:
            parameter.grad = None
        self._adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"adam": self._adam.state_dict(), "muon": self._muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a kept state."""
        self._adam.load_state_dict(state["adam"])
        self._muon.load_state_dict(state["muon"])


def _in_encoder(name: str) -> bool:
    return ".encoder." in f".{name}" and "qformer" not in name
