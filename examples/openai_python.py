"""OpenAI's Python SDK, changed only in `base_url`.

pip install openai
python openai_python.py [base_url] [audio_file]
"""

import os
import sys
from pathlib import Path

from openai import OpenAI

DEMO = Path(__file__).parent / "speech" / "demo.flac"
BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("LITHOPHONE_URL", "http://127.0.0.1:8000")
AUDIO = Path(sys.argv[2]) if len(sys.argv) > 2 else DEMO

# A server without keys takes any; the SDK insists on one.
with OpenAI(base_url=f"{BASE_URL}/v1", api_key=os.environ.get("LITHOPHONE_API_KEY", "none")) as client:
    print("models:", *(model.id for model in client.models.list()))

    answer = client.audio.transcriptions.create(file=AUDIO, model="whisper-1")
    print("json:", answer.text)

    verbose = client.audio.transcriptions.create(
        file=AUDIO, model="whisper-1", response_format="verbose_json"
    )
    print(f"verbose_json: {verbose.duration:.2f} s of {verbose.language}")
    for segment in verbose.segments or []:
        print(f"  {segment.start:6.2f} to {segment.end:6.2f} s: {segment.text.strip()}")

    print(
        "text:",
        client.audio.transcriptions.create(file=AUDIO, model="whisper-1", response_format="text").strip(),
    )
    print(
        "srt:",
        client.audio.transcriptions.create(file=AUDIO, model="whisper-1", response_format="srt"),
        sep="\n",
    )
    print(
        "vtt:",
        client.audio.transcriptions.create(file=AUDIO, model="whisper-1", response_format="vtt"),
        sep="\n",
    )

    print("stream: ", end="")
    for event in client.audio.transcriptions.create(file=AUDIO, model="whisper-1", stream=True):
        if event.type == "transcript.text.delta":
            print(event.delta, end="", flush=True)
        elif event.type == "transcript.text.done":
            print("\ndone:", event.text)
