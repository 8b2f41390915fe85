"""The package as others see it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import lithophone_client
from lithophone_client import AsyncLithophone, AsyncTranscriptionStream, Lithophone, TranscriptionStream
from lithophone_client._api import Api


def test_all_names_everything_public_and_nothing_else() -> None:
    public = {name for name, value in vars(lithophone_client).items() if not inspect.ismodule(value)}
    public = {name for name in public if not name.startswith("_")} - {"annotations"}
    assert sorted(public) == lithophone_client.__all__


def test_its_types_are_for_others_to_check_against() -> None:
    assert files(lithophone_client).joinpath("py.typed").is_file()


def test_importing_it_loads_nothing_of_the_server() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, lithophone_client; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "lithophone_client" in loaded
    assert not {"lithophone", "torch", "transformers", "litestar", "numpy"}.intersection(loaded)


@pytest.mark.parametrize(
    ("sync", "asynchronous"),
    [(Lithophone, AsyncLithophone), (TranscriptionStream, AsyncTranscriptionStream)],
)
def test_both_clients_offer_the_same_and_say_so_in_the_same_words(sync: type, asynchronous: type) -> None:
    assert public_methods(sync, {}) == public_methods(asynchronous, {"aclose": "close"})


def test_the_core_knows_every_method_by_its_name() -> None:
    assert public_methods(Api, {}).keys() == public_methods(Lithophone, {}).keys() - {"close"}


def public_methods(client: type, renamed: dict[str, str]) -> dict[str, tuple[str | None, list[str]]]:
    """Documentation and parameters."""
    methods = {name: value for name, value in vars(client).items() if inspect.isfunction(value)}
    return {
        renamed.get(name, name): (
            method.__doc__,
            [str(parameter) for parameter in inspect.signature(method).parameters.values()],
        )
        for name, method in methods.items()
        if not name.startswith("_")
    }
