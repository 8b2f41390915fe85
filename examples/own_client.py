"""Lithophone's own client: sync, async and streaming, with typed answers. Needs `lithophone-client`.

python own_client.py [base_url] [audio_file]
"""

import asyncio
import os
import sys
from pathlib import Path

from lithophone_client import AsyncLithophone, Done, Lithophone, NotFoundError, TextDelta

DEMO = Path(__file__).parent / "speech" / "demo.flac"
BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("LITHOPHONE_URL", "http://127.0.0.1:8000")
AUDIO = Path(sys.argv[2]) if len(sys.argv) > 2 else DEMO
API_KEY = os.environ.get("LITHOPHONE_API_KEY")


def sync() -> None:
    """One thing after another."""
    with Lithophone(BASE_URL, api_key=API_KEY) as client:
        print("ready:", client.ready())
        print("models:", *(model.id for model in client.models()))
        print("json:", client.transcribe(AUDIO).text)

        verbose = client.transcribe_verbose(AUDIO)
        print(f"verbose_json: {verbose.duration:.2f} s of {verbose.language}")
        for segment in verbose.segments or ():
            print(f"  {segment.start:6.2f} to {segment.end:6.2f} s: {segment.text.strip()}")

        print("srt:", client.subtitles(AUDIO, "srt"), sep="\n")
        try:
            client.transcribe(AUDIO, model="no-such-model")
        except NotFoundError as error:
            print("error:", error)


async def streaming() -> None:
    """Text as it comes, while another request runs beside it."""
    async with AsyncLithophone(BASE_URL, api_key=API_KEY) as client:
        beside = asyncio.create_task(client.transcribe_text(AUDIO))
        print("stream: ", end="")
        async with client.stream(AUDIO) as events:
            async for event in events:
                match event:
                    case TextDelta():
                        print(event.delta, end="", flush=True)
                    case Done():
                        print("\ndone:", event.text)
                    case _:
                        pass
        print("text:", (await beside).strip())


if __name__ == "__main__":
    sync()
    asyncio.run(streaming())
