"""Which pages of the pool of keys and values belong to which sequence. Pure: knows no torch.

The pool is allocated once. A sequence is given all the pages it may ever need when it joins, so that nothing runs out in the
middle, nothing is moved and nothing is copied; what does not fit waits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

PAGE_POSITIONS: Final = 64
NOBODYS_PAGE: Final = 0
"""Where the padding of a step writes its keys and values; nobody reads them."""


class PageTable:
    """Slots and their pages.

    Args:
        pages: In the pool, with nobody's.
        slots: Sequences at a time.
        slot_pages: The most of one sequence.

    Attributes:
        table: int32 [slots + 1, slot_pages]: in row `slot` the pages of its positions, in order; the last row is of padding.
        changes: How often the table has changed.
    """

    def __init__(self, pages: int, slots: int, slot_pages: int) -> None:
        if pages <= slot_pages:
            raise ValueError("the longest sequence has to fit into the pool")
        self.table: NDArray[np.int32] = np.full((slots + 1, slot_pages), NOBODYS_PAGE, dtype=np.int32)
        self.changes = 0
        self._free_pages = list(range(pages - 1, NOBODYS_PAGE, -1))
        self._free_slots = list(range(slots - 1, -1, -1))
        self._taken: dict[int, list[int]] = {}

    @property
    def padding_slot(self) -> int:
        """The row of padding."""
        return len(self.table) - 1

    @property
    def free_pages(self) -> int:
        """Pages nobody has."""
        return len(self._free_pages)

    def join(self, positions: int) -> int | None:
        """A slot with pages for so many positions; None while there are too few.

        Raises:
            ValueError: there can never be so many.
        """
        wanted = -(-positions // PAGE_POSITIONS)
        if wanted > self.table.shape[1]:
            raise ValueError(f"a sequence of {positions} positions is longer than any may be")
        if not self._free_slots or wanted > len(self._free_pages):
            return None
        slot = self._free_slots.pop()
        pages = [self._free_pages.pop() for _ in range(wanted)]
        self._taken[slot] = pages
        self.table[slot, :wanted] = pages
        self.table[slot, wanted:] = NOBODYS_PAGE
        self.changes += 1
        return slot

    def leave(self, slot: int) -> None:
        """Give a slot and its pages back."""
        self._free_pages += reversed(self._taken.pop(slot))
        self._free_slots.append(slot)
