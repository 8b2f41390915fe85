"""`lithophone serve --install-service`: a systemd user unit, which starts the server with the session.

Owns the unit's text and where it goes. Settings that are not the default become its environment, so that no key stands in
a command line that others can read.
Sources: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import msgspec

from lithophone.cli.command import EXIT_DONE
from lithophone.errors import ConfigurationError
from lithophone.settings import Settings, setting_fields

UNIT_NAME = "lithophone.service"
EXIT_NOT_WANTED = 1
WATCHDOG_SECONDS = 60
"""A server that says nothing for so long hangs, and is started anew. It says nothing before it is ready, which takes as long as
the download of the model."""


def unit_text(settings: Settings, python: str) -> str:
    """The unit that serves with these settings."""
    environment = [
        f"Environment={_quoted(f'{name}={value}')}" for name, value in _environment(settings).items()
    ]
    return "\n".join(
        [
            "[Unit]",
            "Description=Lithophone, speech to text",
            "After=network.target",
            "",
            "[Service]",
            "Type=notify",
            f"WatchdogSec={WATCHDOG_SECONDS}",
            "TimeoutStartSec=infinity",
            f"ExecStart={_quoted(python)} -m lithophone serve",
            *environment,
            "NoNewPrivileges=yes",
            "Restart=on-failure",
            "RestartPreventExitStatus=2",
            f"TimeoutStopSec={settings.shutdown_grace_seconds + 15}",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Variables of the settings that are not the default; folders by their whole path, since a service starts elsewhere."""
    values: dict[str, object] = msgspec.structs.asdict(settings)
    values["model"] = tuple(_whole_path(name) for name in settings.model)
    return {
        field.variable: _text(values[field.name])
        for field in setting_fields()
        if values[field.name] != field.default
    }


def _whole_path(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _text(value: object) -> str:
    """A value as its variable has it."""
    if isinstance(value, tuple):
        return ",".join(str(part) for part in cast("tuple[object, ...]", value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """A word as units have it: in quotes, with what means something to systemd escaped."""
    if "\n" in text:
        raise ConfigurationError(f"a unit cannot hold a line end: {text!r}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def unit_path(environment: Mapping[str, str]) -> Path:
    """Where the units of a user lie."""
    home = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "systemd" / "user" / UNIT_NAME


def install(settings: Settings, *, agreed: Callable[[], bool]) -> int:
    """Show the unit, and write it if that is wanted.

    Raises:
        ConfigurationError: it cannot be written.
    """
    path, text = unit_path(os.environ), unit_text(settings, sys.executable)
    print(f"# {path}\n{text}", flush=True)
    if not agreed():
        print("Nothing was written.", file=sys.stderr)
        return EXIT_NOT_WANTED
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None
    print("Written. Start it, now and with every session:")
    print(f"  systemctl --user daemon-reload && systemctl --user enable --now {UNIT_NAME}")
    print("Let it run without a session: loginctl enable-linger. Its log: journalctl --user -u lithophone")
    return EXIT_DONE


def ask() -> bool:
    """Whether somebody at the terminal agrees; nobody there does not."""
    if not sys.stdin.isatty():
        print("To write it from a script, say --yes.", file=sys.stderr)
        return False
    return input("Write this unit? [y/N] ").strip().lower() in {"y", "yes"}
