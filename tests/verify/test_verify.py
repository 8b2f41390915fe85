"""A verification from end to end, of models that are well and that are not; without the comparison, which takes minutes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.transformers_backend.checkpoint import embedded_checkpoint
from lithophone.cli import main
from lithophone.errors import StartupError
from lithophone.verify.report import VerifyReport
from lithophone.verify.run import EXAMPLE, VerifyOptions, verify

CPU = DeviceWishes(device="cpu", dtype="float32")


Damage = Callable[[torch.Tensor], torch.Tensor]


def damaged(folder: Path, end: str, damage: Damage) -> Path:
    """A copy of the embedded model, under its name, with another tensor where the name has this end."""
    copy = Path(shutil.copytree(embedded_checkpoint(), folder / "granite-speech-tiny"))
    weights = load_file(copy / "model.safetensors")
    (name, *_) = (name for name in weights if name.endswith(end))
    weights[name] = damage(weights[name])
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    return copy


def verified(model: str, **options: object) -> VerifyReport:
    asked = VerifyOptions(model=model, wishes=CPU, quick=True, **options)  # type: ignore[arg-type]
    return verify(asked, lambda _: None, lambda _: None)


def failed(report: VerifyReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if check.passed is False}


def test_a_tensor_that_is_another_fails_by_what_is_heard(tmp_path: Path) -> None:
    report = verified(
        str(damaged(tmp_path, "embed_tokens.weight", lambda w: w.roll(1, 0))),
        audio=(EXAMPLE,),
        text=(EXAMPLE.with_suffix(".txt").read_text(),),
    )
    assert not report.passed
    assert "demo.flac: the words" in failed(report)


def test_a_tensor_that_is_no_number_fails_with_its_name(tmp_path: Path) -> None:
    report = verified(
        str(damaged(tmp_path, "down_proj.weight", lambda w: w * float("nan"))), audio=(EXAMPLE,)
    )
    assert "down_proj" in failed(report)["the server"]


def test_a_recording_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="there is no such file"):
        verified("granite-speech-tiny", audio=(tmp_path / "none.wav",))


def test_the_embedded_model_passes_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--quick", "--json", "--device", "cpu", "--dtype", "float32"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["demo.flac: the words"]["passed"]
    assert checks["demo.flac: words inside of the speech"]["detail"].startswith("100 %")
    assert checks["unload"]["passed"]


@pytest.mark.slow
def test_the_embedded_model_passes_beside_transformers_in_every_dtype(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["model"]["dtype"] for one in report["arithmetic"]] == ["float32", "bfloat16", "float16"]
    assert all(row["same_tokens"] == row["clips"] for row in report["arithmetic"][0]["rows"])
