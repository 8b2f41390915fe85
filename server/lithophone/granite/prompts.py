"""What is said to a Granite Speech model beside the audio.

Owns the instructions of every prompt style and the chat messages around them. The chat template itself comes from the
checkpoint's tokenizer; nothing here renders control tokens. Sources: the models' cards; for 4.1 and plus IBM's library
(github.com/ibm-granite/granite-speech); for translation by 3.3, of which its card says nothing, unitxt, with which IBM's
evaluation scripts run.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from lithophone.errors import UnsupportedParameterError
from lithophone.granite.family import LANGUAGE_NAMES, ModelSpec, PromptStyle

AUDIO_TOKEN = "<|audio|>"  # noqa: S105 - a placeholder in the prompt, no secret

_PLAIN = "can you transcribe the {language}speech into a written format?"
_PUNCTUATED = "transcribe the {language}speech with proper punctuation and capitalization."
_SPOKEN = {**LANGUAGE_NAMES, "zh": "Mandarin"}  # what IBM's library and cards call it

_TO_TEXT = "transcribe the speech to text."
_SPEAKERS = (
    "Speaker attribution: Transcribe and denote who is speaking by adding [Speaker 1]: and [Speaker 2]: tags before "
    "speaker turns."
)
_WORD_TIMES = (
    "Timestamps: Transcribe the speech. After each word, add a timestamp tag showing the end time in centiseconds, "
    "e.g. hello [T:45] world [T:82]"
)

_IDENTITY = "You are Granite, developed by IBM. You are a helpful AI assistant"
_SYSTEM_3_3 = f"Knowledge Cutoff Date: April 2024.\nToday's Date: April 9, 2025.\n{_IDENTITY}"
_SYSTEM_PLUS = f"Knowledge Cutoff Date: April 2024.\nToday's Date: December 19, 2024.\n{_IDENTITY}"


class Tags(Enum):
    """What the plus model adds to the words."""

    SPEAKERS = "speakers"
    WORD_TIMES = "word times"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the model shall do with the audio.

    `language` is the ISO-639-1 code of the speech, if known: plain transcription by 4.1 and plus has a place for it, that of
    plus beside keywords too.
    `translate_to` is the code of the language to write instead. `keywords` are words likely to be said. `prefix_text` is
    what was said at the beginning of the audio, tags included: the plus model then writes what follows it.
    """

    language: str | None = None
    translate_to: str | None = None
    keywords: tuple[str, ...] = ()
    tags: Tags | None = None
    prefix_text: str = ""


class Message(msgspec.Struct, frozen=True):
    """One chat turn in the form chat templates take."""

    role: str
    content: str


def hears_language_hint(spec: ModelSpec, task: Task) -> bool:
    """Whether the prompt of the task has a place for the language of the speech."""
    if task.tags is not None or task.translate_to is not None:
        return False
    return spec.prompt_style is PromptStyle.PLUS or (spec.punctuates and not task.keywords)


def instruction(spec: ModelSpec, task: Task) -> str:
    """The words after the audio placeholder.

    Raises:
        UnsupportedParameterError: the model was not trained for the task; the message says what it can do.
    """
    if task.prefix_text and spec.prompt_style is not PromptStyle.PLUS:
        raise UnsupportedParameterError(f"{spec.id} cannot continue a text.")
    if task.keywords and not spec.keywords:
        raise UnsupportedParameterError(f"{spec.id} takes no keywords.", param="keywords")
    return _words(spec, task) + _keywords(task)


def _words(spec: ModelSpec, task: Task) -> str:
    if task.tags is not None:
        return _tagged(spec, task.tags)
    if task.translate_to is not None:
        return _translation(spec, task, task.translate_to)
    if task.keywords and spec.prompt_style is PromptStyle.V4_1:
        return _TO_TEXT
    hinted = hears_language_hint(spec, task) and task.language is not None
    hint = f"{_SPOKEN[task.language]} " if hinted and task.language else ""
    return (_PUNCTUATED if spec.punctuates else _PLAIN).format(language=hint)


def _tagged(spec: ModelSpec, tags: Tags) -> str:
    able, words = (spec.speakers, _SPEAKERS) if tags is Tags.SPEAKERS else (spec.word_times, _WORD_TIMES)
    if not able:
        raise UnsupportedParameterError(f"{spec.id} writes no tags for {tags.value}.")
    return words


def _translation(spec: ModelSpec, task: Task, target: str) -> str:
    if target not in spec.translation_targets:
        able = ", ".join(spec.translation_targets) or "nothing"
        raise UnsupportedParameterError(f"{spec.id} does not translate into {target!r}. It can: {able}.")
    language = _SPOKEN[target]
    if spec.prompt_style is PromptStyle.V3_3:
        return f"translate the speech to {language}"
    style = " with proper punctuation and capitalization" if spec.punctuates and not task.keywords else ""
    return f"translate the speech to {language}{style}."


def _keywords(task: Task) -> str:
    """Behind the words of any task, as IBM's library appends them: a full stop where the words end in none."""
    if not task.keywords:
        return ""
    stop = "." if task.tags is Tags.WORD_TIMES else ""  # the one that ends in a bracket
    return f"{stop} Keywords: {', '.join(task.keywords)}"


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
