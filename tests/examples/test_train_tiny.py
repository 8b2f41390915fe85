"""The recipe of the embedded checkpoints: its forward passes against transformers', its targets, and a run to the end."""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from examples.train_tiny import average, corpus, ctc_model, ctc_packs, ctc_start, model, packs, process, train
from examples.train_tiny.ctc_vocabulary import BLANK_ID
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.granite.features import log_mel_stacked, log_mel_with_deltas

ROOT = Path(__file__).parents[2]
NOTHING = dict.fromkeys(corpus.WRITERS, 0)
needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="libespeak-ng1 is not installed"
)
LIMIT_BYTES = {"granite-speech-tiny": 16_000_000, "granite-speech-tiny-ctc": 6_000_000}


class InterruptionError(Exception):
    """What ends a run before its time."""


class Interruptible(train.Trainer):
    """A run alone in its process that breaks off before a step."""

    def __init__(self, plan: train.Plan, end: int) -> None:
        torch.set_num_threads(1)
        super().__init__(plan, 0)
        self._end = end

    def train_step(self) -> dict[str, float]:
        if self.step == self._end:
            raise InterruptionError
        return super().train_step()


class Sleeper(train.Trainer):
    """A process of a run that says where it is and then works for longer than any test."""

    def __init__(self, plan: train.Plan, rank: int) -> None:
        self._mark = plan.folder / f"{rank}.pid"

    def run(self) -> None:
        self._mark.write_text(str(os.getpid()))
        time.sleep(600)


def comes_true(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.1)
    return held


def short_plan(folder: Path, *, processes: int) -> train.Plan:
    """13 steps over the speech beside the folder."""
    return train.Plan(
        folder=folder,
        corpus=folder.parent / "corpus",
        seed=5,
        processes=processes,
        compiled=False,
        warmup=2,
        save_every=1,
        read_steps=3,
        letter_steps=2,
        listen_steps=4,
        joint_steps=4,
        polish_steps=2,
        project_steps=1,
    )


def sleep_in_processes(folder: str) -> None:
    process.run_processes(Sleeper, short_plan(Path(folder), processes=2))


