"""What is said to a Granite Speech model beside the audio.

Owns the instructions of every prompt style and the chat messages around them. The chat template itself comes from the
checkpoint's tokenizer; nothing here renders control tokens. Source: the models' cards.
"""

from __future__ import annotations

import msgspec

from lithophone.granite.family import LANGUAGE_NAMES, ModelSpec, PromptStyle

AUDIO_TOKEN = "<|audio|>"  # noqa: S105 - a placeholder in the prompt, no secret

_PLAIN = "can you transcribe the speech into a written format?"
_PUNCTUATED = "transcribe the {language}speech with proper punctuation and capitalization."

_IDENTITY = "You are Granite, developed by IBM. You are a helpful AI assistant"
_SYSTEM_3_3 = f"Knowledge Cutoff Date: April 2024.\nToday's Date: April 9, 2025.\n{_IDENTITY}"
_SYSTEM_PLUS = f"Knowledge Cutoff Date: April 2024.\nToday's Date: December 19, 2024.\n{_IDENTITY}"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the model shall do with the audio. `language` is the ISO-639-1 code of the speech, if known."""

    language: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One chat turn in the form chat templates take."""

    role: str
    content: str


def instruction(spec: ModelSpec, task: Task) -> str:
    """The words after the audio placeholder."""
    if spec.punctuates:
        hint = f"{LANGUAGE_NAMES[task.language]} " if task.language else ""
        return _PUNCTUATED.format(language=hint)
    return _PLAIN


def chat_messages(spec: ModelSpec, task: Task) -> tuple[Message, ...]:
    """The turns to render through the checkpoint's chat template with `add_generation_prompt=True`.

    The system turns carry the dates the models were trained with, never today's.
    """
    gap = " " if spec.prompt_style is PromptStyle.PLUS else ""
    user = Message("user", f"{AUDIO_TOKEN}{gap}{instruction(spec, task)}")
    system = _system_turn(spec)
    return (user,) if system is None else (Message("system", system), user)


def _system_turn(spec: ModelSpec) -> str | None:
    if spec.demonstration:
        return None
    return {PromptStyle.V3_3: _SYSTEM_3_3, PromptStyle.PLUS: _SYSTEM_PLUS}.get(spec.prompt_style)
