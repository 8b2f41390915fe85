"""What becomes of the errors that libraries raise while they read a checkpoint.

Owns the one place where an exception of transformers, safetensors, tokenizers, peft or jinja2 turns into a line for a
person. Any kind may come from a damaged file: besides ValueError and OSError, TypeError, KeyError, IndexError,
RecursionError and more, and the panics of libraries written in Rust, which derive from BaseException alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from lithophone.backends.base import Fault
from lithophone.errors import CheckpointError, DoesNotFitError, StartupError

log = structlog.get_logger(__name__)

MOST_CHARACTERS: Final = 300
"""Of a library's own words; some print whole tables."""


@contextmanager
def refuse_unusable(name: str) -> Iterator[None]:
    """Around what is done with a checkpoint before it serves; `name` is its folder or model id.

    Raises:
        CheckpointError: something in it cannot be used; says which error that was, in one line.
        DoesNotFitError: memory ran out.
    """
    try:
        yield
    except (StartupError, ImportError):
        raise  # the first says it better, the second is no fault of the checkpoint
    except Exception as error:
        if _meaning(error) is Fault.DEVICE_LOST:
            raise
        raise _refusal(name, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's, which cannot be imported
            raise
        raise _refusal(name, error) from error


def _meaning(error: BaseException) -> Fault:
    from lithophone.backends.device.runtime import TorchRuntime  # noqa: PLC0415 - torch takes seconds to import

    return TorchRuntime().judge(error) if isinstance(error, Exception) else Fault.WINDOW


def _refusal(name: str, error: BaseException) -> StartupError:
    log.debug("checkpoint_refused", model=name, exc_info=error)
    if _meaning(error) is Fault.OUT_OF_MEMORY:
        return DoesNotFitError(f"{name} does not fit: memory ran out while it was loaded")
    return CheckpointError(f"{name} cannot be used: {type(error).__name__}: {first_line(error)}")


def first_line(words: object) -> str:
    """The words of an error, or of a file, that fit in one line and do nothing to a terminal."""
    lines = [line.strip() for line in str(words).splitlines() if line.strip()]
    shown = lines[0][:MOST_CHARACTERS] if lines else "no reason given"
    return "".join(character if character.isprintable() else "?" for character in shown)
