"""What can be set from outside, and where it is read from.

Each setting is an environment variable `LITHOPHONE_NAME` and a flag `--name` of the same name; the flag wins. Lists are
separated by commas. Only the command line and the app know this module.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard

import msgspec
from msgspec import Meta

from lithophone.backends.device.plan import DeviceWishes
from lithophone.errors import ConfigurationError

PREFIX = "LITHOPHONE_"
CLIENT_VARIABLES = frozenset(
    {"LITHOPHONE_URL", "LITHOPHONE_API_KEY"}
)  # set for client programs on the same machine
MIB = 1024 * 1024
DOORS = frozenset(("api_keys", "api_keys_file"))
"""Blank, they are refused rather than taken for unset: whoever set them did not mean to leave the door open."""

_INJECTED = re.compile(
    r"""LITHOPHONE_(?:\w+_)?  # a Service or container whose name begins with lithophone
    (?: SERVICE_HOST=\S+
      | SERVICE_PORT(?:_\w+)?=\d+
      | PORT(?:_\d+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://\S+:\d+
      | PORT_\d+_(?:TCP|UDP|SCTP)_(?:ADDR=\S+|PORT=\d+|PROTO=\w+)
      | NAME=/\S+/\S+
      | ENV_\w+=.*
    )""",
    re.VERBOSE | re.DOTALL,
)
"""Variables, `name=value`, that Kubernetes sets in every container for each Service, and Docker for each linked container.

Sources: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables and
https://docs.docker.com/engine/network/links/#environment-variables.
"""


def _doc(text: str, **limits: Any) -> Meta:
    return Meta(description=text, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its default. Descriptions are shown by `--help` and in docs/settings.md."""

    model: Annotated[
        tuple[str, ...],
        _doc(
            "models to serve, each an id of the family, a hub id, or a folder with a checkpoint; the first is the default, "
            "the others are loaded when they are asked for"
        ),
    ] = ("granite-speech-tiny",)
    revision: Annotated[
        str, _doc("branch, tag or commit of the model on the hub; a commit never changes")
    ] = "main"
    alias: Annotated[
        tuple[str, ...], _doc("more names for models, as NAME=MODEL (whisper-small=granite-speech-3.3-2b)")
    ] = ()
    memory_budget_gb: Annotated[
        float,
        _doc("memory that all models may take together, in GB; 0 leaves that to what is free", ge=0),
    ] = 0.0
    device: Annotated[Literal["auto", "cpu", "cuda", "rocm"], _doc("what to run on")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"], _doc("number format of weights and arithmetic")
    ] = "auto"
    quantization: Annotated[
        Literal["none", "int8", "int4"],
        _doc("on a CPU, 8 or 4 bits for each weight: faster, less memory, slightly more errors"),
    ] = "none"
    graphs: Annotated[
        Literal["auto", "off"],
        _doc("on a GPU, auto captures decoding steps as graphs at warm-up: faster, for some memory"),
    ] = "auto"
    cpu_offload: Annotated[
        bool, _doc("let layers that do not fit on the GPU stay in system memory (slow)")
    ] = False
    max_batch: Annotated[
        int, _doc("windows a model takes at a time; 0 takes as many as memory holds", ge=0)
    ] = 0
    word_times: Annotated[
        Literal["aligned", "native"],
        _doc("where word times come from: alignment with the audio, or the model's own tags (4.1-2b-plus)"),
    ] = "aligned"
    host: Annotated[str, _doc("address to listen on; 0.0.0.0 opens the server to the network")] = "127.0.0.1"
    port: Annotated[int, _doc("port to listen on; 0 takes a free one", ge=0, le=65_535)] = 8000
    reuse_port: Annotated[
        bool,
        _doc(
            "share the port with a server that is there already, listen once the model answers, and after SIGTERM leave new "
            "connections to a newer one: a restart without a failed request (docs/operations.md)"
        ),
    ] = False
    wyoming_port: Annotated[
        int, _doc("port for Home Assistant (Wyoming protocol, without keys); 0 opens none", ge=0, le=65_535)
    ] = 0
    api_keys: Annotated[tuple[str, ...], _doc("keys; with any set, /v1 asks for one as bearer token")] = ()
    api_keys_file: Annotated[
        str,
        _doc(
            "file of keys by name and hash, with limits for each (docs/limits.md); read again when it changes"
        ),
    ] = ""
    no_auth: Annotated[bool, _doc("let anybody use the server beyond the loopback address, without keys")] = (
        False
    )
    tls_certificate: Annotated[str, _doc("file of the certificate chain (PEM), to serve HTTPS")] = ""
    tls_key: Annotated[str, _doc("file of its private key (PEM)")] = ""
    strict: Annotated[
        bool,
        _doc("refuse requests that ask for something in vain, rather than name it in x-lithophone-warning"),
    ] = False
    cors_origins: Annotated[
        tuple[str, ...],
        _doc("web pages that may ask this server, as https://notes.example or app://obsidian.md; * is any"),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        _doc(
            "names under which the server answers, beside localhost; without keys none else, with keys any unless some are given; * is any"
        ),
    ] = ()
    root_path: Annotated[
        str, _doc("path before every route, where a reverse proxy adds one (/speech); it may strip it or not")
    ] = ""
    max_upload_bytes: Annotated[int, _doc("largest accepted upload", ge=1024)] = 512 * MIB
    max_audio_seconds: Annotated[float, _doc("longest accepted audio", gt=0)] = 4 * 3600.0
    max_requests: Annotated[
        int, _doc("transcriptions at work at once; more wait, then are answered 429", ge=1)
    ] = 32
    max_queued_seconds: Annotated[
        float, _doc("audio that those at work hold together, not answered yet; 0: any amount", ge=0)
    ] = 4 * 3600.0
    place_wait_seconds: Annotated[
        float, _doc("how long a request may wait for a place before it is answered 429", ge=0)
    ] = 10.0
    max_request_seconds: Annotated[
        float, _doc("how long a request may take from its first byte to its last; 0: any time", ge=0)
    ] = 4 * 3600.0
    max_connections: Annotated[
        int, _doc("connections at once, if descriptors allow; the longest idle one makes room", ge=2)
    ] = 4096
    request_head_seconds: Annotated[float, _doc("how long the head of a request may take", gt=0)] = 20.0
    decode_stall_seconds: Annotated[
        float, _doc("a file that yields no audio for this long is given up", gt=0)
    ] = 30.0
    upload_idle_seconds: Annotated[float, _doc("an upload may stand still this long", gt=0)] = 30.0
    upload_bytes_per_second: Annotated[
        int, _doc("least pace of an upload, after the first upload-idle-seconds; 0: any", ge=0)
    ] = 1024
    upload_seconds: Annotated[float, _doc("how long an upload may take; 0: any time", ge=0)] = 3600.0
    max_uploads: Annotated[int, _doc("uploads that come in, wait or are at work at once", ge=1)] = 512
    max_stored_bytes: Annotated[
        int, _doc("what they take in the temporary folder together; 0: what the disk has", ge=0)
    ] = 16 * 1024 * MIB
    max_decoder_memory_bytes: Annotated[
        int, _doc("memory of all decoders together; beyond it the largest one ends; 0: any amount", ge=0)
    ] = 2 * 1024 * MIB
    max_live_sessions: Annotated[
        int, _doc("live sessions (/v1/realtime) at once, beside those; more are answered 429", ge=1)
    ] = 32
    live_idle_seconds: Annotated[
        float, _doc("how long the client of a live session may send nothing", gt=0)
    ] = 900.0
    live_session_seconds: Annotated[float, _doc("how long a live session may last", gt=0)] = 3600.0
    hosts: Annotated[
        Literal["process", "thread", "ray"],
        _doc(
            "where models run: each in a process of its own, which may die, in a thread of the server, or as replicas on the "
            "machines of a Ray cluster (docs/ray.md)"
        ),
    ] = "process"
    ray_address: Annotated[
        str,
        _doc("the Ray cluster; auto is this machine's; unset, a cluster of this machine alone is started"),
    ] = ""
    ray_min_replicas: Annotated[int, _doc("replicas of each model in the cluster, without load", ge=1)] = 1
    ray_max_replicas: Annotated[int, _doc("replicas of each model in the cluster, under load", ge=1)] = 1
    ray_queued_seconds: Annotated[
        float, _doc("audio queued or at work at a replica beyond which there are to be more", gt=0)
    ] = 300.0
    ray_gpus: Annotated[
        float, _doc("GPUs of a replica; 0.5 puts two on one (give --max-batch then)", ge=0)
    ] = 0.0
    ray_cpus: Annotated[float, _doc("CPU cores of a replica", gt=0)] = 1.0
    load_wait_seconds: Annotated[float, _doc("how long a request waits for its model to be loaded", ge=0)] = (
        30.0
    )
    unload_after_seconds: Annotated[
        float, _doc("idle time after which the model's memory is given back; 0 keeps it loaded", ge=0)
    ] = 0.0
    shutdown_grace_seconds: Annotated[
        int, _doc("how long running requests may take to finish after SIGTERM", ge=0)
    ] = 30
    cpu_threads: Annotated[
        int, _doc("threads for arithmetic on the CPU; 0 takes the cores allowed, one for a tiny model", ge=0)
    ] = 0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _doc("least severe line logged")] = (
        "info"
    )
    log_format: Annotated[Literal["console", "json"], _doc("how lines are logged")] = "console"

    @property
    def only_model(self) -> str:
        """The model, for a command that takes one.

        Raises:
            ConfigurationError: there are several.
        """
        if len(self.model) != 1:
            raise ConfigurationError(f"this command takes one --model, not {len(self.model)}")
        return self.model[0]

    def require_door(self) -> None:
        """Check that who may use the server was decided, where others can reach it.

        Raises:
            ConfigurationError: it was not, or in two ways.
        """
        has_keys = bool(self.api_keys or self.api_keys_file)
        if has_keys and self.no_auth:
            raise ConfigurationError("--no-auth lets anybody in, API keys do not: choose one")
        if not has_keys and not self.no_auth and not _is_loopback(self.host):
            raise ConfigurationError(
                f"--host {self.host} opens the server to the network: set LITHOPHONE_API_KEYS (keys, separated by commas) "
                "or LITHOPHONE_API_KEYS_FILE, or LITHOPHONE_NO_AUTH=true if anybody who can reach it may use it"
            )

    @property
    def wishes(self) -> DeviceWishes:
        """What is asked of the device, together."""
        return DeviceWishes(
            device=self.device,
            dtype=self.dtype,
            cpu_offload=self.cpu_offload,
            quantization=self.quantization,
            graphs=self.graphs,
            cpu_threads=self.cpu_threads,
            max_batch=self.max_batch,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_list(default: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(default, tuple)


class SettingField(msgspec.Struct, frozen=True):
    """One setting as documentation and flags need it."""

    name: str
    type: Any
    default: Any
    description: str
    choices: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """The default as a person would type it."""
        if _is_list(self.default):
            return ", ".join(self.default)
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def setting_fields() -> tuple[SettingField, ...]:
    """Every setting, in the order of the struct."""
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    schema = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    return tuple(
        SettingField(
            name, field.type, field.default, schema[name]["description"], tuple(schema[name].get("enum", ()))
        )
        for name, field in fields.items()
    )


def add_flags(parser: argparse.ArgumentParser, names: Sequence[str] | None = None) -> None:
    """A flag for every setting, or for those named. Flags not given stay unset, so that the environment is asked.

    A switch alone means true; a list may be given at once, or by giving its flag several times.
    """
    for field in setting_fields():
        if names is None or field.name in names:
            parser.add_argument(
                field.flag,
                **_taken(field),
                default=None,
                metavar="{" + ",".join(field.choices) + "}" if field.choices else field.name.upper(),
                help=f"{field.description} (default: {field.default_text or 'none'}; {field.variable})",
            )


def _taken(field: SettingField) -> dict[str, Any]:
    """How argparse takes a flag's values."""
    if isinstance(field.default, bool):
        return {"nargs": "?", "const": "true"}
    return {"action": "append"} if _is_list(field.default) else {}


def read_settings(flags: Mapping[str, str | list[str] | None], environment: Mapping[str, str]) -> Settings:
    """Flags before environment before defaults.

    Raises:
        ConfigurationError: a value has no meaning, or a `LITHOPHONE_` variable is neither a setting nor set by Kubernetes
            or Docker for something of that name.
    """
    fields = setting_fields()
    ours = _own_variables(environment)
    _check_variables(ours, {field.variable for field in fields})
    values: dict[str, Any] = {}
    for field in fields:
        source, text = field.flag, flags.get(field.name)
        if text is None:
            source, text = field.variable, ours.get(field.variable)
            text = None if text == "" and field.name not in DOORS else text
        if isinstance(text, list):
            text = ",".join(text)
        if text is not None and field.name in DOORS and not text.replace(",", "").strip():
            raise ConfigurationError(
                f"{source} is blank: give it a value, or unset it to leave the server without keys"
            )
        if text is not None:
            values[field.name] = _convert(field, source, text)
    return Settings(**values)


def _convert(field: SettingField, source: str, text: str) -> Any:
    if _is_list(field.default):
        return tuple(part.strip() for part in text.split(",") if part.strip()) or field.default
    try:
        return msgspec.convert(text, field.type, strict=False)
    except msgspec.ValidationError as error:
        hint = f" (one of {', '.join(field.choices)})" if field.choices else ""
        raise ConfigurationError(f"{source}={text}: {error}{hint}") from None


def _own_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that somebody set for Lithophone: `LITHOPHONE_PORT=tcp://10.0.0.1:8000` is about a Service of that name."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX)
        and name not in CLIENT_VARIABLES
        and not _INJECTED.fullmatch(f"{name}={value}")
    }


def _check_variables(ours: Mapping[str, str], known: set[str]) -> None:
    unknown = sorted(ours.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]} is not a setting; the settings are {', '.join(sorted(known))}"
        )
