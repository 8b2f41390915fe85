"""transformers' own way from a clip to tokens, one clip at a time: what ours is held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoTokenizer,
    GraniteSpeechForConditionalGeneration,
    GraniteSpeechPlusForConditionalGeneration,
    GraniteSpeechProcessor,
)
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.granite.family import FAMILY
from lithophone.granite.features import audio_token_count, log_mel_stacked
from lithophone.granite.prompts import Task, chat_messages

CLASSES: dict[str, Any] = {
    "granite-speech-3.3-2b": GraniteSpeechForConditionalGeneration,
    "granite-speech-4.1-2b": GraniteSpeechForConditionalGeneration,
    "granite-speech-4.1-2b-plus": GraniteSpeechPlusForConditionalGeneration,
    "granite-speech-tiny": GraniteSpeechForConditionalGeneration,
}


class OneClipExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """What transformers' processor asks of a feature extractor; its own needs torchaudio."""

    model_input_names = ["input_features"]  # noqa: RUF012 - the name and type transformers asks for

    def __init__(self) -> None:
        super().__init__(feature_size=80, sampling_rate=SAMPLE_RATE, padding_value=0.0)

    def __call__(self, audios: Sequence[NDArray[np.float32]], device: str = "cpu") -> BatchFeature:
        (clip,) = (torch.as_tensor(audio) for audio in audios)
        tokens = audio_token_count(clip.shape[-1])
        data = {
            "input_features": log_mel_stacked(clip.to(device)).unsqueeze(0),
            "audio_embed_sizes": [tokens],
            "input_features_mask": torch.ones(1, tokens, dtype=torch.bool),
        }
        return BatchFeature(data=data)


class Reference:
    """A checkpoint as transformers loads, prompts and decodes it: greedy, token by token, alone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        template = self.tokenizer.chat_template
        self.processor: Any = GraniteSpeechProcessor(
            OneClipExtractor(), self.tokenizer, chat_template=template
        )
        self.model: Any = CLASSES[name].from_pretrained(folder, dtype=torch.float32).eval()
        turns = [{"role": m.role, "content": m.content} for m in chat_messages(FAMILY[name], Task())]
        self.prompt = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def inputs(self, samples: NDArray[np.float32]) -> Any:
        """What the model takes."""
        return self.processor(text=self.prompt, audio=samples, return_tensors="pt")

    @torch.inference_mode()
    def tokens(self, samples: NDArray[np.float32], most: int) -> list[int]:
        """Up to `most` emitted tokens, control tokens left out."""
        inputs = self.inputs(samples)
        output = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=most)
        emitted = output[0, inputs["input_ids"].shape[1] :].tolist()
        return [token for token in emitted if token not in self.tokenizer.all_special_ids]
