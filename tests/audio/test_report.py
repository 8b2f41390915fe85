from __future__ import annotations

import pytest

from lithophone.audio.report import StreamReport, Track
from lithophone.errors import NoAudioStreamError, UndecodableAudioError


def report(*lines: str) -> StreamReport:
    found = StreamReport()
    for line in lines:
        found.read_line(line)
    return found


VIDEO = "[info]   Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), 25 fps (default)"
AUDIO = (
    "[info]   Stream #0:1[0x2](eng): Audio: aac (LC) (mp4a / 0x6134706D), 48000 Hz, stereo, fltp (default)"
)
COVER = "[info]   Stream #0:0: Video: mjpeg, yuvj420p, 90k tbr (attached pic)"


def test_it_tells_duration_start_and_tracks() -> None:
    found = report(
        "[info] Input #0, mov, from 'fd:':",
        "[info]   Metadata:",
        "[info]     title           : Duration: 99:00:00.00, start: 1.0",
        "[info]   Duration: 01:02:03.50, start: 1.400000, bitrate: 131 kb/s",
        VIDEO,
        AUDIO,
        "[info]     Metadata:",
        "[info]       handler_name    : Kommentar",
        "[info]       title           :   Stream #0:7: Audio: opus",
        "[info] Stream mapping:",
        "[info]   Stream #0:9: Audio: pcm_f32le, 16000 Hz, stereo",
    )
    assert found.stated_seconds == 3_723.5
    assert found.start_seconds == 1.4
    assert found.described
    assert [track.kind for track in found.tracks] == ["Video", "Audio"]
    (track,) = found.audio_tracks
    assert track == Track(
        index=1,
        kind="Audio",
        codec="aac",
        language="eng",
        dispositions=frozenset({"default"}),
        title="Kommentar Stream #0:7: Audio: opus",
    )


def test_streams_of_programs_come_in_order_and_once() -> None:
    lines = [
        f"[info]   Stream #0:{index}[0x10{index}]: Audio: mp2, 48000 Hz, stereo" for index in (2, 0, 2, 1)
    ]
    assert [track.index for track in report(*lines).tracks] == [0, 1, 2]


def test_an_estimated_duration_is_not_believed() -> None:
    found = report(
        "[in#0/mp3 @ 0x1] [warning] Estimating duration from bitrate, this may be inaccurate",
        "[info]   Duration: 40:00:00.00, start: 0.000000, bitrate: 8 kb/s",
    )
    assert found.stated_seconds is None
    assert found.estimated_seconds == 40 * 3_600
    assert found.start_seconds == 0


def test_an_unknown_duration_may_have_a_start() -> None:
    assert report("[info]   Duration: N/A, start: 5.250000, bitrate: N/A").start_seconds == 5.25
    assert report("[info]   Duration: N/A, bitrate: N/A").start_seconds is None


@pytest.mark.parametrize(
    ("layout", "lacks"),
    [
        ("mono", False),
        ("1 channels", False),
        ("2 channels", False),
        ("5.1(side)", False),
        ("3 channels", True),
        ("6 channels", True),
        ("60 channels", True),
        ("0 channels", False),
    ],
)
def test_more_than_two_channels_may_lack_a_layout(layout: str, lacks: bool) -> None:
    (track,) = report(f"[info]   Stream #0:0: Audio: pcm_s16le, 16000 Hz, {layout}, s16, 256 kb/s").tracks
    assert track.lacks_layout is lacks


def test_a_cover_is_no_company() -> None:
    alone = "[info]   Stream #0:1: Audio: mp3, 44100 Hz, stereo"
    assert report(COVER, alone).is_alone
    assert not report(VIDEO, alone).is_alone
    assert not report(alone, alone.replace("#0:1", "#0:2")).is_alone


def test_a_container_without_audio_is_told_from_a_broken_one() -> None:
    assert isinstance(report(VIDEO).failure(), NoAudioStreamError)
    assert isinstance(report().failure(), UndecodableAudioError)
    assert "(aac) is corrupt or empty" in report(AUDIO).failure().message


