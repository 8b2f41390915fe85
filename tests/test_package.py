"""The wheel: what is in it, and that it works where it alone is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lithophone.granite.family import FAMILY

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_BYTES = {"tiny": 16_000_000, "tiny-ctc": 6_000_000}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(target.glob("*.whl"))


def test_the_wheel_holds_both_packages_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "lithophone",
        "lithophone_client",
    }
    assert "lithophone_client/py.typed" in names
    assert "lithophone/py.typed" in names


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


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Unpacked away from the sources, with the dependencies of this environment."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import lithophone, lithophone_client, pathlib\n"
        "from lithophone.backends.transformers_backend.checkpoint import embedded_checkpoint, read_reference\n"
        "assert embedded_checkpoint().is_relative_to(pathlib.Path.cwd()), embedded_checkpoint()\n"
        "assert pathlib.Path(lithophone_client.__file__).is_relative_to(pathlib.Path.cwd())\n"
        "print(*[read_reference(name).path.name for name in ('granite-speech-tiny', 'granite-speech-tiny-ctc')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["tiny", "tiny-ctc"], done.stderr
