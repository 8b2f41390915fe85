"""Where traces go: to a collector by OTLP over HTTP, where the environment names one.

Owns what is read of OpenTelemetry's own variables, and the SDK's start and end; the SDK reads the others (headers, sampling,
the service's name) by itself. Needs the extra `otel`, and imports nothing of it until a collector is named.
Sources: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from lithophone import __version__
from lithophone.errors import ConfigurationError

if TYPE_CHECKING:
    from litestar.types import ASGIApp
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
NAME: Final = "lithophone"
LAST_SPANS_SECONDS: Final = 2.0
"""How long the end of the server waits for a collector that does not take the last spans."""


class Traced:
    """Wraps whatever answers, so that what is asked leaves traces; this one leaves none."""

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """An application, whose requests are traced."""
        return app

    def transcript(self, door: str) -> AbstractContextManager[None]:
        """Around one transcript that another door than HTTP was asked for."""
        del door
        return nullcontext()


untraced: Final = Traced()


def endpoint_of(environ: Mapping[str, str]) -> str | None:
    """The collector that is named, unless traces are switched off."""
    is_off = (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return None if is_off else _first(environ, ENDPOINTS)


@contextmanager
def traces(environ: Mapping[str, str]) -> Generator[Traced]:
    """What leaves traces of what is asked; `untraced` where no collector is named. At the end the last spans are sent.

    Raises:
        ConfigurationError: the extra is not installed, or another protocol is asked for.
    """
    endpoint = endpoint_of(environ)
    if endpoint is None:
        yield untraced
        return
    protocol = _first(environ, PROTOCOLS)
    if protocol not in {None, PROTOCOL}:
        raise ConfigurationError(f"traces are sent by {PROTOCOL}, not by {protocol}: unset {PROTOCOLS[1]}")
    provider = _provider(endpoint)
    from lithophone.http.tracing import Tracing  # noqa: PLC0415 - its imports may not be installed

    try:
        yield Tracing(provider.get_tracer(NAME, __version__))
    finally:
        _end(provider)


def _provider(endpoint: str) -> TracerProvider:
    """Sends spans in a thread of its own."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError:
        raise ConfigurationError(
            f"sending traces to {endpoint} needs OpenTelemetry: pip install 'lithophone[otel]', or unset {ENDPOINTS[1]}"
        ) from None
    ours = Resource.create({"service.name": NAME, "service.version": __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _end(provider: TracerProvider) -> None:
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(LAST_SPANS_SECONDS)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