@pytest.mark.parametrize(
    ("stream", "lines", "named"),
    [
        (
            "Audio: dfpwm, 48000 Hz, mono",
            (
                "[dfpwm @ 0x1] [error] Codec (dfpwm) not on whitelist 'aac'",
                "[aist#0:1/dfpwm @ 0x1] [dec:dfpwm @ 0x2] [error] Error while opening decoder: Invalid argument",
            ),
            "dfpwm",
        ),
        (
            "Audio: none (enca / 0x61636E65), 44100 Hz, stereo",
            ("[aist#0:1/none @ 0x1] [error] Decoding requested, but no decoder found for: none",),
            "enca",
        ),
        (
            "Audio: none ([239][190][0][0] / 0xBEEF), 16000 Hz, mono",
            ("[aist#0:1/none @ 0x1] [error] Decoding requested, but no decoder found for: none",),
            "BEEF",
        ),
    ],
)
def test_a_codec_that_cannot_be_read_is_named(stream: str, lines: tuple[str, ...], named: str) -> None:
    failure = report(f"[info]   Stream #0:1: {stream}", *lines).failure()
    assert failure.message == f"The audio is in a codec this server does not read: {named}."


def test_a_forbidden_video_codec_does_not_matter() -> None:
    found = report(AUDIO, "[h264 @ 0x1] [error] Codec (h264) not on whitelist 'aac'")
    assert "corrupt" in found.failure().message


TRACK = Track(index=1, kind="Audio", codec="aac")


@pytest.mark.parametrize(
    ("line", "faulty"),
    [
        (
            "[aist#0:1/aac @ 0x1] [dec:aac @ 0x2] [error] Error submitting packet to decoder: Invalid data",
            True,
        ),
        ("[in#0/matroska,webm @ 0x1] [error] File ended prematurely", True),
        ("[in#0/mov,mp4,m4a @ 0x1] [warning] corrupt input packet in stream 1", True),
        ("[in#0/avi @ 0x1] [warning] Packet corrupt (stream = 1, dts = 529).", True),
        ("[in#0/mov,mp4,m4a @ 0x1] [warning] corrupt input packet in stream 0", False),
        ("[flac @ 0x1] [error] CRC error at PTS 869376", True),
        ("[aist#0:1/ac3 @ 0x1] [dec:ac3 @ 0x2] [warning] corrupt decoded frame", True),
        ("[aac @ 0x1] [error] Reserved bit set.", False),
        ("[in#0/ogg @ 0x1] [error] Channel change is not supported", False),
        ("[in#0/ogg @ 0x1] [error] Error during demuxing: Not yet implemented", False),
        ("[in#0/mp3 @ 0x1] [warning] Estimating duration from bitrate, this may be inaccurate", False),
        ("[info]     comment         : [in#0/x @ 0x1] [error] nothing", False),
    ],
)
def test_only_what_loses_sound_is_a_fault(line: str, faulty: bool) -> None:
    assert report(AUDIO, line).is_faulty(TRACK) is faulty


def test_a_short_last_packet_is_no_fault_of_a_file_that_may_end_anywhere() -> None:
    short = report(AUDIO, "[in#0/wav @ 0x1] [warning] corrupt input packet in stream 1")
    assert not short.is_faulty(TRACK, may_end_anywhere=True)
    broken = report(AUDIO, "[aist#0:1/aac @ 0x1] [dec:aac @ 0x2] [error] Decoding error: Invalid data")
    assert broken.is_faulty(TRACK, may_end_anywhere=True)


def test_a_demuxer_that_gives_up_is_noted() -> None:
    assert report("[in#0/ogg @ 0x1] [error] Error during demuxing: Not yet implemented").stopped
    assert not report("[in#0/ogg @ 0x1] [error] CRC mismatch!").stopped
