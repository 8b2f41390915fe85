import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import ConfigurationError
from lithophone.settings import Settings, add_flags, read_settings, setting_fields


def test_defaults_are_loopback_and_the_embedded_model() -> None:
    settings = read_settings({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "granite-speech-tiny")


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"LITHOPHONE_PORT": "1", "LITHOPHONE_DEVICE": "cpu"}
    settings = read_settings({"port": "2", "device": None}, environment)
    assert (settings.port, settings.device) == (2, "cpu")


def test_an_empty_variable_is_an_unset_one() -> None:
    assert read_settings({}, {"LITHOPHONE_PORT": ""}).port == 8000


def test_keys_are_separated_by_commas() -> None:
    assert read_settings({}, {"LITHOPHONE_API_KEYS": " a, b,,"}).api_keys == ("a", "b")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"port": "many"}, "--port=many"),
        ({"port": "70000"}, "65535"),
        ({"device": "tpu"}, "auto, cpu, cuda, rocm"),
        ({"max_audio_seconds": "0"}, "> 0"),
    ],
)
def test_a_value_without_meaning_is_refused_by_name(flags: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_settings(flags, {})


def test_a_misspelt_variable_is_refused_but_the_clients_ones_are_not() -> None:
    with pytest.raises(ConfigurationError, match="LITHOPHONE_PROT"):
        read_settings({}, {"LITHOPHONE_PROT": "1"})
    assert (
        read_settings({}, {"LITHOPHONE_URL": "http://127.0.0.1:8000", "LITHOPHONE_API_KEY": "k"})
        == Settings()
    )


@given(st.integers(0, 65_535), st.floats(0.5, 1e6, allow_nan=False))
def test_numbers_round_trip(port: int, seconds: float) -> None:
    settings = read_settings({"port": str(port)}, {"LITHOPHONE_MAX_AUDIO_SECONDS": repr(seconds)})
    assert (settings.port, settings.max_audio_seconds) == (port, seconds)


def test_every_setting_has_a_flag_with_a_description() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    shown = " ".join(parser.format_help().split())
    for field in setting_fields():
        assert field.flag in shown
        assert field.variable in shown
        assert len(field.description) > 10


def test_a_switch_alone_means_true() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    for arguments, on in ((["--cpu-offload"], True), (["--cpu-offload", "false"], False), ([], False)):
        assert read_settings(vars(parser.parse_args(arguments)), {}).cpu_offload is on
    flags = vars(parser.parse_args(["--cpu-offload", "--port", "8123"]))
    assert read_settings(flags, {}) == Settings(cpu_offload=True, port=8123)
