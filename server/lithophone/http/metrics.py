"""`/metrics`: what the server did and does, in the text format of Prometheus.

Owns the names of the figures and their labels. Requests are counted as their exchanges end; everything else is read where
it is kept when somebody asks. A registry for each application, so that several in one process do not count each other's.
Labels hold no address, no file name and no text: a key is called by its name, a path by its template.
Sources: https://prometheus.io/docs/practices/naming/, https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lithophone import __version__
from lithophone.audio.fence import DecoderMemory
from lithophone.engine.admission import Admission
from lithophone.errors import ServiceError
from lithophone.hosts.base import HostState, ModelHost
from lithophone.hosts.models import Models
from lithophone.hosts.tally import BOUNDS_SECONDS, Distribution, Tally
from lithophone.http.exchange import Exchange
from lithophone.http.openapi import BEARER, METRICS_RESPONSES
from lithophone.http.realtime.places import LivePlaces

REQUEST_BOUNDS_SECONDS: Final = (*BOUNDS_SECONDS, 900.0, 3600.0, 14400.0)
"""A recording of hours takes longer than a window does."""

UNKNOWN_ROUTE: Final = "unknown"
NO_STATUS: Final = "none"
"""For a client that left before it was answered."""


class Kept(NamedTuple):
    """Where the figures are that are read when somebody asks."""

    models: Models
    admission: Admission
    decoders: DecoderMemory
    places: LivePlaces


class Metrics:
    """The figures of one application."""

    def __init__(self, kept: Kept) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "lithophone_requests_total",
            "Requests that are over; status none: the client left first",
            ("route", "status", "key"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "lithophone_request_seconds",
            "From the head of a request to the last byte of its answer",
            ("route",),
            buckets=REQUEST_BOUNDS_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "lithophone_stage_seconds",
            "Stages of a transcription: upload, queue, load, answer; and decode, a part of answer",
            ("stage",),
            buckets=REQUEST_BOUNDS_SECONDS,
            registry=registry,
        )
        self._first_text_seconds = Histogram(
            "lithophone_first_text_seconds",
            "From the head of a request for a stream to its first text",
            buckets=REQUEST_BOUNDS_SECONDS,
            registry=registry,
        )
        self._audio_seconds = Counter(
            "lithophone_audio_seconds_total",
            "Audio of the recordings that were transcribed to their end",
            ("route", "key"),
            registry=registry,
        )
        self._errors = Counter(
            "lithophone_errors_total",
            "Errors that clients were told, by their code; overloaded and shutting_down are rejections",
            ("code",),
            registry=registry,
        )
        for code in _codes(ServiceError):
            self._errors.labels(
                code
            )  # at 0, since a counter that begins with its first error did not increase by it
        registry.register(_Reader(kept))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def count(self, exchange: Exchange) -> None:
        """A request is over."""
        route = exchange.route or UNKNOWN_ROUTE
        status = NO_STATUS if exchange.status is None else str(exchange.status)
        self._requests.labels(route, status, exchange.key_name).inc()
        self._request_seconds.labels(route).observe(exchange.elapsed_seconds)
        for stage, seconds in exchange.stage_seconds.items():
            self._stage_seconds.labels(stage.value).observe(seconds)
        if exchange.decode_seconds is not None:
            self._stage_seconds.labels("decode").observe(exchange.decode_seconds)
        if exchange.first_text_seconds is not None:
            self._first_text_seconds.observe(exchange.first_text_seconds)
        if exchange.audio_seconds is not None:
            self._audio_seconds.labels(route, exchange.key_name).inc(exchange.audio_seconds)
        if exchange.failure:
            self._errors.labels(exchange.failure).inc()

    def count_refused_session(self, error: ServiceError) -> None:
        """A live session did not begin."""
        self._errors.labels(error.code or error.type).inc()

    def text(self) -> bytes:
        """Everything as it is now."""
        return generate_latest(self._registry)


def _codes(kind: type[ServiceError]) -> set[str]:
    """What clients can be told of."""
    return {kind.code or kind.type}.union(*map(_codes, kind.__subclasses__()))


class _Reader(Collector):
    """Reads what is kept elsewhere."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield from _server_figures(self._kept)
        yield _live_lag(self._kept.places)
        hosts = self._kept.models.hosts
        yield _states(hosts)
        yield _by_model("memory_bytes", "The most memory it was seen to take", hosts, _memory_bytes)
        for name, meaning, read in _COUNTS:
            yield _counted_by_model(name, meaning, hosts, read)
        yield _failures(hosts)
        for name, meaning, distribution in _DISTRIBUTIONS:
            yield _distributed_by_model(name, meaning, hosts, distribution)

    def describe(self) -> Iterator[Metric]:
        """See `Collector`: what is registered is not read for it."""
        return iter(())


