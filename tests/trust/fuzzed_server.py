"""The server that schemathesis asks: the real one with the real decoder and a key, over a fake model.

`python -m tests.trust.fuzzed_server` prints where the description is, and serves until its standard input ends.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec
import structlog

from lithophone.audio.decode import DecodedAudio
from lithophone.backends.fake import LoudnessDetector
from lithophone.granite.family import FAMILY
from lithophone.http.options import HttpOptions
from tests.http.conftest import serving

KEY: Final = "fuzz"


def main() -> None:
    """Serve, and end with an error if anything went wrong in the server."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    spec = msgspec.structs.replace(FAMILY["granite-speech-4.1-2b"], least_logprob=None)
    options = HttpOptions(api_keys=(KEY,))
    with serving(spec=spec, options=options, audio_source=DecodedAudio, voice=LoudnessDetector()) as live:
        print(f"{live.url}/schema", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
