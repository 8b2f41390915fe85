"""Training in five stages with two or more single-thread processes that average their gradients.

1. read: the language model learns to write down simulated audio slots in order, without sound.
2. listen: the encoder learns letters, first frame by frame from espeak's word times, then by CTC.
3. align: word times of all other clips are found with the CTC head.
4. joint: everything together; the projector is also told which token each of its slots stands for.
5. polish: the same once more, on lower learning rates that rise and fall again.

What leaves the run is an average of the weights at the ends of the last two (`average.py`).
Owns losses and schedules (by step). The same seed and process count give the same run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from . import align
from .average import joint_path, write_whole
from .losses import ctc_loss
from .model import BLOCK, GUARD_FRAMES, Network, new_model, tiny_config
from .optimizer import Optimizer
from .packs import (
    DOMAIN_SOURCES,
    FRAMES,
    IGNORE,
    SIMULATED_TOKENS,
    Corpus,
    Pack,
    PackMaker,
    TokenPack,
    corrupted_slots,
    normalised,
    simulated_pack,
    token_pack,
)
from .process import RunPlan, TrainingProcess, cosine, run_processes
from .vocabulary import CTC_ALPHABET, PAD_ID, ctc_text, domain_words, load_or_train

EMPTY_SLOT_WEIGHT = 0.3
MIDDLE_WEIGHT = 0.3
CTC_WEIGHT = 3.0
SLOT_WEIGHT = 0.7
UNUSED_LOGIT = -30.0
SPOKEN_FIRST = {"espeak": 1.0}
LISTEN_JOINED, JOINT_JOINED = 0.5, 0.6  # shares of rows that hold several clips
POLISH_ENCODER, POLISH_DECODER = 0.75, 1 / 3  # shares of the first learning rates (a warm restart)


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """Steps of each stage and the learning rates."""

    read_steps: int
    letter_steps: int
    listen_steps: int
    joint_steps: int
    polish_steps: int
    encoder_rate: float = 2e-3
    decoder_rate: float = 3e-3
    project_steps: int = 150  # of joint training, in which the projector alone learns its slots

    @property
    def listen_begin(self) -> int:
        """First step with sound."""
        return self.read_steps

    @property
    def joint_begin(self) -> int:
        """First step of joint training."""
        return self.read_steps + self.listen_steps

    @property
    def polish_begin(self) -> int:
        """First step on the learning rates of the end."""
        return self.joint_begin + self.joint_steps

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.polish_begin + self.polish_steps

    def stage(self, step: int) -> str:
        """The stage a step belongs to."""
        if step < self.listen_begin:
            return "read"
        if step < self.listen_begin + self.letter_steps:
            return "letters"
        if step < self.joint_begin:
            return "listen"
        return "joint" if step < self.polish_begin else "polish"


def polish_factor(plan: Plan, step: int) -> float:
    """Warm-up and one cosine to zero over polishing."""
    return cosine(step - plan.polish_begin, plan.polish_steps, plan.warmup)


def encoder_factor(plan: Plan, step: int) -> float:
    """Warm-up, then one cosine to zero over listening and joint training, and a lower one over polishing."""
    if step >= plan.polish_begin:
        return POLISH_ENCODER * polish_factor(plan, step)
    return cosine(step - plan.listen_begin, plan.listen_steps + plan.joint_steps, plan.warmup)


def decoder_factor(plan: Plan, step: int) -> float:
    """Warm-up and cosine: for reading (to a third), for joint training and, lower, for polishing (to zero)."""
    if step >= plan.polish_begin:
        return POLISH_DECODER * polish_factor(plan, step)
    if step < plan.listen_begin:
        done, whole, floor = step, plan.read_steps, 0.3
    else:
        done, whole, floor = step - plan.joint_begin, plan.joint_steps, 0.0
    warm = min(1.0, (done + 1) / plan.warmup)
    return floor * warm + (1 - floor) * cosine(done, whole, plan.warmup)


def letter_loss(logits: Tensor, pack: Pack) -> Tensor:
    """CTC per character, over the labels in use alone."""
    return ctc_loss(logits[:, CTC_ALPHABET], [(row.start, row.length, row.ctc) for row in pack.rows])


@torch.no_grad()
def silence_unused_labels(head: nn.Linear) -> None:
    """Keep the labels that never occur from ever winning, since the loss leaves them out."""
    unused = torch.ones(head.out_features, dtype=torch.bool)
    unused[CTC_ALPHABET] = False
    head.weight[unused] = 0.0
    head.bias[unused] = UNUSED_LOGIT


class Trainer(TrainingProcess):
    """One process of the run."""

    def __init__(self, plan: Plan, rank: int) -> None:
        super().__init__(rank)
        self.plan: Plan = plan
        torch.manual_seed(plan.seed)
        self.tokenizer = load_or_train(plan.folder / "tokenizer", plan.seed)
        self.vocabulary = len(self.tokenizer)
        self.model = new_model(tiny_config(self.vocabulary))
        silence_unused_labels(self.model.model.encoder.out)
        self.network = Network(self.model, compiled=plan.compiled)
        encoder = list(self.model.model.encoder.parameters())
        known = {id(parameter) for parameter in encoder}
        others = [p for p in self.model.parameters() if id(p) not in known]
        self.encoder_parameters, self.other_parameters = encoder, others
        self.optimizer = Optimizer(self.model, rank, plan.processes)
        self.maker = self._maker()
        self._losses = {
            "read": self._read,
            "letters": self._listen,
            "listen": self._listen,
            "joint": self._joint,
            "polish": self._joint,
        }

    def _maker(self) -> PackMaker:
        corpus = Corpus(self.plan.corpus, self.plan.folder, domain_words(self.plan.seed))
        return PackMaker(corpus, self.tokenizer)

    def enter_stage(self) -> None:
        """Word times are found before joint training, and its last weights kept for the average.

        Every stage begins with the corpus as it then is.
        """
        if self.step == self.plan.joint_begin:
            self.align()
        if self.step == self.plan.polish_begin and self.rank == 0:
            write_whole(self.model.state_dict(), joint_path(self.plan.folder))
        self.maker = self._maker()

    def train_step(self) -> dict[str, float]:
        """One update; returns the losses."""
        stage = self.plan.stage(self.step)
        rng = np.random.default_rng((self.plan.seed, self.rank, self.step))
        losses = self._losses[stage](rng)
        total = sum(losses.values())
        total.backward()
        self._update(stage)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _update(self, stage: str) -> None:
        if self.average_gradients(self._trained(stage)):
            encoder_rate = self.plan.encoder_rate * encoder_factor(self.plan, self.step)
            other_rate = self.plan.decoder_rate * decoder_factor(self.plan, self.step)
            self.optimizer.step(encoder_rate, other_rate)
        self.optimizer.zero_grad()

    def _trained(self, stage: str) -> list[nn.Parameter]:
        encoder = [] if stage == "read" else self.encoder_parameters
        others = [] if stage in ("letters", "listen") else self.other_parameters
        return [*encoder, *others]

    def _read(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pack = simulated_pack(self.maker, rng, (self.step + 1) / self.plan.read_steps)
        bare = bool(rng.random() < 0.7)
        layout = token_pack(pack, self.maker, self.vocabulary, tokens=SIMULATED_TOKENS, bare=bare)
        heard = corrupted_slots(layout.slots, rng, self.vocabulary)
        table = self.network.embedding
        noise = torch.from_numpy(rng.standard_normal((len(heard), table.shape[1]), np.float32))
        slots = table[heard] + noise * 0.3 * table.std().detach()
        return {"text": self._text_loss(layout, slots)}

    def _text_loss(self, layout: TokenPack, slots: Tensor) -> Tensor:
        table = torch.cat((self.network.embedding, slots))
        hidden = self.network.decode(table[layout.source], layout.rows, layout.positions)
        wanted = layout.targets != IGNORE
        if not bool(wanted.any()):
            return hidden.sum() * 0
        logits = functional.linear(hidden[wanted], self.network.embedding)
        return functional.cross_entropy(logits, layout.targets[wanted])

    def _listen(self, rng: np.random.Generator) -> dict[str, Tensor]:
        first = self.plan.stage(self.step) == "letters"
        shares = self.maker.corpus.shares(SPOKEN_FIRST if first else DOMAIN_SOURCES)
        pack = self.maker.pack(shares, rng, joined=LISTEN_JOINED)
        hidden, middle = self.network.encode(pack.features, pack.mask)
        logits = self.model.model.encoder.out(hidden)
        losses = {}
        if first:
            losses["letters"] = functional.cross_entropy(logits, pack.letters, ignore_index=IGNORE)
            losses["middle"] = MIDDLE_WEIGHT * functional.cross_entropy(
                middle, pack.letters, ignore_index=IGNORE
            )
            return {name: value.nan_to_num() for name, value in losses.items()}
        return {"ctc": letter_loss(logits, pack), "middle": MIDDLE_WEIGHT * letter_loss(middle, pack)}

    def _joint(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pack = self.maker.pack(self.maker.corpus.shares(DOMAIN_SOURCES), rng, joined=JOINT_JOINED)
        layout = token_pack(pack, self.maker, self.vocabulary)
        hidden, middle = self.network.encode(pack.features, pack.mask)
        slots = self.network.project(hidden, layout.windows)
        losses = {
            "slots": SLOT_WEIGHT * self._slot_loss(slots, layout.slots),
            "ctc": CTC_WEIGHT * letter_loss(self.model.model.encoder.out(hidden), pack),
            "middle": MIDDLE_WEIGHT * CTC_WEIGHT * letter_loss(middle, pack),
        }
        if self.step >= self.plan.joint_begin + self.plan.project_steps:
            losses["text"] = self._text_loss(layout, slots)
        return losses

    def _slot_loss(self, slots: Tensor, targets: Tensor) -> Tensor:
        kept = targets != IGNORE
        if not bool(kept.any()):
            return slots.sum() * 0
        logits = functional.linear(slots[kept] * 12.0, self.network.embedding)
        weight = torch.ones(self.vocabulary)
        weight[PAD_ID] = EMPTY_SLOT_WEIGHT
        return functional.cross_entropy(logits, targets[kept], weight=weight)

    @torch.no_grad()
    def align(self) -> None:
        """Word times of the clips that have none, shared between the processes."""
        corpus = self.maker.corpus
        path = self.plan.folder / f"words-{self.rank}.pt"
        if not path.exists():
            missing = [
                i
                for source in DOMAIN_SOURCES
                for i in corpus.by_source.get(source, [])
                if i not in corpus.words
            ]
            torch.save(dict(self._aligned(missing[self.rank :: self.plan.processes])), path)
        if dist.is_initialized():
            dist.barrier()
        self.say(f"aligned: {len(self._maker().corpus.words)} of {len(corpus.clips)} clips have word times")

    def _aligned(self, indices: list[int]) -> list[tuple[int, list[tuple[float, float]]]]:
        clips = [self.maker.corpus.clips[i][1] for i in indices]
        found = []
        groups = align.batches([clip.frames // 2 for clip in clips], FRAMES, BLOCK, GUARD_FRAMES)
        for done, group in enumerate(groups):
            rows = [normalised(self.maker.corpus.mel(indices[i])) for i in group]
            for i, log_probs in zip(group, self._log_probs(rows), strict=True):
                times = align.word_times(log_probs, clips[i].text)
                if times is not None:
                    found.append((indices[i], times))
            if done % 100 == 0:
                self.say(f"aligning {done}/{len(groups)}")
        return found

    @torch.no_grad()
    def _log_probs(self, rows: list[Tensor]) -> list[Tensor]:
        features, mask, starts = align.pack_features(rows, FRAMES, BLOCK, GUARD_FRAMES)
        hidden, _ = self.network.encode(features, mask)
        log_probs = self.model.model.encoder.out(hidden).log_softmax(-1)
        return [log_probs[start : start + len(row)] for start, row in zip(starts, rows, strict=True)]

    def report(self) -> None:
        """As soon as there is something to hear with."""
        if self.step > self.plan.listen_begin:
            super().report()

    def transcribe(self, mels: list[np.ndarray]) -> list[str]:
        """By the CTC head alone."""
        rows = [normalised(mel) for mel in mels]
        texts = [""] * len(rows)
        for group in align.batches([len(row) for row in rows], FRAMES, BLOCK, GUARD_FRAMES):
            for i, log_probs in zip(group, self._log_probs([rows[i] for i in group]), strict=True):
                texts[i] = ctc_text(log_probs.argmax(-1).tolist())
        return texts


def train(plan: Plan) -> None:
    """Run or resume the plan."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    load_or_train(plan.folder / "tokenizer", plan.seed)
    run_processes(Trainer, plan)
