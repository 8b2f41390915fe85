"""Which layer may import which: the direction of the data is the direction of the imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "server" / "lithophone"
LAYERS = (
    "audio",
    "granite",
    "hub",
    "backends",
    "worker",
    "hosts",
    "engine",
    "formats",
    "http",
    "transcribe",
    "doors",
)  # from the ground up
ANYWHERE = {"errors"}
BESIDE = {
    "bench": {"bench", "backends", "hub", "granite", "audio"},
    "verify": {"verify", "downloads", "bench", "engine", "backends", "hub", "granite", "audio"},
}  # commands of their own, with what they measure
FORMATS_KNOW = {  # what a transcript is, and nothing of where it comes from or goes to
    "lithophone.formats",
    "lithophone.engine.transcript",
    "lithophone.engine.segmentation",
    "lithophone.granite.words",
    "lithophone.granite.family",
    "msgspec",
}
PURE_LIBRARY = {"__future__", "collections", "enum", "itertools", "math", "types", "typing"}
MUST_NOT_KNOW = {  # docs/architecture.md, right column, as far as imports can tell
    "audio": {"litestar", "torch"},
    "granite": {"asyncio", "litestar", "psutil"},
    "hub": {"asyncio", "torch", "litestar", "lithophone.audio", "lithophone.granite"},
    "backends": {"asyncio", "queue", "litestar"},
    "worker": {"asyncio", "litestar", "torch", "subprocess", "socket"},
    "hosts": {"lithophone.audio", "torch", "litestar"},
    "engine": {"torch", "litestar", "lithophone.hosts.thread", "lithophone.hosts.process", "subprocess"},
    "formats": {"asyncio", "time", "litestar", "pathlib"},
    "http": {"torch", "subprocess", "imageio_ffmpeg", "lithophone.hosts.thread", "lithophone.hosts.process"},
    "doors": {"argparse", "torch", "litestar", "lithophone.hosts.thread", "lithophone.hosts.process"},
    "transcribe": {"argparse", "torch", "litestar", "lithophone.hosts.thread", "lithophone.hosts.process"},
}
TORCH_ROOMS = ("backends/", "bench/", "granite/features.py", "granite/packing.py", "doctor.py")
TORCH = {"torch", "transformers", "accelerate", "peft", "safetensors"}
WIRE = {"litestar", "uvicorn", "multipart"}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_downward(path: Path) -> None:
    where = path.relative_to(PACKAGE).as_posix()
    layer = where.split("/")[0]
    for module in imported_modules(path):
        root = module.split(".")[0]
        if root in TORCH:
            assert where.startswith(TORCH_ROOMS), f"{where} imports {module}"
        if root in WIRE:
            assert where.startswith("http/") or where in {"app.py", "door.py"}, f"{where} imports {module}"
        if root == "lithophone" and "." in module and layer in LAYERS:
            target = module.split(".")[1]
            below = {*LAYERS[: LAYERS.index(layer) + 1], *ANYWHERE}
            assert target in below or target == "__version__", f"{where} imports {module}"
        if root == "lithophone" and "." in module and layer in BESIDE:
            assert module.split(".")[1] in BESIDE[layer] | ANYWHERE, f"{where} imports {module}"


@pytest.mark.parametrize("layer", MUST_NOT_KNOW)
def test_a_layer_does_not_know_what_it_must_not(layer: str) -> None:
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        for module in imported_modules(path):
            assert not names_a_room_of(MUST_NOT_KNOW[layer], module), f"{path.name} imports {module}"


def names_a_room_of(rooms: set[str], module: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("path", sorted((PACKAGE / "formats").rglob("*.py")), ids=lambda path: path.name)
def test_formats_know_transcripts_alone(path: Path) -> None:
    for module in imported_modules(path):
        assert names_a_room_of(FORMATS_KNOW | PURE_LIBRARY, module), f"{path.name} imports {module}"


def test_only_the_app_and_the_command_line_read_settings() -> None:
    readers = {
        path.relative_to(PACKAGE).parts[0]
        for path in sources()
        if any(module.startswith("lithophone.settings") for module in imported_modules(path))
    }
    assert readers == {"app.py", "private_server.py", "model_hosts.py", "cli"}


def test_errors_import_nothing_of_lithophone() -> None:
    assert not [m for m in imported_modules(PACKAGE / "errors.py") if m.startswith("lithophone")]


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import lithophone_client", {"torch", "litestar", "lithophone", "transformers", "numpy"}),
        ("import lithophone.cli", {"torch", "litestar", "transformers"}),
        ("import lithophone.http.app, lithophone.hosts.supervised", {"torch", "transformers"}),
    ],
)
def test_an_import_stays_light(statement: str, unwanted: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    if "lithophone_client" not in statement:
        unwanted = unwanted - {"lithophone"}
    assert not loaded & unwanted