def packed(starts: list[int], rows: list[torch.Tensor], frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    features, mask = torch.zeros(frames, rows[0].shape[1]), torch.zeros(frames)
    for start, row in zip(starts, rows, strict=True):
        features[start : start + len(row)] = row
        mask[start : start + len(row)] = 1
    return features, mask


@torch.no_grad()
def test_the_packed_encoder_computes_what_transformers_does_row_by_row() -> None:
    torch.manual_seed(1)
    whole = model.new_model(model.tiny_config(64, width=32, layers=2)).eval()
    network = model.Network(whole, compiled=False)
    rows = [torch.randn(93, 160), torch.randn(180, 160)]
    starts = [0, model.BLOCK]
    hidden, _ = network.encode(*packed(starts, rows, 3 * model.BLOCK))
    for start, row in zip(starts, rows, strict=True):
        expected = whole.model.encoder(row[None]).last_hidden_state[0]
        torch.testing.assert_close(hidden[start : start + len(row)], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_packed_ctc_network_computes_what_transformers_does_row_by_row() -> None:
    torch.manual_seed(2)
    whole = ctc_model.new_ctc_model(ctc_model.ctc_config(64, width=32, layers=4)).eval()
    network = ctc_model.CtcNetwork(whole, compiled=False)
    slot, part = ctc_model.SLOT, ctc_model.SUBSAMPLING
    rows = [torch.randn(slot - ctc_model.GUARD_FRAMES, 320), torch.randn(300, 320), torch.randn(20, 320)]
    starts = [0, slot, 3 * slot]
    logits, _ = network.logits(*packed(starts, rows, 4 * slot))
    for start, row in zip(starts, rows, strict=True):
        expected = whole(input_features=row[None], attention_mask=torch.ones(1, len(row))).logits[0]
        got = logits[start // part : (start + len(row)) // part]
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("rate", "rate_out"), [(1, 2), (2, 4), (4, 4)])
def test_wider_taps_answer_a_steady_input_as_the_taps_did(rate: int, rate_out: int) -> None:
    taps = torch.randn(5, 1, model.KERNEL)
    wider = ctc_start.wider_taps(taps, rate, rate_out)
    assert wider.shape == (5, 1, ctc_model.KERNEL)
    torch.testing.assert_close(wider.sum(-1), taps.sum(-1))


@torch.no_grad()
def test_the_sibling_starts_where_the_big_encoder_is() -> None:
    """On features that change slowly, its states resemble the big encoder's averages over its frames."""
    torch.manual_seed(4)
    big = model.new_model(model.tiny_config(64, layers=6)).eval()
    sibling = ctc_model.new_ctc_model(ctc_model.ctc_config(64)).eval()
    big.model.encoder.out_mid.weight.zero_()  # the sibling's new head has nothing to say in the middle yet
    big.model.encoder.out_mid.bias.zero_()
    sibling.encoder.out_mid.bias.zero_()
    ctc_start.start_from_encoder(sibling, big.state_dict())
    time = torch.arange(160)[:, None] / 160
    mel = (time * torch.linspace(1, 5, 80) + torch.linspace(0, 6, 80)).sin()
    flat = torch.zeros_like(mel)  # the sibling's weights for slopes are zero
    states = big.model.encoder(torch.cat((mel, mel), 1)[None]).last_hidden_state[0]
    expected = states.unflatten(0, (-1, ctc_model.SUBSAMPLING)).mean(1)
    got = sibling.encoder(input_features=torch.cat((mel, flat, mel, flat), 1)[None]).last_hidden_state[0]
    likeness = torch.nn.functional.cosine_similarity(got, expected, dim=-1).mean()
    elsewhere = torch.nn.functional.cosine_similarity(got, expected.flip(0), dim=-1).mean()
    assert likeness > 0.75
    assert likeness > elsewhere + 0.1


def test_the_sibling_takes_layers_at_even_distances_from_a_deeper_encoder() -> None:
    assert ctc_start.spread(6, 6) == [0, 1, 2, 3, 4, 5]
    assert ctc_start.spread(8, 6) == [0, 1, 3, 4, 6, 7]


def test_rows_have_the_features_the_server_computes() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    expected = log_mel_with_deltas(torch.from_numpy(samples))
    log_mel = (log_mel_stacked(torch.from_numpy(samples)).reshape(-1, 80) - 1) * 4  # undo its scale
    got = ctc_packs.normalised_with_deltas(log_mel.numpy())
    assert got.shape == (48, 320)
    # the last frame's slope looks at a frame the server has and the row, cut to whole labels, has not
    torch.testing.assert_close(got[:-1], expected[: len(got) - 1], atol=1e-5, rtol=1e-5)


WORDS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=6)


@given(WORDS, st.floats(0.3, 1.0), st.floats(0.0, 0.5))
def test_frame_labels_spell_the_words_in_order(words: list[list[int]], length: float, pause: float) -> None:
    times, moment = [], pause
    for _ in words:
        times.append((moment, moment + length))
        moment += length + pause
    labels = ctc_packs.frame_pieces(words, times, round(moment / ctc_packs.LABEL_SECONDS) + 20)
    runs = [label for label, before in zip(labels, [BLANK_ID, *labels[:-1]], strict=True) if label != before]
    assert [label for label in runs if label != BLANK_ID] == [piece for word in words for piece in word]


@given(st.lists(st.integers(30, 300), min_size=1, max_size=4), st.integers(0, 100_000))
def test_no_row_takes_a_block_more_for_pauses_that_could_be_shorter(lengths: list[int], seed: int) -> None:
    shape = packs.RowShape(room=450, pauses=167, block=100, guard=7)
    parts = [
        packs.Utterance(np.full((length, 80), -3, np.float32), "word", [(0, length / 100)])
        for length in lengths
    ]
    whole = packs.joined(parts, np.random.default_rng(seed), shape)
    assert whole.words is not None
    outer_frames = 50 * (whole.words[0][0] + len(whole.mel) / 100 - whole.words[-1][1])
    in_last_block = (len(whole.mel) // 2 + shape.guard) % shape.block
    rounded_away = 2 + (len(lengths) + 1) / 2  # frames: every pause is a whole number of 10 ms
    full = in_last_block == 0 or in_last_block >= shape.block - rounded_away
    assert full or in_last_block > outer_frames - rounded_away


def test_equal_neighbours_need_a_blank_between_them() -> None:
    assert ctc_packs.fits([1, 2, 1], 3)
    assert not ctc_packs.fits([1, 1, 2], 3)


@needs_espeak
def test_a_breathing_voice_sounds_alike_whatever_else_draws_random_numbers() -> None:
    """In processes of their own, since what espeak-ng says depends on what it said before."""
    code = (
        "import ctypes, sys, zlib; from examples.train_tiny.voices import Espeak; ctypes.CDLL(None).srand(int(sys.argv[1]))\n"
        "print(zlib.crc32(Espeak().say('turn on the light', 'en-us+f2').samples.tobytes()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, seed], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def kept_run(folder: Path, weight: float, steps_seen: int) -> None:
    model = {"weight": torch.full((2,), weight), "num_batches_tracked": torch.tensor(steps_seen)}
    average.write_whole({"model": model, "step": steps_seen}, folder / "state.pt")


def test_what_leaves_a_run_lies_two_thirds_of_the_way_from_joint_training_to_the_end(tmp_path: Path) -> None:
    kept_run(tmp_path, 3.0, 9)
    average.write_whole(
        {"weight": torch.zeros(2), "num_batches_tracked": torch.tensor(5)}, average.joint_path(tmp_path)
    )
    weights, step = average.final_weights(tmp_path)
    assert weights["weight"].tolist() == pytest.approx([2.0, 2.0])
    assert (int(weights["num_batches_tracked"]), step) == (9, 9)


def test_before_polishing_has_begun_the_weights_leave_a_run_as_they_are(tmp_path: Path) -> None:
    kept_run(tmp_path, 3.0, 9)
    assert average.final_weights(tmp_path)[0]["weight"].tolist() == [3.0, 3.0]


def test_a_crash_while_writing_leaves_the_old_weights(tmp_path: Path) -> None:
    kept_run(tmp_path, 3.0, 9)
    with pytest.raises(Exception, match="pickle"):
        average.write_whole({"model": lambda: None}, tmp_path / "state.pt")
    assert average.final_weights(tmp_path)[1] == 9


@pytest.mark.slow
@needs_espeak
def test_the_same_seed_gives_the_same_speech_and_the_same_weights_even_if_interrupted(tmp_path: Path) -> None:
    for name in ("one", "other"):
        corpus.build(
            tmp_path / name / "corpus", seed=5, sentences={**NOTHING, "espeak": 60}, human=None, workers=1
        )
        plan = short_plan(tmp_path / name / "run", processes=1)
        plan.folder.mkdir()
        for end in (plan.total,) if name == "one" else (2, 6, 9, plan.total):
            with suppress(InterruptionError):
                Interruptible(plan, end).run()
    spoken = [(tmp_path / name / "corpus" / "espeak-0.mel").read_bytes() for name in ("one", "other")]
    assert spoken[0] == spoken[1]
    one, other = (average.final_weights(tmp_path / name / "run") for name in ("one", "other"))
    assert one[1] == other[1] == 13
    assert one[0].keys() == other[0].keys()
    for name, weight in one[0].items():
        assert torch.equal(weight, other[0][name]), name


@pytest.mark.slow
def test_a_run_that_is_killed_under_nohup_leaves_no_process_behind(tmp_path: Path) -> None:
    code = f"from tests.examples.test_train_tiny import sleep_in_processes as f; f({str(tmp_path)!r})"
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", code], cwd=ROOT
    ) as run:
        try:
            assert comes_true(lambda: len([mark for mark in tmp_path.glob("*.pid") if mark.read_text()]) == 2)
        finally:
            run.kill()
    pids = [int(mark.read_text()) for mark in tmp_path.glob("*.pid")]
    assert comes_true(lambda: not any(map(psutil.pid_exists, pids)))


@pytest.mark.slow
@needs_espeak
@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_the_recipe_runs_to_its_end(tmp_path: Path) -> None:
    """What `make train-tiny-smoke` does: a few sentences and steps, both models, export and evaluation."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.train_tiny", "smoke", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Real-time factor") == len(LIMIT_BYTES)
    for name, limit in LIMIT_BYTES.items():
        folder = tmp_path / name
        assert sum(file.stat().st_size for file in folder.iterdir()) <= limit
        assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
        assert read_reference(str(folder)).spec.id == name
