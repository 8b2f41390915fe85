"""Training of the CTC sibling in two stages: word pieces frame by frame from word times, then CTC.

Starts from the big model's encoder. The head is new, and plain CTC over 512 word pieces would stay on its plateau for long;
the frame-wise stage is short and leaves it at once. Word times are espeak's own, and those the big model's run found for
the other clips. Owns losses and schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from . import align
from .average import final_weights
from .ctc_model import GUARD_FRAMES, SLOT, SUBSAMPLING, CtcNetwork, ctc_config, new_ctc_model
from .ctc_packs import FRAMES, CtcPack, CtcPackMaker, normalised_with_deltas
from .ctc_start import start_from_encoder
from .ctc_vocabulary import BLANK_ID, load_or_train_pieces, spoken_text
from .losses import ctc_loss
from .optimizer import Optimizer
from .packs import DOMAIN_SOURCES, IGNORE, Corpus
from .process import RunPlan, TrainingProcess, cosine, run_processes
from .vocabulary import domain_words

MIDDLE_WEIGHT = 0.3


@dataclass(frozen=True, kw_only=True)
class CtcPlan(RunPlan):
    """Steps of both stages; `big_run` is the folder of the big model's run: its encoder's weights and its word times."""

    piece_steps: int
    ctc_steps: int
    big_run: Path
    rate: float = 1e-3

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.piece_steps + self.ctc_steps

    def stage(self, step: int) -> str:
        """The stage a step belongs to."""
        return "pieces" if step < self.piece_steps else "ctc"


def piece_loss(logits: Tensor, pack: CtcPack) -> Tensor:
    """CTC per word piece."""
    rows = [(row.start // SUBSAMPLING, row.length // SUBSAMPLING, row.pieces) for row in pack.rows]
    return ctc_loss(logits, rows, BLANK_ID)


class CtcTrainer(TrainingProcess):
    """One process of the run."""

    def __init__(self, plan: CtcPlan, rank: int) -> None:
        super().__init__(rank)
        self.plan: CtcPlan = plan
        torch.manual_seed(plan.seed)
        self.tokenizer = load_or_train_pieces(plan.folder / "tokenizer", plan.seed)
        self.model = new_ctc_model(ctc_config(len(self.tokenizer)))
        start_from_encoder(self.model, final_weights(plan.big_run)[0])
        self.network = CtcNetwork(self.model, compiled=plan.compiled)
        self.parameters = list(self.model.parameters())
        self.optimizer = Optimizer(self.model, rank, plan.processes)
        corpus = Corpus(plan.corpus, plan.big_run, domain_words(plan.seed))
        self.maker = CtcPackMaker(corpus, self.tokenizer)
        self.shares = corpus.shares(DOMAIN_SOURCES)

    def enter_stage(self) -> None:
        """Nothing to prepare."""

    def train_step(self) -> dict[str, float]:
        """One update; returns the losses."""
        rng = np.random.default_rng((self.plan.seed, self.rank, self.step))
        pack = self.maker.pack(self.shares, rng)
        last, middle = self.network.logits(pack.features, pack.mask)
        name, loss = ("pieces", frame_loss) if self.plan.stage(self.step) == "pieces" else ("ctc", piece_loss)
        losses = {name: loss(last, pack), "middle": MIDDLE_WEIGHT * loss(middle, pack)}
        sum(losses.values(), torch.zeros(())).backward()
        if self.average_gradients(self.parameters):
            rate = self.plan.rate * cosine(self.step, self.plan.total, self.plan.warmup)
            self.optimizer.step(rate, rate)
        self.optimizer.zero_grad()
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def transcribe(self, mels: list[np.ndarray]) -> list[str]:
        """By the head's best pieces."""
        rows = [normalised_with_deltas(mel) for mel in mels]
        texts = [""] * len(rows)
        for group in align.batches([len(row) for row in rows], FRAMES, SLOT, GUARD_FRAMES):
            for i, labels in zip(group, self._best_labels([rows[i] for i in group]), strict=True):
                texts[i] = spoken_text(self.tokenizer, labels)
        return texts

    def _best_labels(self, rows: list[Tensor]) -> list[list[int]]:
        features, mask, starts = align.pack_features(rows, FRAMES, SLOT, GUARD_FRAMES)
        network = CtcNetwork(self.model, compiled=False)  # without gradients it would be compiled anew
        best = network.logits(features, mask)[0].argmax(-1).tolist()
        return [
            best[start // SUBSAMPLING : (start + len(row)) // SUBSAMPLING]
            for start, row in zip(starts, rows, strict=True)
        ]


def frame_loss(logits: Tensor, pack: CtcPack) -> Tensor:
    """Cross-entropy with the word piece of each frame whose word times are known."""
    return functional.cross_entropy(logits, pack.labels, ignore_index=IGNORE).nan_to_num()


def train_ctc(plan: CtcPlan) -> None:
    """Run or resume the plan."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    load_or_train_pieces(plan.folder / "tokenizer", plan.seed)
    run_processes(CtcTrainer, plan)
