import argparse
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import ConfigurationError
from lithophone.settings import SettingField, Settings, add_flags, read_settings, setting_fields


def test_defaults_are_loopback_and_the_embedded_model() -> None:
    settings = read_settings({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, ("granite-speech-tiny",))


def test_a_flag_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"LITHOPHONE_PORT": "1", "LITHOPHONE_DEVICE": "cpu"}
    settings = read_settings({"port": "2", "device": None}, environment)
    assert (settings.port, settings.device) == (2, "cpu")


def test_an_empty_variable_is_an_unset_one() -> None:
    assert read_settings({}, {"LITHOPHONE_PORT": ""}).port == 8000


@pytest.mark.parametrize("blank", ["", " ", ",", " , "])
@pytest.mark.parametrize("name", ["api_keys", "api_keys_file"])
def test_keys_that_are_blank_are_refused(name: str, blank: str) -> None:
    for flags, environment in (({name: blank}, {}), ({}, {f"LITHOPHONE_{name.upper()}": blank})):
        with pytest.raises(ConfigurationError, match="blank"):
            read_settings(flags, environment)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_beyond_loopback_who_may_come_in_must_be_said(host: str) -> None:
    with pytest.raises(ConfigurationError, match="LITHOPHONE_NO_AUTH=true"):
        Settings(host=host).require_door()
    for said in (Settings(host=host, api_keys=("a",)), Settings(host=host, api_keys_file="keys.toml")):
        said.require_door()
    Settings(host=host, no_auth=True).require_door()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_nothing_need_be_said(host: str) -> None:
    Settings(host=host).require_door()


def test_keys_beside_no_auth_mean_nothing() -> None:
    with pytest.raises(ConfigurationError, match="choose one"):
        Settings(api_keys=("a",), no_auth=True).require_door()


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


def kubernetes_variables(service: str, address: str, ports: dict[str, int], protocol: str) -> dict[str, str]:
    """What the kubelet sets for a Service; names and shapes as in its `envvars.FromServices`."""
    name = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    first = next(iter(ports.values()))
    found = {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(first),
        f"{name}_PORT": f"{protocol}://{host}:{first}",
    }
    for port_name, port in ports.items():
        link = f"{name}_PORT_{port}_{protocol.upper()}"
        found |= {
            f"{name}_SERVICE_PORT_{port_name.upper().replace('-', '_')}": str(port),
            link: f"{protocol}://{host}:{port}",
            f"{link}_PROTO": protocol,
            f"{link}_PORT": str(port),
            f"{link}_ADDR": address,
        }
    return found


dns_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
services = st.lists(dns_labels, max_size=3).map(lambda words: "-".join(["lithophone", *words]))
injected = st.builds(
    kubernetes_variables,
    services,
    st.ip_addresses().map(str),
    st.dictionaries(dns_labels, st.integers(1, 65_535), min_size=1, max_size=3),
    st.sampled_from(["tcp", "udp", "sctp"]),
)


@given(injected)
def test_a_service_of_that_name_is_no_setting(variables: dict[str, str]) -> None:
    assert read_settings({}, variables) == Settings()
    assert read_settings({"port": "8123"}, variables | {"LITHOPHONE_DEVICE": "cpu"}) == Settings(
        port=8123, device="cpu"
    )


def test_a_linked_container_of_that_name_is_no_setting() -> None:
    linked = {
        "LITHOPHONE_NAME": "/web/lithophone",
        "LITHOPHONE_PORT": "tcp://172.17.0.5:8000",
        "LITHOPHONE_PORT_8000_TCP": "tcp://172.17.0.5:8000",
        "LITHOPHONE_PORT_8000_TCP_ADDR": "172.17.0.5",
        "LITHOPHONE_ENV_LITHOPHONE_HOST": "0.0.0.0",
        "LITHOPHONE_ENV_NOTICE": "two\nlines",
    }
    assert read_settings({}, linked) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LITHOPHONE_PORT", "tcp://10.0.0.1"),
        ("LITHOPHONE_PORT", "http://10.0.0.1:8000"),
        ("LITHOPHONE_PORT", "tcp://10.0.0.1:many"),
        ("LITHOPHONE_PORTS", "tcp://10.0.0.1:8000"),
        ("LITHOPHONE_PORT_8000", "tcp://10.0.0.1:8000"),
        ("LITHOPHONE_PORT_8000_TCP", "8000"),
        ("LITHOPHONE_GPU_PORT", "8000"),
        ("LITHOPHONE_SERVICE_PORT", "many"),
        ("LITHOPHONE_SERVICE", "10.0.0.1"),
        ("LITHOPHONE_NAME", "granite"),
        ("LITHOPHONE_HOSTS", "10.0.0.1"),
    ],
)
def test_what_only_looks_like_it_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_settings({}, {name: value})


def is_heard(field: SettingField, value: str) -> bool:
    with contextlib.suppress(ConfigurationError):
        return read_settings({}, {field.variable: value}) != Settings()
    return False


@pytest.mark.parametrize("field", setting_fields(), ids=lambda field: field.name)
def test_no_setting_passes_for_a_service(field: SettingField) -> None:
    assert any(is_heard(field, value) for value in ("true", "2000", "x", *field.choices))


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
