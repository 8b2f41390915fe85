"""A run that somebody will kill: `python -m tests.transcribe.killed TALKS TEXTS` reads every file there, slowly."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lithophone.transcribe.documents import TEXTS, Layout
from lithophone.transcribe.folders import LocalFolder
from lithophone.transcribe.recordings import find_recordings
from lithophone.transcribe.run import Run
from lithophone.transcribe.shelf import FolderShelf
from tests.transcribe.conftest import RECIPE, Notes, Reader, each

if __name__ == "__main__":
    talks, texts = sys.argv[1:]
    shelf = FolderShelf(LocalFolder(Path(texts)), TEXTS, Layout(), RECIPE)
    print("go", flush=True)  # noqa: T201 - the one who kills waits for it
    asyncio.run(
        Run(Reader(seconds=0.01), shelf, Notes(), 4).all(each(find_recordings([talks], recursive=False)))
    )
