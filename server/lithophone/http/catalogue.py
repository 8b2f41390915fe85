"""Which model names this server answers to.

Owns the aliases of OpenAI's names and the model objects. The list shows every name as a model of its own, the served one
first: an app that offers the list finds a real name on top, and one that looks for `whisper-1` in it finds that too.
"""

from __future__ import annotations

from lithophone.errors import ModelNotFoundError
from lithophone.granite.family import ModelSpec, demonstration_note
from lithophone.http.quoting import quote
from lithophone.http.wire import Model, ModelDetails, ModelList

OPENAI_ALIASES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)


class Catalogue:
    """The names of the one model that is served."""

    def __init__(self, model_id: str, spec: ModelSpec) -> None:
        hub_names = (spec.hub_id,) if spec.hub_id and model_id == spec.id else ()
        self.served_id = model_id
        self.aliases = tuple(name for name in (*hub_names, *OPENAI_ALIASES) if name != model_id)
        self._spec = spec

    def require(self, name: str) -> None:
        """Check that `name` is the served model or an alias.

        Raises:
            ModelNotFoundError: it is neither; the message names what there is.
        """
        if name != self.served_id and name not in self.aliases:
            raise ModelNotFoundError(
                f"The model {quote(name)} is not served here. There is {self.served_id}, "
                f"also under the names {', '.join(self.aliases)}.",
                param="model",
            )

    def model(self, name: str) -> Model:
        """The model object called `name`.

        Raises:
            ModelNotFoundError: as `require`.
        """
        self.require(name)
        return Model(
            id=name,
            created=self._spec.created,
            owned_by=self._spec.owned_by,
            lithophone=ModelDetails(
                alias_of=None if name == self.served_id else self.served_id,
                aliases=self.aliases,
                languages=self._spec.speech_languages,
                parameters=self._spec.parameters,
                note=demonstration_note(self._spec),
            ),
        )

    def listing(self) -> ModelList:
        """Every name, the served one first."""
        return ModelList(data=tuple(self.model(name) for name in (self.served_id, *self.aliases)))
