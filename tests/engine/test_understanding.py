from __future__ import annotations

import msgspec
import pytest

from lithophone.engine.understanding import demonstration_warnings, understood
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from tests.formats.samples import SEGMENTS, segment

TINY = FAMILY[DEMONSTRATION_ID]
DEMONSTRATIONS = [spec for spec in FAMILY.values() if spec.demonstration]


def test_every_demonstration_model_knows_when_it_does_not_understand() -> None:
    assert all(spec.least_logprob is not None for spec in DEMONSTRATIONS)
    assert {spec.least_logprob for spec in FAMILY.values() if not spec.demonstration} == {None}


@pytest.mark.parametrize("spec", DEMONSTRATIONS, ids=lambda spec: spec.id)
def test_a_demonstration_says_what_it_is_and_how_to_start_a_real_one(spec: ModelSpec) -> None:
    (told,) = demonstration_warnings(spec, [segment(0, 0, 1, "")])
    assert f"--model {spec.stands_for}" in told
    assert told.isascii()


def test_improbable_tokens_were_not_understood() -> None:
    for least, heard in ((-50.0, True), (0.0, False)):
        spec = msgspec.structs.replace(TINY, least_logprob=least)
        assert understood(spec, SEGMENTS) is heard
        told = " ".join(demonstration_warnings(spec, SEGMENTS))
        assert ("did not understand" in told) is not heard


def test_a_published_model_says_nothing() -> None:
    spec = FAMILY["granite-speech-3.3-2b"]
    assert understood(spec, SEGMENTS)
    assert demonstration_warnings(spec, SEGMENTS) == ()
