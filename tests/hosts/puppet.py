"""Workers that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from lithophone.backends.fake import FakeBackend
from lithophone.worker.messages import Command, Event, Loaded, Recognise

LOADED = Loaded(FakeBackend().info, 0.1, 0.1)


def loaded_with(memory_bytes: int) -> Loaded:
    return msgspec.structs.replace(LOADED, memory_bytes=memory_bytes)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.005)


class Puppet:
    """Launches of one model."""

    def __init__(self) -> None:
        self.launched: list[PuppetCarrier] = []

    def __call__(
        self, on_event: Callable[[Event], None], on_end: Callable[[str], None], room_bytes: int | None
    ) -> PuppetCarrier:
        self.launched.append(PuppetCarrier(on_event, on_end, room_bytes))
        return self.launched[-1]

    @property
    def last(self) -> PuppetCarrier:
        return self.launched[-1]

    async def count(self, workers: int) -> PuppetCarrier:
        await until(lambda: len(self.launched) == workers)
        return self.last


class PuppetCarrier:
    def __init__(
        self, on_event: Callable[[Event], None], on_end: Callable[[str], None], room_bytes: int | None
    ) -> None:
        self.tell = on_event
        self.end = on_end
        self.room_bytes = room_bytes
        self.posted: list[Command] = []
        self.stopped = False
        self.may_end = asyncio.Event()
        self.may_end.set()

    def post(self, command: Command) -> None:
        self.posted.append(command)

    async def stop(self) -> bool:
        self.stopped = True
        await self.may_end.wait()
        return True

    @property
    def windows(self) -> list[Recognise]:
        return [command for command in self.posted if isinstance(command, Recognise)]
