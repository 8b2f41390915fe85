from hypothesis import given
from hypothesis import strategies as st

from lithophone.worker.limit import GROWTH_WINDOWS, WindowLimit


@given(st.lists(st.integers(1, 64), min_size=1, max_size=10), st.integers(1, 64))
def test_the_limit_is_never_less_than_one_nor_more_than_the_backend_takes(
    faults: list[int], most: int
) -> None:
    limit = WindowLimit()
    assert limit.of(most) == most
    for running in faults:
        limit.lower(running)
        assert limit.of(most) == min(most, max(1, running // 2))


def test_it_grows_back_slowly_to_where_it_was() -> None:
    limit = WindowLimit()
    limit.lower(16)
    seen = []
    for _ in range(8 * GROWTH_WINDOWS):
        limit.went_well(16)
        seen.append(limit.of(16))
    assert seen[GROWTH_WINDOWS - 2 : GROWTH_WINDOWS] == [8, 9]
    assert seen[-1] == 16
    assert seen == sorted(seen)