def _server_figures(kept: Kept) -> Iterator[Metric]:
    admission, places = kept.admission, kept.places
    info = GaugeMetricFamily("lithophone_info", "Which Lithophone this is; always 1", labels=("version",))
    info.add_metric((__version__,), 1)
    yield info
    figures = (
        ("requests_running", "Transcriptions at work", admission.requests),
        ("requests_waiting", "Transcriptions that wait for a place", admission.waiting),
        (
            "running_audio_seconds",
            "Audio of those at work that was not answered yet, each counted up to a quarter of what may be queued",
            admission.running_audio_seconds,
        ),
        ("queued_audio_seconds", "Audio of those that wait for a place", admission.waiting_audio_seconds),
        ("draining", "1 while the server takes no new work, because it is about to end", admission.draining),
        ("live_sessions", "Live sessions there are", places.taken),
        ("decoders_running", "Processes of ffmpeg at work", kept.decoders.running),
    )
    for name, meaning, value in figures:
        yield GaugeMetricFamily(f"lithophone_{name}", meaning, value=float(value))


def _states(hosts: Sequence[ModelHost]) -> Metric:
    family = GaugeMetricFamily(
        "lithophone_model_state", "1 for the state a model is in, 0 for the others", labels=("model", "state")
    )
    for host in hosts:
        for state in HostState:
            family.add_metric((host.model_id, state.value), float(host.state is state))
    return family


def _memory_bytes(host: ModelHost) -> float:
    return host.memory_bytes


def _by_model(
    name: str, meaning: str, hosts: Sequence[ModelHost], read: Callable[[ModelHost], float]
) -> Metric:
    family = GaugeMetricFamily(f"lithophone_model_{name}", meaning, labels=("model",))
    for host in hosts:
        family.add_metric((host.model_id,), read(host))
    return family


def _counted_by_model(
    name: str, meaning: str, hosts: Sequence[ModelHost], read: Callable[[Tally], float]
) -> Metric:
    family = CounterMetricFamily(f"lithophone_model_{name}", meaning, labels=("model",))
    for host in hosts:
        family.add_metric((host.model_id,), read(host.tally))
    return family


def _failures(hosts: Sequence[ModelHost]) -> Metric:
    family = CounterMetricFamily(
        "lithophone_model_failed_windows", "Windows that failed, by why", labels=("model", "cause")
    )
    for host in hosts:
        for cause, count in host.tally.failures.items():
            family.add_metric((host.model_id, cause.value), count)
    return family


def _distributed_by_model(
    name: str, meaning: str, hosts: Sequence[ModelHost], read: Callable[[Tally], Distribution]
) -> Metric:
    family = HistogramMetricFamily(f"lithophone_model_{name}", meaning, labels=("model",))
    for host in hosts:
        distribution = read(host.tally)
        family.add_metric((host.model_id,), _buckets(distribution), distribution.total)
    return family


def _live_lag(places: LivePlaces) -> Metric:
    family = HistogramMetricFamily(
        "lithophone_live_lag_seconds",
        "How much newer audio a live session had when the model had heard what there was",
    )
    family.add_metric((), _buckets(places.lags), places.lags.total)
    return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    return [("+Inf" if bound == float("inf") else str(bound), count) for bound, count in distribution.up_to()]


_COUNTS: Final[tuple[tuple[str, str, Callable[[Tally], float]], ...]] = (
    ("loads", "How often it was loaded", lambda tally: tally.loads),
    ("load_seconds", "What loading and warming up took altogether", lambda tally: tally.load_seconds),
    ("failed_loads", "How often it could not be loaded", lambda tally: tally.failed_loads),
    ("restarts", "How often its worker ended by itself", lambda tally: tally.restarts),
    ("windows", "Windows it recognised, of files and live sessions", lambda tally: tally.windows),
    ("audio_seconds", "Audio in these windows, second tries included", lambda tally: tally.audio_seconds),
    ("tokens", "Tokens it wrote", lambda tally: tally.tokens),
    ("passes", "Passes of the language model that windows took part in", lambda tally: tally.passes),
    ("drafted_tokens", "Guessed tokens it was asked to confirm", lambda tally: tally.drafted_tokens),
    ("accepted_tokens", "Guessed tokens it confirmed", lambda tally: tally.accepted_tokens),
)
_DISTRIBUTIONS: Final[tuple[tuple[str, str, Callable[[Tally], Distribution]], ...]] = (
    ("window_wait_seconds", "Until a window joined the batch", lambda tally: tally.waited),
    ("window_seconds", "From there to the window's text", lambda tally: tally.recognised),
    ("hear_seconds", "What the encoder took, for all windows it heard at a time", lambda tally: tally.heard),
    ("decode_tokens_seconds", "From there to a window's last token", lambda tally: tally.decoded),
    ("answer_seconds", "From there to its words and their times", lambda tally: tally.answered),
    ("window_real_time_factor", "The same for each second of the window's audio", lambda tally: tally.paces),
    ("batch_windows", "Windows in the batch, each time that some joined", lambda tally: tally.batches),
)


CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4.removesuffix("; charset=utf-8")
"""Litestar puts the encoding behind it."""


@get(
    "/metrics",
    operation_id="metrics",
    summary="Figures for Prometheus",
    media_type="text/plain",
    responses=METRICS_RESPONSES,
    security=[{BEARER: []}],
    sync_to_thread=False,
)
def metrics_page(metrics: NamedDependency[SkipValidation[Metrics]]) -> Response[bytes]:
    """Counts since the start, and what is at work now. It asks for a key where `/v1` does."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)
