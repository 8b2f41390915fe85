"""Ten recordings without speech, through the server a user would start."""

import httpx
import pytest

from tests.conftest import LiveServer
from tests.noises import NOISES
from tests.recordings import wav_bytes


@pytest.mark.parametrize("name", NOISES)
def test_where_nobody_speaks_the_transcript_is_empty(name: str, live_server: LiveServer) -> None:
    response = httpx.post(
        f"{live_server.url}/v1/audio/transcriptions",
        data={
            "model": "whisper-1",
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word", "segment"],
        },
        files={"file": ("noise.wav", wav_bytes(NOISES[name]))},
        timeout=60,
    )
    assert response.status_code == 200
    document = response.json()
    assert (document["text"], document["words"], document["duration"]) == ("", [], 12.0)
    assert document["segments"] == []
