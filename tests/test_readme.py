"""The tables of the README and of docs/ are what the code says; `--update-golden` renews them."""

import contextlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lithophone import errors
from lithophone.settings import SettingField, read_settings, setting_fields

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


def limits_table() -> str:
    """Every setting that is a number and no wish about the machine or the address."""
    fields = [
        field
        for field in setting_fields()
        if type(field.default) in {int, float}
        and field.name not in {"port", "cpu_threads", "memory_budget_gb"}
    ]
    rows = [
        f"| `{field.flag}` | {field.default_text} | {field.description.split('; 0')[0]} | {zero(field)} |"
        for field in fields
    ]
    return "\n".join(["| limit | default | of what | 0 means |", "|---|---|---|---|", *rows])


def zero(field: SettingField) -> str:
    """What 0 means, as the description says it."""
    told = re.search(r"; 0:? (.*)", field.description)
    if told:
        return told[1]
    with contextlib.suppress(errors.ConfigurationError):
        read_settings({field.name: "0"}, {})
        return "none at all"
    return "refused"


@pytest.mark.parametrize(
    ("path", "name", "table"),
    [
        (ROOT / "docs" / "settings.md", "settings", settings_table),
        (ROOT / "docs" / "api.md", "errors", errors_table),
        (ROOT / "docs" / "limits.md", "limits", limits_table),
    ],
    ids=["settings", "errors", "limits"],
)
def test_a_table_is_what_the_code_says(
    path: Path, name: str, table: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    between = re.compile(rf"(?s)(<!-- {name} -->\n).*?(<!-- /{name} -->)")
    text = path.read_text()
    wanted = between.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)
    if request.config.getoption("--update-golden"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "pytest tests/test_readme.py --update-golden renews it"


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def names(requirements: Iterable[str]) -> list[str]:
    return [re.split(r"[^\w-]", line)[0].replace("_", "-") for line in requirements if line[:1].isalpha()]


@pytest.mark.parametrize(
    ("folder", "table"),
    [(ROOT, "| dependency | for |"), (ROOT / "clients", "| dependency of the client | for |")],
    ids=["server", "client"],
)
def test_every_dependency_has_its_reason_and_every_reason_its_dependency(folder: Path, table: str) -> None:
    rows = README.read_text().split(f"{table}\n|---|---|\n")[1].split("\n\n")[0]
    told = [name for row in rows.splitlines() for name in row.split("|")[1].strip().split(", ")]
    assert sorted(told) == sorted(names(project(folder)["dependencies"]))


def test_the_clients_that_work_are_those_that_are_pinned() -> None:
    """`make test-clients` writes the table."""
    folder = ROOT / "tests" / "clients"
    pinned = dict(
        line.split("==")
        for line in (folder / "requirements.txt").read_text().split("\n\n", maxsplit=1)[0].splitlines()
        if "==" in line
    )
    npm = json.loads((folder / "node" / "package.json").read_text())["dependencies"]
    pinned |= {f"npm:{name}": version for name, version in npm.items() if name != "@ai-sdk/openai"}
    table = README.read_text().split("<!-- clients -->\n")[1].split("<!-- /clients -->")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:3]] for row in table.splitlines()[2:]]
    assert dict(rows) == pinned


def test_every_dependency_is_pinned() -> None:
    server, client = project(ROOT), project(ROOT / "clients")
    wanted = {*names(server["dependencies"]), *names(client["dependencies"])}
    wanted |= {name for extra in server["optional-dependencies"].values() for name in names(extra)}
    wanted |= {*names((ROOT / "tests" / "client" / "requirements.txt").read_text().splitlines())}
    assert wanted - {*names((ROOT / "constraints.txt").read_text().splitlines())} == set()


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
