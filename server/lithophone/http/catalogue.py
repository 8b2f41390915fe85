"""Which model names this server answers to.

Owns the aliases of OpenAI's names and the model objects. The list shows every name as a model of its own, the served ones
first: an app that offers the list finds a real name on top, and one that looks for `whisper-1` in it finds that too.
"""

from __future__ import annotations

from collections.abc import Mapping

from lithophone.errors import ConfigurationError, ModelNotFoundError
from lithophone.granite.family import demonstration_note
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.http.quoting import quote
from lithophone.http.wire import Model, ModelDetails, ModelList

OPENAI_ALIASES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
)


class Catalogue:
    """The names of the models that are served; OpenAI's stand for the default one.

    Args:
        models: What is served.
        names: Served name by other name, as the operator wants it; wins over OpenAI's names.

    Raises:
        ConfigurationError: a name stands for a model that is not served, or is that of one.
    """

    def __init__(self, models: Models, names: Mapping[str, str] | None = None) -> None:
        self._models = models
        self._aliases = _given(models)
        for name, meant in (names or {}).items():
            if name in self._served:
                raise ConfigurationError(f"{name} is a model and cannot be an alias")
            if meant not in {*self._served, *self._aliases}:
                raise ConfigurationError(
                    f"the alias {name} stands for {meant}, which is not served; there is {', '.join(self._served)}"
                )
            self._aliases[name] = self._aliases.get(meant, meant)

    def resolve(self, name: str) -> str:
        """The id of the served model called `name`.

        Raises:
            ModelNotFoundError: there is none; the message names what there is.
        """
        if name in self._served:
            return name
        if name in self._aliases:
            return self._aliases[name]
        raise ModelNotFoundError(
            f"The model {quote(name)} is not served here. There is {', '.join(self._served)}, "
            f"also under the names {', '.join(self._aliases)}.",
            param="model",
        )

    def model(self, name: str) -> Model:
        """The model object called `name`.

        Raises:
            ModelNotFoundError: as `resolve`.
        """
        host = self._models[self.resolve(name)]
        return Model(
            id=name,
            created=host.spec.created,
            owned_by=host.spec.owned_by,
            lithophone=ModelDetails(
                alias_of=None if name == host.model_id else host.model_id,
                aliases=tuple(alias for alias, served in self._aliases.items() if served == host.model_id),
                languages=host.spec.speech_languages,
                translates_to=host.spec.translation_targets,
                speakers=host.spec.speakers,
                keywords=host.spec.keywords,
                parameters=host.spec.parameters,
                state=host.state.value,
                memory_bytes=host.memory_bytes or None,
                device=None if host.info is None else host.info.device,
                dtype=None if host.info is None else host.info.dtype,
                revision=None if host.info is None else host.info.revision,
                license=host.spec.license,
                note=demonstration_note(host.spec),
                stands_for=host.spec.stands_for,
            ),
        )

    def listing(self) -> ModelList:
        """Every name, the served ones first."""
        return ModelList(data=tuple(self.model(name) for name in (*self._served, *self._aliases)))

    @property
    def _served(self) -> tuple[str, ...]:
        return tuple(host.model_id for host in self._models.hosts)


def _given(models: Models) -> dict[str, str]:
    """Served id by other name: each model's hub id, and OpenAI's names for the default one."""
    default = models.default.model_id
    names = {name: host.model_id for host in models.hosts for name in _hub_names(host)}
    names |= dict.fromkeys(OPENAI_ALIASES, default)
    served = {host.model_id for host in models.hosts}
    return {name: model_id for name, model_id in names.items() if name not in served}


def _hub_names(host: ModelHost) -> tuple[str, ...]:
    return (host.spec.hub_id,) if host.spec.hub_id and host.model_id == host.spec.id else ()
