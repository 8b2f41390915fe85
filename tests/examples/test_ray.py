"""What is in examples/ray and its page: every flag exists, and the script is one. tests/on_ray.py runs such a cluster."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from lithophone.settings import read_settings, setting_fields

ROOT = Path(__file__).resolve().parents[2]
RAY = ROOT / "examples" / "ray"
FLAGS = {field.flag for field in setting_fields()}


def test_the_manifests_server_has_settings_that_go_together() -> None:
    arguments = re.findall(r"^ +- --([a-z-]+)=(\S+)$", (RAY / "kubernetes.yaml").read_text(), re.MULTILINE)
    settings = read_settings({name.replace("-", "_"): value for name, value in arguments}, {})
    assert {f"--{name}" for name, _ in arguments} <= FLAGS
    assert (settings.hosts, settings.ray_address) == ("ray", "auto")
    assert settings.ray_min_replicas <= settings.ray_max_replicas


def test_every_flag_in_the_page_exists() -> None:
    page = re.sub(r"\|[-|]+\|", "", (ROOT / "docs" / "ray.md").read_text())
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= FLAGS | {"--share"}  # of `transcribe`


def test_the_local_cluster_is_a_script() -> None:
    done = subprocess.run(
        ["/bin/bash", "-n", str(RAY / "local.sh")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"--ray-[a-z-]+|--hosts", (RAY / "local.sh").read_text())) <= FLAGS
