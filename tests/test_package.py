"""The two wheels, the server's and the client's: what is in them, and that each works where it alone is installed."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import lithophone_client
from lithophone.granite.family import FAMILY

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "clients" / "lithophone_client"
EMBEDDED_BYTES = {"tiny": 16_000_000, "tiny-ctc": 6_000_000}


def build(project: Path, target: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target)]
    subprocess.run([*pip, str(project)], check=True, capture_output=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "clients", tmp_path_factory.mktemp("client-wheel"))


def metadata(wheel: Path) -> PathDistribution:
    folder = next(path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
    return PathDistribution(folder)


def test_the_wheel_holds_the_server_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"lithophone"}
    assert "lithophone/py.typed" in names
    assert not {"httpx", "lithophone-client"} & {
        re.split(r"[^\w-]", needed)[0] for needed in metadata(wheel).requires or () if "extra" not in needed
    }


def test_the_clients_wheel_holds_the_client_alone(client_wheel: Path) -> None:
    sources = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = [name for name in zipfile.ZipFile(client_wheel).namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(str(path.relative_to(PACKAGE.parent)) for path in sources)
    assert "lithophone_client/py.typed" in names


def test_the_clients_wheel_needs_httpx_and_msgspec_alone(client_wheel: Path) -> None:
    found = metadata(client_wheel)
    assert (found.name, found.version) == ("lithophone-client", lithophone_client.__version__)
    assert [needed for needed in found.requires or () if "extra" not in needed] == [
        "httpx<1,>=0.28",
        "msgspec<1,>=0.22",
    ]
    assert found.read_text("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert "pip install lithophone-client" in (found.read_text("METADATA") or "")


def test_the_wheel_holds_the_embedded_models_and_they_are_small(wheel: Path) -> None:
    assert EMBEDDED_BYTES.keys() == {spec.embedded for spec in FAMILY.values() if spec.demonstration}
    files = zipfile.ZipFile(wheel).infolist()
    for folder, limit in EMBEDDED_BYTES.items():
        prefix = f"lithophone/checkpoints/{folder}/"
        sizes = {
            file.filename.removeprefix(prefix): file.file_size for file in files if prefix in file.filename
        }
        assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= sizes.keys()
        assert sum(sizes.values()) <= limit


def test_the_wheel_holds_the_built_page_and_its_licences_but_not_its_sources(wheel: Path) -> None:
    built = ROOT / "server" / "lithophone" / "page"
    kept = {f"lithophone/page/{path.relative_to(built)}" for path in built.rglob("*") if path.is_file()}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if name.startswith("lithophone/page/")} == kept
    assert "lithophone/page/index.html" in kept
    licences = (built / "LICENCES.txt").read_text()
    assert metadata(wheel).read_text("licenses/server/lithophone/page/LICENCES.txt") == licences
    assert all(f"{library} " in licences for library in ("preact", "wavesurfer.js", "mediabunny", "idb"))


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Unpacked away from the sources, with the dependencies of this environment."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import lithophone, pathlib\n"
        "from lithophone.backends.transformers_backend.checkpoint import embedded_checkpoint, read_reference\n"
        "assert embedded_checkpoint().is_relative_to(pathlib.Path.cwd()), embedded_checkpoint()\n"
        "print(*[read_reference(name).path.name for name in ('granite-speech-tiny', 'granite-speech-tiny-ctc')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["tiny", "tiny-ctc"], done.stderr
