"""Clips that are heard again and again while they grow: what is settled of them is not computed twice.

In the encoder a frame depends on what follows it through its own attention block, and a few frames further with each layer's
convolution. What stands at the end of whole blocks some way before the newest audio hardly changes any more: of the CTC
labels older than `SETTLED_FRAMES`, 0.1 % do. So their hidden states are kept, with the frames that each layer's convolution
reaches back to, and only what follows is computed.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lithophone.backends.base import Samples
from lithophone.granite.packing import PackedRows, places_of, sent, starts_of

SETTLED_FRAMES: Final = 100
"""Behind the newest audio, 2 s: nearer, what follows may still change what was heard."""

FRAME_SAMPLES: Final = 320


class Beginning(NamedTuple):
    """What is kept of a clip.

    Attributes:
        hidden: Last hidden states of its first frames, whole attention blocks, [frames, hidden]; None before there are any.
        edges: What each layer's convolution is given of the last of those, [reach, channels].
    """

    hidden: Tensor | None = None
    edges: tuple[Tensor, ...] = ()

    @property
    def frames(self) -> int:
        """How many are kept."""
        return 0 if self.hidden is None else len(self.hidden)

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return sum(tensor.nbytes for tensor in (self.hidden, *self.edges) if tensor is not None)


class Seam(NamedTuple):
    """Where one layer's convolution goes on from what was kept, and what of it is to be kept; see `Seams`."""

    before: Tensor | None
    before_places: Tensor
    kept_rows: Tensor
    kept: list[Tensor]

    def fill(self, gapped: Tensor) -> None:
        """Put what was kept in front of the clips: rows of [gapped frames, channels]."""
        if self.before is not None:
            gapped[self.before_places] = self.before

    def keep(self, gated: Tensor) -> None:
        """Note what the next pass goes on from: rows of [frames, channels]."""
        self.kept.append(gated[self.kept_rows])


class Seams:
    """Of one pass over what is new of some clips.

    Args:
        before: What is kept of each clip; None for one that does not grow.
        lengths: Frames of each clip, from its beginning.
        context: Frames of an attention block.
        reach: Frames that the convolution looks back.
        device: Where the pass is computed.

    Attributes:
        lengths: Frames of each clip that are new.
    """

    def __init__(
        self,
        before: Sequence[Beginning | None],
        lengths: Sequence[int],
        context: int,
        reach: int,
        device: torch.device,
    ) -> None:
        self._before = before
        self._reach = reach
        heard = np.array([0 if one is None else one.frames for one in before])
        whole = np.array(lengths)
        self.lengths: tuple[int, ...] = tuple((whole - heard).tolist())
        settled = np.maximum(whole - SETTLED_FRAMES, 0) // context * context
        grows = np.array([one is not None for one in before])
        self._settled = np.where(grows, np.maximum(settled, heard), heard)
        starts = starts_of(np.array(self.lengths))
        continued, further = np.flatnonzero(heard), np.flatnonzero(self._settled > heard)
        gap = self.gap
        places = starts[continued] + gap * (continued + 1) - reach
        rows = starts[further] + (self._settled - heard)[further] - reach
        self._continued, self._further = continued.tolist(), further.tolist()
        self._places, self._rows = sent(
            device,
            places_of(places, np.full(len(continued), reach)),
            places_of(rows, np.full(len(further), reach)),
        )
        self._kept: list[list[Tensor]] = []

    @property
    def gap(self) -> int:
        """Rows between clips: a clip's zeros behind it are no other clip's beginning."""
        return 2 * self._reach

    def next_layer(self) -> Seam:
        """Of the layers in their order."""
        layer = len(self._kept)
        edges = [one.edges[layer] for one in self._before if one is not None and one.frames]
        self._kept.append([])
        return Seam(torch.cat(edges) if edges else None, self._places, self._rows, self._kept[-1])

    def new_rows(self, features: PackedRows) -> Tensor:
        """What is new of the features of all clips."""
        parts = zip(features.split(), self.lengths, strict=True)
        return torch.cat([clip[len(clip) - length :] for clip, length in parts])

    def whole(self, new: Tensor) -> PackedRows:
        """Hidden states of whole clips, from those that are new."""
        clips: list[Tensor] = []
        for one, part in zip(self._before, PackedRows(new, self.lengths).split(), strict=True):
            clips.append(part if one is None or one.hidden is None else torch.cat([one.hidden, part]))
        return PackedRows(torch.cat(clips), tuple(map(len, clips)))

    def beginnings(self, whole: PackedRows) -> list[Beginning | None]:
        """What is to be kept of each clip now."""
        kept = list(self._before)
        layers = [layer[0].split(self._reach) for layer in self._kept] if self._further else []
        for place, clip in enumerate(self._further):
            hidden = whole.split()[clip][: int(self._settled[clip])].clone()
            kept[clip] = Beginning(hidden, tuple(layer[place].clone() for layer in layers))
        return kept


class _Kept(NamedTuple):
    beginning: Beginning
    digest: int

    def begins(self, samples: Samples) -> bool:
        """Whether these go on from what is kept, by a frame at least."""
        longer = len(samples) > (self.beginning.frames + 1) * FRAME_SAMPLES
        return longer and self.digest == _digest(samples, self.beginning)


class Beginnings:
    """Of the clips that were heard last, by their keys.

    Args:
        most_bytes: All that is kept takes no more.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Memory that all of them take."""
        return sum(kept.beginning.bytes for kept in self._kept.values())

    def of(self, key: str | None, samples: Samples) -> Beginning | None:
        """What is kept of a clip: nothing yet if it is new or begins otherwise now; None for a clip without a key."""
        if key is None:
            return None
        kept = self._kept.get(key)
        if kept is None or not kept.begins(samples):
            return Beginning()
        self._kept.move_to_end(key)
        return kept.beginning

    def keep(self, key: str, samples: Samples, beginning: Beginning) -> None:
        """Keep it for the next time; what was heard longest ago makes room."""
        self._kept[key] = _Kept(beginning, _digest(samples, beginning))
        self._kept.move_to_end(key)
        while self.bytes > self._most_bytes:
            self._kept.popitem(last=False)

    def forget(self, key: str) -> None:
        """Give back what is kept of a clip, if anything is: nobody will hear more of it."""
        self._kept.pop(key, None)


def _digest(samples: Samples, beginning: Beginning) -> int:
    """Of the samples behind the frames that are kept; a frame of the encoder is 20 ms."""
    return zlib.crc32(np.ascontiguousarray(samples[: beginning.frames * FRAME_SAMPLES]).data)
