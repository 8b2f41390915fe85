from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.figures.growth import Costs, load_of, most_by_part, table

COSTS = Costs(
    pace=300.0,
    server_seconds=0.001,
    decoder_seconds=0.0005,
    controller_seconds=0.1,
    controller_replica_seconds=0.003,
    flight_seconds=1.0,
)


def test_a_cluster_asks_for_what_its_windows_cost() -> None:
    load = load_of(100, COSTS)
    assert (load.windows, load.servers, load.decoder_cores) == (1_000.0, 30, 15.0)
    assert load.controller == pytest.approx(0.4)
    assert load.network == pytest.approx(1_000 * 1_920_000 / 30 / 1.25e9)
    assert load.flying_bytes == pytest.approx(1.92e9)


@given(pace=st.floats(1.0, 5_000.0), server_seconds=st.floats(1e-6, 1e-2))
def test_a_part_is_full_one_replica_later(pace: float, server_seconds: float) -> None:
    costs = msgspec.structs.replace(COSTS, pace=pace, server_seconds=server_seconds)
    most = most_by_part(costs)["one server's own process"]
    assert most * pace * server_seconds <= 1.0 + 1e-9
    assert (most + 2) * pace * server_seconds > 1.0
    assert load_of(most + 2, costs).servers > 1


def test_the_table_says_what_is_full_first() -> None:
    assert list(table(COSTS))[-1] == (
        "full first: one server's own process at 3 replicas, then one server's network at 65 replicas, then the controller at 300 replicas"
    )
