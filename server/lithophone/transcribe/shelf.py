"""Where documents go: into a folder, whole or not at all, or to standard output in the order of the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Protocol

from lithophone.engine.transcript import Transcript
from lithophone.transcribe.documents import Layout, OutputFormat, write_document
from lithophone.transcribe.folders import Folder
from lithophone.transcribe.manifest import Entry, Manifest, Recipe, as_kept
from lithophone.transcribe.recordings import Recording
from lithophone.transcribe.sources import State


class Shelf(Protocol):
    """Takes transcripts; used by one thread at a time for one recording."""

    def has(self, recording: Recording) -> bool:
        """Whether there is nothing left to do for a recording."""
        ...

    def put(self, recording: Recording, state: State, transcript: Transcript) -> None:
        """Write the documents of a recording that was in `state` when it was opened.

        Raises:
            OSError: they cannot be written.
        """
        ...

    def pass_over(self, recording: Recording) -> None:
        """There will be no documents of this recording."""
        ...


class FolderShelf:
    """A folder with documents, and a manifest of them.

    Args:
        folder: Where they are written.
        formats: The documents of each recording.
        layout: How they are written.
        recipe: What else they depend on.
    """

    def __init__(
        self, folder: Folder, formats: Sequence[OutputFormat], layout: Layout, recipe: Recipe
    ) -> None:
        self._folder = folder
        self._formats = tuple(formats)
        self._layout = layout
        self._recipe = as_kept(recipe)
        self._manifest = Manifest(folder.journal())

    def has(self, recording: Recording) -> bool:
        """Every document is there, made of this very recording by this very recipe."""
        entry = self._manifest[recording.place]
        return (
            entry is not None
            and entry.recipe == self._recipe
            and entry.recording == recording.source.name
            and entry.state == recording.source.state()
            and set(self._formats) <= set(entry.formats)
            and all(self._folder.has(_name(recording, written)) for written in self._formats)
        )

    def put(self, recording: Recording, state: State, transcript: Transcript) -> None:
        """See `Shelf`."""
        for written in self._formats:
            document = write_document(transcript, written, self._layout, recording.file)
            self._folder.write(_name(recording, written), document)
        self._manifest.add(
            Entry(
                place=recording.place,
                recording=recording.source.name,
                state=state,
                recipe=self._recipe,
                formats=self._formats,
            )
        )

    def pass_over(self, recording: Recording) -> None:
        """Nothing to do."""


def _name(recording: Recording, written: OutputFormat) -> str:
    return f"{recording.place}.{written}"


class PipeShelf:
    """A stream: one document for each recording, in their order, each as soon as those before it are out."""

    def __init__(
        self,
        stream: BinaryIO,
        recordings: Sequence[Recording],
        output_format: OutputFormat,
        layout: Layout,
    ) -> None:
        self._stream = stream
        self._format = output_format
        self._layout = layout
        self._documents: dict[str, bytes | None] = {recording.place: None for recording in recordings}

    def has(self, recording: Recording) -> bool:
        """Never."""
        return recording.place not in self._documents

    def put(self, recording: Recording, state: State, transcript: Transcript) -> None:  # noqa: ARG002 - nothing is kept
        """See `Shelf`."""
        self._let_out(recording, write_document(transcript, self._format, self._layout, recording.file))

    def pass_over(self, recording: Recording) -> None:
        """Let those behind it out."""
        self._let_out(recording, b"")

    def _let_out(self, recording: Recording, document: bytes) -> None:
        self._documents[recording.place] = document
        while self._documents:
            first = next(iter(self._documents))
            ready = self._documents[first]
            if ready is None:
                return
            self._stream.write(ready)
            self._stream.flush()
            del self._documents[first]
