"""Renders a chat template; run by `chat_template` as a process of its own, which may take so much and no more.

A template is a program out of a checkpoint. jinja2's sandbox keeps it from Python; it does not keep it from running for
ever or from filling the memory, which limits of the process do. Reads a job as JSON from standard input and writes what
came of it to standard output. Imports nothing of Lithophone, so that it starts fast.

The environment is that of transformers' `_compile_jinja_template`, which is private and takes seconds to import.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

CPU_SECONDS = 2  # starting takes a tenth, a template of the family a thousandth
MEMORY_BYTES = 512 << 20
MOST_CHARACTERS = 100_000
"""Of a prompt without its audio; a published one has 500."""


class GenerationBlock(Extension):
    """`{% generation %}` marks what an assistant said, for training; it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - the name and type jinja2 asks for

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's body alone."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Dict:
    """`dict` without its class's attributes."""

    def __call__(self, *args: Any, **entries: Any) -> dict[Any, Any]:
        return dict(*args, **entries)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """`namespace` without attributes that Python itself would look for."""

    def __init__(*args: Any, **entries: Any) -> None:
        self, args = args[0], args[1:]
        named = dict(*args, **entries)
        for name in named:
            _refuse_private(name)
        Namespace.__init__(self, named)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace may not have {name!r}")


def environment() -> ImmutableSandboxedEnvironment:
    """What templates are written for."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = _strftime_now
    made.globals["dict"] = _Dict()
    made.globals["namespace"] = _Namespace
    return made


def render(template: str, variables: Sequence[dict[str, Any]]) -> list[str]:
    """The template with each set of variables.

    Raises:
        TemplateError: it is broken, wants what the sandbox forbids, or writes more than a prompt can be.
    """
    compiled = environment().from_string(template)
    rendered: list[str] = []
    for given in variables:
        parts: list[str] = []
        size = 0
        for part in compiled.generate(**given):
            parts.append(part)
            size += len(part)
            if size > MOST_CHARACTERS:
                raise TemplateError(f"it writes more than {MOST_CHARACTERS} characters")
        rendered.append("".join(parts))
    return rendered


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """jinja2's own escapes what HTML must not hold."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 - as transformers does, in local time


def _limit() -> None:
    try:
        import resource  # noqa: PLC0415 - not on Windows, where the caller's clock alone ends it
    except ImportError:
        return
    limits = {
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def main() -> None:
    """Answer the job with `rendered` or, in one line, the `error`."""
    job = json.load(sys.stdin)
    _limit()
    try:
        answer: dict[str, Any] = {"rendered": render(job["template"], job["variables"])}
    except Exception as error:  # noqa: BLE001 - whatever a template can bring about
        answer = {"error": f"{type(error).__name__}: {error}"[:MOST_CHARACTERS]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
