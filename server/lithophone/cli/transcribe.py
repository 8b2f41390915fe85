"""`lithophone transcribe`: recordings to documents, in this process or by a server."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from lithophone.cli.command import EXIT_DONE, Command
from lithophone.cli.opening import MODEL_SETTINGS, PLACE_SETTINGS, model_name, open_transcriber
from lithophone.errors import ConfigurationError, InvalidRequestError
from lithophone.formats.cues import USUAL_LIMITS, CueLimits
from lithophone.granite.family import LANGUAGE_NAMES
from lithophone.http.forms import TranscriptionForm, TranslationForm, parse_form
from lithophone.settings import Settings, add_flags
from lithophone.transcribe.arrow_store import require_arrow
from lithophone.transcribe.clips import parse_clips
from lithophone.transcribe.documents import TEXTS, Layout, OutputFormat
from lithophone.transcribe.folders import Folder, open_folder
from lithophone.transcribe.manifest import Recipe
from lithophone.transcribe.progress import progress_bar
from lithophone.transcribe.recordings import Recording, find_recordings, watched_recordings
from lithophone.transcribe.run import Run
from lithophone.transcribe.share import parse_share
from lithophone.transcribe.shelf import FolderShelf, PipeShelf, Shelf
from lithophone.transcribe.transcriber import Maker, Wanted

EXIT_SOME_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as shells have it
STANDARD_INPUT: Final = "-"


def _add_flags(parser: argparse.ArgumentParser) -> None:
    _add_recording_flags(parser)
    _add_document_flags(parser)
    _add_speech_flags(parser)
    _add_model_flags(parser)


def _add_recording_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recordings")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files, folders, patterns in quotes ('talks/**/*.mp3'), object stores (s3://bucket/talks), or - for standard input")  # fmt: skip
    group.add_argument("--recursive", action="store_true", help="look into the sub-folders of folders")
    group.add_argument("--watch", action="store_true", help="go on for ever, with every recording that comes into a folder")  # fmt: skip
    group.add_argument("--clip-timestamps", default="", metavar="START,END,…", help="hear these stretches alone, in seconds; without a last END up to the end")  # fmt: skip
    group.add_argument("--audio-track", default="", metavar="N", help="which of a file's audio tracks to hear, counted from 1 (default: the file's default one, else the first that is no commentary)")  # fmt: skip
    group.add_argument("--at-once", type=_positive(int), metavar="N", help="recordings under way (default: what fills the model's batch)")  # fmt: skip


def _add_document_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("documents")
    formats = [*OutputFormat, "all"]
    group.add_argument("--output-dir", metavar="DIR", help="write files there, or to s3://bucket/texts, sub-folders as they are; what is there already, made of the same, is not made again (default: standard output)")  # fmt: skip
    group.add_argument("--output-format", action="append", choices=[str(name) for name in formats], help="may be given several times (default: txt); all are those to read, parquet is a table of words")  # fmt: skip
    group.add_argument("--word-timestamps", nargs="?", const="true", default="false", choices=("true", "false", "True", "False"), metavar="BOOL", help="list every word with its times in json")  # fmt: skip
    group.add_argument("--max-line-width", type=_positive(int), default=USUAL_LIMITS.line_characters, metavar="N", help="characters in a line of a subtitle (default: %(default)s)")  # fmt: skip
    group.add_argument("--max-line-count", type=_positive(int), default=USUAL_LIMITS.lines, metavar="N", help="lines of a subtitle (default: %(default)s)")  # fmt: skip


def _add_speech_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("speech")
    group.add_argument("--language", default="", metavar="LANGUAGE", help="what is spoken: de, or German; without it the model hears it")  # fmt: skip
    group.add_argument("--task", choices=("transcribe", "translate"), default="transcribe", help="write what is said, or translate it (default: %(default)s)")  # fmt: skip
    group.add_argument("--to-language", default="", metavar="LANGUAGE", help="with --task translate (default: en)")  # fmt: skip
    group.add_argument("--keyword", action="append", default=[], metavar="WORD", help="a word likely to be said; may be given several times")  # fmt: skip
    group.add_argument("--prompt", default="", metavar="TEXT", help="names and terms likely to be said: a list, or a text they are taken from")  # fmt: skip
    group.add_argument("--speakers", action="store_true", help="tell speakers apart, for the speaker of each word in parquet")  # fmt: skip
    group.add_argument("--temperature", default="0", metavar="T", help="0 (greedy) to 1 (default: %(default)s)")  # fmt: skip


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--share", default="1/1", metavar="K/N", help="of N runs over the same recordings, at once or not, this is the K-th: each takes its own")  # fmt: skip
    parser.add_argument("--server", metavar="URL", help="let a server do it (key: LITHOPHONE_API_KEY); without this the model is loaded here")  # fmt: skip
    add_flags(parser, MODEL_SETTINGS + PLACE_SETTINGS)


def _positive(kind: type[int]) -> Any:
    def convert(text: str) -> int:
        value = kind(text)
        if value < 1:
            raise argparse.ArgumentTypeError(f"{text} is less than 1")
        return value

    convert.__name__ = "number"  # argparse names it in its message
    return convert


def _run(settings: Settings, options: argparse.Namespace) -> int:
    try:
        with ExitStack() as held:
            paths = [_stored(path, held) for path in options.paths]
            return asyncio.run(_transcribe(settings, options, paths))
    except InvalidRequestError as error:
        raise ConfigurationError(f"{_flag(error.param)}{error.message}") from None
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _flag(param: str | None) -> str:
    return f"--{(param or '').replace('_', '-').removesuffix('s')}: " if param else ""


def _stored(path: str, held: ExitStack) -> str:
    """The path; of standard input, one where it is a file: it is read more than once."""
    if path != STANDARD_INPUT:
        return path
    folder = held.enter_context(tempfile.TemporaryDirectory())
    stored = Path(folder, "stdin")
    with stored.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return str(stored)


async def _transcribe(settings: Settings, options: argparse.Namespace, paths: Sequence[str]) -> int:
    wanted, layout, formats = _wanted(settings, options), _layout(options), _formats(options)
    share = parse_share(options.share)
    _refuse_what_goes_not_together(options, formats)
    found = [] if options.watch else find_recordings(paths, recursive=options.recursive)
    _refuse_what_has_no_place(options, found, formats)
    found = share.of(found)
    folder = _folder(options.output_dir)
    async with open_transcriber(settings, wanted, options.server) as transcriber:
        recipe = _recipe(transcriber.maker, settings, options, wanted)
        shelf = _shelf(folder, found, formats, layout, recipe)
        with progress_bar() as bar:
            run = Run(transcriber, shelf, bar, options.at_once or transcriber.at_once)
            if options.watch:
                await run.all(watched_recordings(paths, recursive=options.recursive))
            else:
                bar.expect(found)
                await run.all(_each(found))
    return EXIT_SOME_FAILED if run.failures else EXIT_DONE


async def _each(recordings: Iterable[Recording]) -> AsyncGenerator[Recording]:
    for recording in recordings:
        yield recording


def _wanted(settings: Settings, options: argparse.Namespace) -> Wanted:
    """What is asked of the model.

    Raises:
        InvalidRequestError: a value has no meaning.
        ConfigurationError: two flags do not go together.
    """
    pairs = [
        ("model", model_name(settings, options)),
        ("prompt", options.prompt),
        ("temperature", options.temperature),
    ]
    written = "diarized_json" if options.speakers else "verbose_json"
    pairs += [("response_format", written), ("audio_track", options.audio_track)]
    clips = parse_clips(options.clip_timestamps)
    if options.server and clips:
        raise ConfigurationError("--clip-timestamps cuts here; leave --server out")
    if options.task == "translate":
        if options.language or options.keyword:
            raise ConfigurationError(
                "--task translate takes no --language (it is heard) and no --keyword (name terms in --prompt)"
            )
        pairs.append(("to_language", _language_code(options.to_language)))
        return Wanted(form=parse_form(TranslationForm, pairs), clips=clips)
    if options.to_language:
        raise ConfigurationError("--to-language goes with --task translate")
    pairs.append(("language", _language_code(options.language)))
    pairs += [("keywords[]", word) for word in options.keyword]
    return Wanted(form=parse_form(TranscriptionForm, pairs), clips=clips)


def _language_code(text: str) -> str:
    """`de` for `German`, as whisper's users type it; anything else as it is."""
    names = {name.lower(): code for code, name in LANGUAGE_NAMES.items()}
    return names.get(text.strip().lower(), text)


