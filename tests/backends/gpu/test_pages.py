"""Pages of the pool: none is anybody's twice, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.gpu.pages import NOBODYS_PAGE, PAGE_POSITIONS, PageTable

PAGES, SLOTS, SLOT_PAGES = 12, 4, 5

events = st.lists(
    st.one_of(
        st.integers(1, SLOT_PAGES * PAGE_POSITIONS).map(lambda n: ("join", n)),
        st.integers(0, SLOTS - 1).map(lambda n: ("leave", n)),
    ),
    max_size=60,
)


@given(events)
def test_no_page_is_shared_and_none_is_lost(happened: list[tuple[str, int]]) -> None:
    table = PageTable(PAGES, SLOTS, SLOT_PAGES)
    wanted: dict[int, int] = {}
    for what, number in happened:
        if what == "join":
            pages = -(-number // PAGE_POSITIONS)
            slot = table.join(number)
            has_room = len(wanted) < SLOTS and sum(wanted.values()) + pages < PAGES
            assert (slot is not None) == has_room
            if slot is not None:
                wanted[slot] = pages
        elif number in wanted:
            table.leave(number)
            del wanted[number]
        taken = [int(page) for slot, pages in wanted.items() for page in table.table[slot, :pages]]
        assert len(set(taken)) == len(taken) == sum(wanted.values())
        assert NOBODYS_PAGE not in taken
        assert table.free_pages == PAGES - 1 - len(taken)
        assert set(table.table[table.padding_slot]) == {NOBODYS_PAGE}


def test_a_sequence_that_could_never_fit_is_refused() -> None:
    table = PageTable(PAGES, SLOTS, SLOT_PAGES)
    with pytest.raises(ValueError, match="longer than any"):
        table.join(SLOT_PAGES * PAGE_POSITIONS + 1)
    with pytest.raises(ValueError, match="has to fit"):
        PageTable(SLOT_PAGES, SLOTS, SLOT_PAGES)
