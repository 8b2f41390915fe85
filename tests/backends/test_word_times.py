"""Words from the backends, on small checkpoints of the real layout."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.device.plan import DevicePlan
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import babble, heard_by, opened, transcribed

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


def test_the_ctc_models_words_are_its_text_in_order(shape: Callable[[str], Path], plan: DevicePlan) -> None:
    backend = opened(str(shape("granite-speech-5.0-470m-turboctc")), plan)
    found = transcribed(backend, *(RecognitionRequest(samples=babble(4.0, seed)) for seed in range(8)))
    heard = max(found, key=lambda recognition: len(recognition.words))
    assert heard.words
    assert "".join(word.text for word in heard.words) == heard.text
    bounds = [bound for word in heard.words for bound in (word.start_seconds, word.end_seconds)]
    assert bounds == sorted(bounds)
    assert 0 <= bounds[0] < bounds[-1] <= 4.0
    assert all(word.probability is not None and 0 < word.probability <= 1 for word in heard.words)


def test_word_boundaries_are_where_the_synthesiser_put_them(plan: DevicePlan) -> None:
    """Every clip with known word times that the embedded model transcribes without a mistake."""
    backend = opened(DEMONSTRATION_ID, plan)
    errors: list[float] = []
    for line in (SPEECH / "manifest.jsonl").read_text().splitlines():
        truth = json.loads(line)
        if not truth["words"]:
            continue
        samples, _ = soundfile.read(SPEECH / truth["file"], dtype="float32")
        heard = heard_by(backend, np.asarray(samples, np.float32))
        if heard.text != truth["text"]:
            continue
        for word, known in zip(heard.words, truth["words"], strict=True):
            errors += [word.start_seconds - known["start"], word.end_seconds - known["end"]]
    off = np.abs(errors)
    assert len(off) >= 200
    assert off.mean() <= 0.040
    assert np.percentile(off, 95) <= 0.100
