"""How far a cluster grows before something other than its replicas is full: arithmetic alone, from costs that were measured.

`python -m tests.figures.ray growth` measures the costs and prints this. What is not in it: a network that is shared with others,
and anything that does not grow in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec

WINDOW_SECONDS: Final = 30.0
WINDOW_BYTES: Final = 30 * 16_000 * 4  # float32
NETWORK_BYTES: Final = 1.25e9  # a second, at 10 Gbit/s
REPLICAS: Final = (1, 10, 100, 1_000)


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        pace: Audio seconds in a second that a replica hears (`lithophone bench`).
        server_seconds: Processor time of a server's own process for a second of audio: cutting, and calls of replicas.
        decoder_seconds: The same of its decoders, which are processes of their own.
        controller_seconds: Processor time of Ray Serve's controller in a second, without any replica.
        controller_replica_seconds: What each replica adds to it.
        flight_seconds: From a window's being sent to its answer.
    """

    pace: float
    server_seconds: float
    decoder_seconds: float
    controller_seconds: float
    controller_replica_seconds: float
    flight_seconds: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster all of whose replicas are busy.

    Attributes:
        replicas: How many.
        windows: In a second.
        servers: Of one core each for their own process, so that none is full.
        decoder_cores: Beside those.
        controller: How much of one core its controller takes, which has no second one.
        network: How much of 10 Gbit/s each server's machine sends.
        flying_bytes: Windows under way, in the memory of all servers; none is in an object store.
    """

    replicas: int
    windows: float
    servers: int
    decoder_cores: float
    controller: float
    network: float
    flying_bytes: float


def load_of(replicas: int, costs: Costs) -> Load:
    """What such a cluster asks of the rest."""
    audio_seconds = replicas * costs.pace
    windows = audio_seconds / WINDOW_SECONDS
    servers = max(1, math.ceil(audio_seconds * costs.server_seconds))
    return Load(
        replicas=replicas,
        windows=windows,
        servers=servers,
        decoder_cores=audio_seconds * costs.decoder_seconds,
        controller=costs.controller_seconds + replicas * costs.controller_replica_seconds,
        network=windows * WINDOW_BYTES / servers / NETWORK_BYTES,
        flying_bytes=windows * costs.flight_seconds * WINDOW_BYTES,
    )


def most_by_part(costs: Costs) -> dict[str, int]:
    """Replicas at which each part is full, where there is one of it."""
    network_seconds = WINDOW_BYTES / WINDOW_SECONDS / NETWORK_BYTES
    return {
        "one server's own process": math.floor(1 / (costs.pace * costs.server_seconds)),
        "one server's network": math.floor(1 / (costs.pace * network_seconds)),
        "the controller": math.floor((1 - costs.controller_seconds) / costs.controller_replica_seconds),
    }


def table(costs: Costs) -> Iterator[str]:
    """Lines for a page."""
    yield "| replicas | windows/s | servers | cores for decoding | controller | network of a server | windows under way |"
    yield "|---|---|---|---|---|---|---|"
    for load in (load_of(replicas, costs) for replicas in REPLICAS):
        yield (
            f"| {load.replicas:,} | {load.windows:,.0f} | {load.servers:,} | {load.decoder_cores:,.1f} | {load.controller:.0%} | "
            f"{load.network:.1%} | {load.flying_bytes / 1e9:,.2f} GB |"
        )
    most = sorted(most_by_part(costs).items(), key=lambda pair: pair[1])
    yield "full first: " + ", then ".join(f"{part} at {replicas:,} replicas" for part, replicas in most)
