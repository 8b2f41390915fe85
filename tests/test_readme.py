"""The README's tables are what the code says; `--update-golden` renews them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lithophone import errors
from lithophone.settings import SettingField, setting_fields

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def settings_table() -> str:
    rows = [
        f"| `{field.flag}` | `{field.variable}` | {field.default_text or 'none'} | {describe(field)} |"
        for field in setting_fields()
    ]
    return "\n".join(["| flag | variable | default | what |", "|---|---|---|---|", *rows])


def describe(field: SettingField) -> str:
    choices = f" ({', '.join(f'`{choice}`' for choice in field.choices)})" if field.choices else ""
    return field.description + choices


def service_errors(root: type[errors.ServiceError] = errors.ServiceError) -> list[type[errors.ServiceError]]:
    return [kind for sub in root.__subclasses__() for kind in (sub, *service_errors(sub))]


def errors_table() -> str:
    rows = [
        f"| {kind.status} | `{kind.type}` | {code(kind)} | {(kind.__doc__ or '').splitlines()[0]} |"
        for kind in sorted(service_errors(), key=lambda kind: kind.status)
        if kind.status != 499  # the client left: nobody reads it
    ]
    return "\n".join(["| status | type | code | when |", "|---|---|---|---|", *rows])


def code(kind: type[errors.ServiceError]) -> str:
    return f"`{kind.code}`" if kind.code else "null"


@pytest.mark.parametrize(
    ("name", "table"), [("settings", settings_table), ("errors", errors_table)], ids=["settings", "errors"]
)
def test_a_table_is_what_the_code_says(
    name: str, table: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    between = re.compile(rf"(?s)(<!-- {name} -->\n).*?(<!-- /{name} -->)")
    text = README.read_text()
    wanted = between.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)
    if request.config.getoption("--update-golden"):
        README.write_text(wanted)
    assert README.read_text() == wanted, "pytest tests/test_readme.py --update-golden renews it"


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    runtime = re.search(r"(?s)\ndependencies = \[(.*?)\n\]", project)
    assert runtime is not None
    names = re.findall(r'^    "([a-z0-9_-]+)', runtime[1], re.MULTILINE)
    table = README.read_text().split("| dependency | for |")[1].split("\n## ")[0]
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", table)] == []


def test_every_dependency_is_pinned() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    names = re.findall(r'^    "([a-z0-9_-]+)[\[>]', project, re.MULTILINE)
    assert [
        name for name in names if name.replace("_", "-") not in {pin.replace("_", "-") for pin in pinned}
    ] == []


def test_nothing_names_a_place_of_one_machine() -> None:
    local = re.compile(r"(?<![\w.])/(?:work|root|opt)/|pypi\.org|files\.pythonhosted|registry\.npmjs")
    sources = [
        path
        for folder in ("server", "clients", "examples", "tests", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".toml", ".sh", ".json", ".mjs"} and "node_modules" not in path.parts
    ]
    named = [
        path.name
        for path in [*sources, README, ROOT / "Makefile", ROOT / "Containerfile"]
        if path != Path(__file__) and local.search(path.read_text(errors="replace"))
    ]
    assert named == []
