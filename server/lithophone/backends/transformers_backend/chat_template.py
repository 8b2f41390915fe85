"""What a checkpoint's chat template writes around the words of a request.

A template is rendered once, when the model is loaded, with a placeholder where the words go; requests put theirs in its
place. Nothing out of a checkpoint runs while requests are served, and a template that never ends ends the load.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from lithophone.backends.transformers_backend import rendering
from lithophone.backends.transformers_backend.refusals import first_line
from lithophone.errors import CheckpointError, ConfigurationError
from lithophone.granite.family import ModelSpec, PromptStyle
from lithophone.granite.prompts import AUDIO_TOKEN, Task, chat_messages

TEMPLATE_BYTES: Final = 1 << 20
CLOCK_SECONDS: Final = 60.0
"""For a machine so busy that the process gets little of it; its own limit is `rendering.CPU_SECONDS`."""

WORDS: Final = f"{AUDIO_TOKEN}the words of a request"
CONTINUED: Final = "what was said before"


class PromptFrame(msgspec.Struct, frozen=True):
    """What stands before and behind the words, for a new text and for one that is continued."""

    before: str
    after: str
    continued_before: str
    continued_after: str

    def around(self, words: str, continued_text: str = "") -> str:
        """The whole prompt; `continued_text` is what its answer begins with."""
        if continued_text:
            return self.continued_before + words + self.continued_after + continued_text
        return self.before + words + self.after


class _Job(msgspec.Struct, frozen=True):
    template: str
    variables: tuple[dict[str, Any], ...]


class _Answer(msgspec.Struct, frozen=True):
    rendered: list[str] = []
    error: str | None = None


def prompt_frame(spec: ModelSpec, tokenizer: Any) -> PromptFrame:
    """The frame that the chat template of a checkpoint's tokenizer gives to the model's tasks.

    Raises:
        CheckpointError: there is no template, it is broken, does not end, or does not pass on what it is given.
        ConfigurationError: nothing can be rendered here.
    """
    source = f"{tokenizer.name_or_path}: the chat template"
    template = _template(tokenizer, source)
    turns = [msgspec.structs.asdict(message) for message in chat_messages(spec, Task())]
    turns[-1]["content"] = WORDS
    given = {**tokenizer.special_tokens_map, "messages": turns, "add_generation_prompt": True}
    given |= {"tools": None, "documents": None}
    variables = [given]
    if spec.prompt_style is PromptStyle.PLUS:
        variables.append({**given, "prefix_text": CONTINUED})
    rendered = _rendered(source, template, msgspec.json.encode(variables))
    before, after = _parted(source, rendered[0])
    if not rendered[-1].endswith(CONTINUED):  # the template knows no such thing: it is written behind
        return PromptFrame(before, after, before, after)
    return PromptFrame(before, after, *_parted(source, rendered[-1].removesuffix(CONTINUED)))


def _template(tokenizer: Any, source: str) -> str:
    if tokenizer.chat_template is None:
        raise CheckpointError(f"{tokenizer.name_or_path} has no chat template")
    template = str(tokenizer.get_chat_template())
    if len(template) > TEMPLATE_BYTES:
        raise CheckpointError(f"{source} is longer than {TEMPLATE_BYTES} characters")
    return template


def _parted(source: str, rendered: str) -> tuple[str, str]:
    before, words, after = rendered.partition(WORDS)
    if not words or AUDIO_TOKEN in before + after:
        raise CheckpointError(
            f"{source} does not write {AUDIO_TOKEN} and the words behind it once, as they are given"
        )
    return before, after


def _rendered(source: str, template: str, variables: bytes) -> tuple[str, ...]:
    try:
        return _render(template, variables)
    except CheckpointError as error:
        raise CheckpointError(f"{source} {error.message}") from error


@lru_cache(maxsize=8)
def _render(template: str, variables: bytes) -> tuple[str, ...]:
    """Once for a template, wherever it stands. What is raised says what it does, and not whose it is."""
    job = msgspec.json.encode(_Job(template, tuple(msgspec.json.decode(variables))))
    answer = msgspec.json.decode(_in_a_process(job), type=_Answer)
    if answer.error is not None:
        raise CheckpointError(f"cannot be rendered: {first_line(' '.join(answer.error.split()))}")
    return tuple(answer.rendered)


def _in_a_process(job: bytes) -> bytes:
    """What `rendering` answers. A signal ends it where the template takes too much; all else is no fault of the template."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(Path(rendering.__file__))],
            input=job,
            capture_output=True,
            timeout=CLOCK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"did not end within {CLOCK_SECONDS:.0f} s") from None
    except OSError as error:
        raise ConfigurationError(f"no process can be started to render chat templates: {error}") from error
    if done.returncode < 0:
        raise CheckpointError(f"takes more than {rendering.CPU_SECONDS} s to render, or too much memory")
    if done.returncode > 0:
        reason = first_line(done.stderr.decode(errors="replace").rstrip().rpartition("\n")[2])
        raise ConfigurationError(f"the process that renders chat templates failed: {reason}")
    return done.stdout
