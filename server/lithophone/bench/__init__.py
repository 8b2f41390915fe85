"""`lithophone bench`: how fast a model is on this machine, beside transformers' own `generate` in the same run.

Here is what can be asked of it; the command line reads it at once, so that nothing here may import torch.
"""

from __future__ import annotations

import msgspec

from lithophone.backends.device.plan import DeviceWishes


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        model: As for the server.
        wishes: As for the server.
        revision: As for the server.
        audio: Files and folders; without any, speech that comes with the package.
        clips: Take only so many of them.
        batches: Batch sizes; none: those that memory allows.
        seconds: Length that the package's speech is joined to, and the most that is taken of a file; None: what the model
            hears at once, up to 30 s.
        tokens: With random weights, tokens of each transcript; with a checkpoint, the most.
        repeats: How often everything is run.
        accuracies: Of simulated drafts; None: the stated ones with random weights, none with a checkpoint.
        random_weights: Even where there are others.
        roofline: Measure the machine's limits and what the model's parts reach of them.
        command: As it was typed, for the report.
    """

    model: str
    wishes: DeviceWishes = DeviceWishes()
    revision: str = "main"
    audio: tuple[str, ...] = ()
    clips: int | None = None
    batches: tuple[int, ...] = ()
    seconds: float | None = None
    tokens: int | None = None
    repeats: int = 3
    accuracies: tuple[float, ...] | None = None
    random_weights: bool = False
    roofline: bool = True
    command: str = "lithophone bench"