def _layout(options: argparse.Namespace) -> Layout:
    return Layout(
        words=options.word_timestamps.lower() == "true",
        limits=CueLimits(line_characters=options.max_line_width, lines=options.max_line_count),
        translation=options.task == "translate",
    )


def _formats(options: argparse.Namespace) -> tuple[OutputFormat, ...]:
    asked = options.output_format or [OutputFormat.TXT]
    named = (OutputFormat(name) for name in asked if name != "all")
    return tuple(dict.fromkeys((*(TEXTS if "all" in asked else ()), *named)))


def _refuse_what_goes_not_together(options: argparse.Namespace, formats: Sequence[OutputFormat]) -> None:
    """Raises ConfigurationError: a flag wants another one, or a library that is not there."""
    if OutputFormat.PARQUET in formats:
        require_arrow("--output-format parquet")
    if options.speakers and (options.server or OutputFormat.PARQUET not in formats):
        raise ConfigurationError("--speakers goes with --output-format parquet, and without --server")
    if options.watch and options.share != "1/1":
        raise ConfigurationError("--watch takes all that comes; leave --share out")


def _refuse_what_has_no_place(
    options: argparse.Namespace, found: Sequence[Recording], formats: Sequence[OutputFormat]
) -> None:
    """Without a folder one document follows another, which few formats and no watching bear.

    Raises:
        ConfigurationError: there are no recordings, or no place for the documents.
    """
    if not options.watch and not found:
        hint = "" if options.recursive else " (--recursive looks into sub-folders)"
        raise ConfigurationError(f"there is no recording in {', '.join(options.paths)}{hint}")
    several = len(found) > 1 and formats != (OutputFormat.TXT,)
    if not options.output_dir and (options.watch or len(formats) > 1 or several):
        raise ConfigurationError("several documents need a folder: say --output-dir DIR")
    if options.watch and not all(Path(path).is_dir() for path in options.paths):
        raise ConfigurationError("--watch takes folders")


