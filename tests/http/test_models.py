from __future__ import annotations

from typing import get_args

import pytest
from openai.types import AudioModel
from openai.types.realtime import AudioTranscription

from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.errors import ModelNotFoundError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.catalogue import OPENAI_ALIASES, Catalogue
from tests.http.conftest import Live, error_of, serving


def test_the_served_model_is_listed_first_then_its_aliases(server: Live) -> None:
    listing = server.client.get("/v1/models").json()
    assert listing["object"] == "list"
    assert [model["id"] for model in listing["data"]] == [DEMONSTRATION_ID, *OPENAI_ALIASES]
    for model in listing["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(model)
        assert model["object"] == "model"
        assert isinstance(model["created"], int)


def test_an_alias_says_whose_it_is_and_a_demonstration_that_it_is_one() -> None:
    with serving(spec=FAMILY[DEMONSTRATION_ID]) as live:
        served = live.client.get(f"/v1/models/{DEMONSTRATION_ID}").json()
        alias = live.client.get("/v1/models/whisper-1").json()
    assert served["lithophone"]["alias_of"] is None
    assert alias["lithophone"]["alias_of"] == DEMONSTRATION_ID
    assert "demonstration" in alias["lithophone"]["note"]
    assert served["lithophone"]["languages"] == ["en"]


@pytest.mark.parametrize("name", ["nope", "ibm-granite/nope", "whisper-1 ", "a%2Fb", "é"])
def test_an_unknown_model_is_a_404_that_names_the_served_one(server: Live, name: str) -> None:
    error = error_of(server.client.get(f"/v1/models/{name}"), 404)
    assert error["code"] == "model_not_found"
    assert DEMONSTRATION_ID in error["message"]


def catalogue_of(model_id: str, spec: ModelSpec) -> Catalogue:
    return Catalogue(Models([SupervisedHost(model_id, spec, in_thread(FakeBackend, PlainRuntime()))]))


def test_a_hub_id_with_its_slash_is_an_alias() -> None:
    spec = FAMILY["granite-speech-3.3-2b"]
    catalogue = catalogue_of(spec.id, spec)
    assert spec.hub_id is not None
    assert catalogue.model(spec.hub_id).lithophone.alias_of == spec.id
    assert catalogue.model(spec.id).lithophone.note is None


def test_a_model_says_what_it_can_do() -> None:
    plus = FAMILY["granite-speech-4.1-2b-plus"]
    able = catalogue_of(plus.id, plus).model(plus.id).lithophone
    assert (able.speakers, able.keywords, able.translates_to) == (True, True, ())
    translator = FAMILY["granite-speech-4.1-2b"]
    able = catalogue_of(translator.id, translator).model(translator.id).lithophone
    assert (able.speakers, able.keywords) == (False, True)
    assert able.translates_to == translator.translation_targets
    tiny = FAMILY[DEMONSTRATION_ID]
    assert catalogue_of(tiny.id, tiny).model(tiny.id).lithophone.stands_for == "granite-speech-3.3-2b"


def test_a_fine_tune_does_not_answer_to_its_parents_name() -> None:
    spec = FAMILY["granite-speech-3.3-2b"]
    catalogue = catalogue_of("my-own", spec)
    for name in (spec.id, str(spec.hub_id)):
        with pytest.raises(ModelNotFoundError):
            catalogue.resolve(name)
    assert catalogue.listing().data[0].id == "my-own"


@pytest.mark.parametrize("alias", OPENAI_ALIASES)
def test_openais_names_transcribe(server: Live, alias: str) -> None:
    assert server.transcribe(model=alias).status_code == 200


def test_openais_names_are_those_of_the_sdk() -> None:
    live = get_args(AudioTranscription.model_fields["model"].annotation)
    named = {name for part in live for name in get_args(part)}
    assert named | set(get_args(AudioModel)) == set(OPENAI_ALIASES)
