"""Training in four stages with two or more single-thread processes that average their gradients.

1. read: the language model learns to write down simulated audio slots in order, without sound.
2. listen: the encoder learns letters, first frame by frame from espeak's word times, then by CTC.
3. align: word times of all other clips are found with the CTC head.
4. joint: everything together; the projector is also told which token each of its slots stands for.

Owns losses and schedules (by step). The same seed and process count give the same run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from . import align
from .corpus import log_mel
from .evaluate import errors, manifest, samples_of
from .grammar import sentences
from .model import BLOCK, GUARD_FRAMES, Network, new_model, tiny_config
from .optimizer import Optimizer
from .packs import (
    FRAMES,
    IGNORE,
    Corpus,
    Mixture,
    Pack,
    PackMaker,
    TokenPack,
    corrupted_slots,
    normalised,
    simulated_pack,
    token_pack,
)
from .process import RunPlan, TrainingProcess, cosine, run_processes
from .vocabulary import CTC_ALPHABET, PAD_ID, ctc_text, load_or_train

EMPTY_SLOT_WEIGHT = 0.3
MIDDLE_WEIGHT = 0.3
CTC_WEIGHT = 2.0
SLOT_WEIGHT = 0.7
UNUSED_LOGIT = -30.0
SPOKEN_FIRST = {"espeak": 1.0}
DOMAIN_SOURCES = {"espeak": 0.48, "flite": 0.42, "an4": 0.09, "speechocean": 0.01}
LISTEN_JOINED, JOINT_JOINED = 0.2, 0.5  # shares of rows that hold several clips


@dataclass(frozen=True, kw_only=True)
class Plan(RunPlan):
    """Steps of each stage and the learning rates."""

    read_steps: int
    letter_steps: int
    listen_steps: int
    joint_steps: int
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
    def total(self) -> int:
        """Steps of the whole run."""
        return self.joint_begin + self.joint_steps

    def stage(self, step: int) -> str:
        """The stage a step belongs to."""
        if step < self.listen_begin:
            return "read"
        if step < self.listen_begin + self.letter_steps:
            return "letters"
        return "listen" if step < self.joint_begin else "joint"


def encoder_factor(plan: Plan, step: int) -> float:
    """Warm-up, then one cosine to zero over listening and joint training."""
    return cosine(step - plan.listen_begin, plan.listen_steps + plan.joint_steps, plan.warmup)


def decoder_factor(plan: Plan, step: int) -> float:
    """Warm-up and cosine, once for reading (to a third) and once for joint training (to zero)."""
    if step < plan.listen_begin:
        done, whole, floor = step, plan.read_steps, 0.3
    else:
        done, whole, floor = step - plan.joint_begin, plan.joint_steps, 0.0
    warm = min(1.0, (done + 1) / plan.warmup)
    return floor * warm + (1 - floor) * cosine(done, whole, plan.warmup)


def ctc_loss(logits: Tensor, pack: Pack) -> Tensor:
    """CTC per character over all rows of a pack."""
    if not pack.rows:
        return logits.sum() * 0
    longest = max(row.length for row in pack.rows)
    log_probs = logits[:, CTC_ALPHABET].log_softmax(-1)
    padded = torch.stack(
        [
            functional.pad(log_probs[r.start : r.start + r.length], (0, 0, 0, longest - r.length))
            for r in pack.rows
        ],
        1,
    )
    targets = torch.tensor([label for row in pack.rows for label in row.ctc])
    lengths = torch.tensor([row.length for row in pack.rows])
    sizes = torch.tensor([len(row.ctc) for row in pack.rows])
    loss = functional.ctc_loss(padded, targets, lengths, sizes, reduction="none", zero_infinity=True)
    return loss.sum() / sizes.sum()


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

    def _maker(self) -> PackMaker:
        words = json.loads((self.plan.folder / "words.json").read_text())
        return PackMaker(Corpus(self.plan.corpus, self.plan.folder, set(words)), self.tokenizer)

    def load(self) -> None:
        """Resume from the kept state, if there is one."""
        super().load()
        silence_unused_labels(self.model.model.encoder.out)

    def enter_stage(self) -> None:
        """Word times are found before joint training; every stage begins with the corpus as it then is."""
        if self.step == self.plan.joint_begin:
            self.align()
        self.maker = self._maker()

    def train_step(self) -> dict[str, float]:
        """One update; returns the losses."""
        stage = self.plan.stage(self.step)
        rng = np.random.default_rng((self.plan.seed, self.rank, self.step))
        losses = {"read": self._read, "letters": self._listen, "listen": self._listen, "joint": self._joint}[
            stage
        ](rng)
        total = sum(losses.values())
        total.backward()
        self._update(stage)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _update(self, stage: str) -> None:
        groups = {"read": self.other_parameters, "joint": [*self.encoder_parameters, *self.other_parameters]}
        if self.average_gradients(groups.get(stage, self.encoder_parameters)):
            encoder_rate = self.plan.encoder_rate * encoder_factor(self.plan, self.step)
            other_rate = self.plan.decoder_rate * decoder_factor(self.plan, self.step)
            self.optimizer.step(encoder_rate, other_rate)
        self.optimizer.zero_grad()

    def _read(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pack = simulated_pack(self.maker, rng, (self.step + 1) / self.plan.read_steps)
        layout = token_pack(pack, self.maker, self.vocabulary, bare=rng.random() < 0.7)
        heard = corrupted_slots(layout.slots, rng, self.vocabulary)
        table = self.network.embedding
        slots = table[heard] + torch.randn(len(heard), table.shape[1]) * 0.3 * table.std().detach()
        return {"text": self._text_loss(layout, slots)}

    def _text_loss(self, layout: TokenPack, slots: Tensor) -> Tensor:
        table = torch.cat((self.network.embedding, slots))
        hidden = self.network.decode(table[layout.source], layout.rows, layout.positions)
        wanted = layout.targets != IGNORE
        if not bool(wanted.any()):
            return hidden.sum() * 0
        logits = functional.linear(hidden[wanted], self.network.embedding)
        return functional.cross_entropy(logits, layout.targets[wanted])

    def _mixture(self, weights: dict[str, float], joined_share: float) -> Mixture:
        """The shares of the sources there are; human speech may be missing."""
        present = {name: weight for name, weight in weights.items() if name in self.maker.corpus.by_source}
        whole = sum(present.values())
        return Mixture({name: weight / whole for name, weight in present.items()}, joined_share)

    def _listen(self, rng: np.random.Generator) -> dict[str, Tensor]:
        first = self.plan.stage(self.step) == "letters"
        pack = self.maker.pack(self._mixture(SPOKEN_FIRST if first else DOMAIN_SOURCES, LISTEN_JOINED), rng)
        hidden, middle = self.network.encode(pack.features, pack.mask)
        logits = self.model.model.encoder.out(hidden)
        losses = {}
        if first:
            losses["letters"] = functional.cross_entropy(logits, pack.letters, ignore_index=IGNORE)
            losses["middle"] = MIDDLE_WEIGHT * functional.cross_entropy(
                middle, pack.letters, ignore_index=IGNORE
            )
            return {name: value.nan_to_num() for name, value in losses.items()}
        return {"ctc": ctc_loss(logits, pack), "middle": MIDDLE_WEIGHT * ctc_loss(middle, pack)}

    def _joint(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pack = self.maker.pack(self._mixture(DOMAIN_SOURCES, JOINT_JOINED), rng)
        layout = token_pack(pack, self.maker, self.vocabulary)
        hidden, middle = self.network.encode(pack.features, pack.mask)
        slots = self.network.project(hidden, layout.windows)
        losses = {
            "slots": SLOT_WEIGHT * self._slot_loss(slots, layout.slots),
            "ctc": CTC_WEIGHT * ctc_loss(self.model.model.encoder.out(hidden), pack),
            "middle": MIDDLE_WEIGHT * CTC_WEIGHT * ctc_loss(middle, pack),
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
        """Word error rate of the CTC head on the short clips of the test set, in the log only."""
        if self.rank or self.plan.test_set is None or self.step <= self.plan.listen_begin:
            return
        counts: dict[str, list[int]] = {}
        clips = [clip for clip in manifest(self.plan.test_set) if clip["kind"] == "short"]
        mels = [
            normalised(log_mel(samples_of(self.plan.test_set / clip["file"])).astype(np.float32))
            for clip in clips
        ]
        for group in align.batches([len(mel) for mel in mels], FRAMES, BLOCK, GUARD_FRAMES):
            for i, log_probs in zip(group, self._log_probs([mels[i] for i in group]), strict=True):
                name = clips[i]["engine"] + ("" if clips[i]["seen_voice"] else "-new")
                wrong, words = errors(clips[i]["text"], ctc_text(log_probs.argmax(-1).tolist()))
                count = counts.setdefault(name, [0, 0])
                count[0] += wrong
                count[1] += words
        self.say("CTC WER " + " ".join(f"{name} {100 * w / n:.1f} %" for name, (w, n) in counts.items()))


def train(plan: Plan) -> None:
    """Run or resume the plan."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    load_or_train(plan.folder / "tokenizer", plan.seed)
    words = {word for text in islice(sentences(plan.seed, test=False), 40_000) for word in text.split()}
    (plan.folder / "words.json").write_text(json.dumps(sorted(words)))
    run_processes(Trainer, plan)