def _folder(text: str | None) -> Folder | None:
    """Where documents go; None: to standard output.

    Raises:
        ConfigurationError: there is no such store, or it refuses.
    """
    if not text:
        return None
    try:
        return open_folder(text)
    except OSError as error:
        raise ConfigurationError(f"--output-dir {text.partition('?')[0]}: {error}") from None


def _shelf(
    folder: Folder | None,
    found: Sequence[Recording],
    formats: Sequence[OutputFormat],
    layout: Layout,
    recipe: Recipe,
) -> Shelf:
    if folder is not None:
        return FolderShelf(folder, formats, layout, recipe)
    return PipeShelf(sys.stdout.buffer, found, formats[0], layout)


def _recipe(maker: Maker, settings: Settings, options: argparse.Namespace, wanted: Wanted) -> Recipe:
    """Everything the documents depend on."""
    asked: dict[str, Any] = msgspec.to_builtins(wanted.form)
    asked |= {
        "clips": [list(clip) for clip in wanted.clips],
        "layout": msgspec.to_builtins(_layout(options)),
    }
    if not options.server:
        asked |= {name: getattr(settings, name) for name in ("dtype", "quantization", "word_times")}
    asked.pop("model")
    return Recipe(model=maker.model, revision=maker.revision, options=asked)


COMMAND = Command(
    name="transcribe",
    help="write recordings down as text, subtitles or tables",
    description=(
        "Transcribe recordings. Without --output-dir the text goes to standard output. With it, an interrupted run goes on "
        "where it stopped. Exit code 1: done, but for recordings that failed; 2: refused with the reason."
    ),
    examples=(
        ("lithophone transcribe talk.mp3", "the text"),
        ("lithophone transcribe talk.mp4 --output-format srt > talk.srt", "subtitles"),
        (
            "lithophone transcribe talks --recursive --output-dir texts --output-format all",
            "a folder, every format; type it again to go on after an interruption",
        ),
        ("lithophone transcribe inbox --watch --output-dir texts", "whatever comes into a folder"),
        ("arecord -d 5 -f cd | lithophone transcribe -", "five seconds of microphone"),
        (
            "lithophone transcribe talks --output-dir texts --server http://gpu.local:8000",
            "by a server",
        ),
    ),
    add_flags=_add_flags,
    run=_run,
    log_level="warning",
)
