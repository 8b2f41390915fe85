"""One training process among several that average their gradients: state, log, the loop over steps.

Owns what both models' training has in common: resuming, saving, clipping, the printed line, the figures on
the test set, the start of the processes. Knows no losses and no stages beyond their names.
"""

from __future__ import annotations

import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from .average import write_whole
from .corpus import log_mel
from .evaluate import Tally, samples_of, short_clips
from .optimizer import Optimizer

CLIP_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class RunPlan(ABC):
    """What every run decides: where, how long, with how many processes."""

    folder: Path
    corpus: Path
    seed: int
    processes: int
    compiled: bool
    warmup: int = 200
    save_every: int = 200
    log_every: int = 20
    report_every: int = 500
    test_set: Path | None = None

    @property
    @abstractmethod
    def total(self) -> int:
        """Steps of the whole run."""

    @abstractmethod
    def stage(self, step: int) -> str:
        """The stage a step belongs to."""


def cosine(done: int, whole: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up, and half a cosine from one to zero."""
    return min(1.0, (done + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * max(done, 0) / max(whole, 1)))


class TrainingProcess(ABC):
    """One process of a run; the first one speaks and saves."""

    model: nn.Module
    optimizer: Optimizer
    plan: RunPlan

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.step = 0
        self.averages: dict[str, float] = {}

    @abstractmethod
    def train_step(self) -> dict[str, float]:
        """One update; returns the losses."""

    @abstractmethod
    def enter_stage(self) -> None:
        """Called before the first step of every stage but the first."""

    @abstractmethod
    def transcribe(self, mels: list[np.ndarray]) -> list[str]:
        """The texts of clips, given as log-mels, by the weights as they are."""

    def report(self) -> None:
        """Word error rates on the short clips of the test set, in the log only; called every `report_every` steps."""
        if self.rank or self.plan.test_set is None:
            return
        clips = list(short_clips(self.plan.test_set))
        mels = [log_mel(samples_of(clip.path)).astype(np.float32) for clip in clips]
        tallies: dict[str, Tally] = {}
        for clip, text in zip(clips, self.transcribe(mels), strict=True):
            tallies.setdefault(clip.group, Tally()).add(clip.text, text)
        self.say("CTC WER " + ", ".join(f"{group} {tally.percent:.1f} %" for group, tally in tallies.items()))

    @property
    def state_path(self) -> Path:
        """Where weights, optimizer and step are kept."""
        return self.plan.folder / "state.pt"

    def load(self) -> None:
        """Resume from the kept state, if there is one."""
        if self.state_path.exists():
            state = torch.load(self.state_path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            self.say(f"resumed at step {self.step}")

    def save(self) -> None:
        """Keep the state; a crash while writing leaves the old one."""
        if self.rank == 0:
            optimizer = self.optimizer.state_dict()
            state = {"model": self.model.state_dict(), "optimizer": optimizer, "step": self.step}
            write_whole(state, self.state_path)

    def say(self, text: str) -> None:
        """A line of the log, by the first process only."""
        if self.rank == 0:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def run(self) -> None:
        """All remaining steps."""
        self.load()
        began, begin_step = time.monotonic(), self.step
        while self.step < self.plan.total:
            if self.step and self.plan.stage(self.step) != self.plan.stage(self.step - 1):
                self.averages = {}
                self.enter_stage()
            losses = self.train_step()
            self.step += 1
            self._note(losses)
            if self.step % self.plan.log_every == 0:
                self._say_progress((time.monotonic() - began) / (self.step - begin_step))
            if self.step % self.plan.save_every == 0 or self.step == self.plan.total:
                self.save()
            if self.step % self.plan.report_every == 0 or self.step == self.plan.total:
                self.report()

    def _note(self, losses: dict[str, float]) -> None:
        self.averages = {
            name: 0.95 * self.averages.get(name, value) + 0.05 * value for name, value in losses.items()
        }

    def _say_progress(self, pace: float) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in self.averages.items())
        left = (self.plan.total - self.step) * pace / 60
        stage = self.plan.stage(self.step - 1)
        self.say(f"{stage} {self.step}/{self.plan.total} {shown} {pace:.2f} s/step {left:.0f} min left")

    def average_gradients(self, parameters: list[nn.Parameter]) -> bool:
        """Share, average and clip the gradients; whether they are finite (else they must not be used)."""
        used = [p for p in parameters if p.grad is not None]
        flat = nn.utils.parameters_to_vector([p.grad for p in used])  # type: ignore[misc] - just filtered
        if dist.is_initialized():
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        norm = float(flat.norm())
        if not math.isfinite(norm):
            return False
        flat *= min(1.0, CLIP_NORM / (norm + 1e-6))
        nn.utils.vector_to_parameters(flat, [p.grad for p in used])  # type: ignore[misc] - just filtered
        return True


def _work(rank: int, make: Callable[[Any, int], TrainingProcess], plan: RunPlan) -> None:
    # torch ends the processes of a parent that died by this signal, which is ignored under nohup
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    if plan.processes > 1:
        store = dist.FileStore(str(plan.folder / "rendezvous"), plan.processes)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=plan.processes)
    make(plan, rank).run()
    if dist.is_initialized():
        dist.destroy_process_group()


def run_processes(make: Callable[[Any, int], TrainingProcess], plan: RunPlan) -> None:
    """Run or resume a plan; `make` gives the process of a rank."""
    (plan.folder / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(_work, args=(make, plan), nprocs=plan.processes)
