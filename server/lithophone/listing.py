"""`lithophone models`: the family, what of it is on this machine, what fits, what each member can do."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.memory.table import FitRow, family_fit_table
from lithophone.doctor import fit_words
from lithophone.granite.family import FAMILY, ModelSpec
from lithophone.hub.cache import Repository, find_snapshot, lacks
from lithophone.pulling import folder_bytes

EXIT_DONE = 0
PAGE_WIDTH = 120
SHOWN_DIGITS = 8  # of a commit


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache has of a model; `lacks` is the first file that is missing."""

    revision: str
    size_bytes: int
    lacks: str | None


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the family, seen from this machine. `embedded` ones come with the package."""

    id: str
    hub_id: str | None
    license: str
    languages: tuple[str, ...]
    abilities: tuple[str, ...]
    embedded: bool
    cached: Cached | None
    fit: FitRow


def run(wishes: DeviceWishes, *, as_json: bool) -> int:
    """Print the list; returns the exit code."""
    models = tuple(list_models(family_fit_table(read_torch_facts(), wishes)))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(models), indent=2).decode() + "\n")
    else:
        console = Console()
        (console if console.is_terminal else Console(width=PAGE_WIDTH)).print(render(models))
    return EXIT_DONE


def list_models(fits: tuple[FitRow, ...]) -> Iterator[ListedModel]:
    """Every member, by the rows that say where it fits."""
    for fit in fits:
        spec = FAMILY[fit.model_id]
        yield ListedModel(
            id=spec.id,
            hub_id=spec.hub_id,
            license=spec.license,
            languages=spec.speech_languages,
            abilities=tuple(abilities(spec)),
            embedded=spec.demonstration,
            cached=None if spec.hub_id is None else cached(spec.hub_id),
            fit=fit,
        )


def cached(hub_id: str) -> Cached | None:
    """What the cache has of a repository; None for nothing."""
    snapshot = find_snapshot(Repository(hub_id))
    if snapshot is None:
        return None
    return Cached(revision=snapshot.commit, size_bytes=folder_bytes(snapshot.path), lacks=lacks(snapshot))


def abilities(spec: ModelSpec) -> Iterator[str]:
    """What a model can do beside transcribing, in a word each."""
    told = {
        "punctuation": spec.punctuates,
        "keywords": spec.keywords,
        "speakers": spec.speakers,
        "own word times": spec.word_times,
        f"translates into {' '.join(spec.translation_targets)}": bool(spec.translations),
    }
    yield from (word for word, able in told.items() if able)


def render(models: tuple[ListedModel, ...]) -> Table:
    """The list as a table."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Model", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    table.add_column("hears", overflow="fold")
    table.add_column("can", overflow="fold")
    table.add_column("licence", no_wrap=True)
    for one in models:
        can = ", ".join(one.abilities) or "-"
        table.add_row(one.id, _here(one), fit_words(one.fit), " ".join(one.languages), can, one.license)
    return table


def _here(model: ListedModel) -> Text:
    if model.embedded:
        return Text("in the package", "green")
    found = model.cached
    if found is None:
        return Text("no", "dim")
    size = f"{found.size_bytes / 1e9:.1f} GB {found.revision[:SHOWN_DIGITS]}"
    return Text(size, "green") if found.lacks is None else Text(f"in part, {size}", "yellow")
