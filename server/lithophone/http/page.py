"""`/` and what the page there is made of. They need no API key.

Owns how the built page is served: who gets it, for how long it may be kept, and what it may do in a browser. The files lie
in `lithophone/page`, built from `server/page` by `make page`; those in `assets` have their content's hash in their name.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect

from lithophone import __version__
from lithophone.granite.family import demonstration_note
from lithophone.http.answering import Service
from lithophone.http.wire import Welcome

WELCOME = """\
Lithophone: OpenAI's audio API in front of IBM Granite Speech.

  curl {base_url}v1/audio/transcriptions -F file=@recording.wav -F model={model}

Model: {model}
State: {state}
API description: {base_url}schema
In a browser this address is a page to transcribe with.
"""

OFFERED = ["text/plain", "text/html", "application/json"]
"""What `/` can be. Who takes anything, as curl does, gets the first; a browser asks for HTML before all else."""

WAVESURFER_STYLE = "'sha256-GDz2FZP0i7VZaDhs1mgc43IRUXU2xajPIjvThHvZvbs='"
"""The style sheet that wavesurfer.js 8.0.1 writes into its shadow root. Another version or height has another: Chromium
names it in the console, and the page's tests fail with that line."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {WAVESURFER_STYLE}",
        "img-src 'self'",
        "media-src blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, nothing inline, no frame around it. `blob:` are the recordings that the page was given."""

PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Vary": "Accept, Accept-Encoding",
}
ASSET_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


class PageFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the page: its bytes, also compressed with gzip, and a tag that changes with them."""

    media_type: str
    body: bytes
    zipped: bytes
    tag: str

    def answer(self, request: Request[Any, Any, Any], headers: Mapping[str, str]) -> Response[bytes]:
        """The file with `headers`, or that the client's copy is still right."""
        headers = {**headers, "ETag": self.tag}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(b"", status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self.zipped, media_type=self.media_type, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


@get("/", include_in_schema=False, sync_to_thread=False)
def front_door(
    request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]
) -> Response[Any]:
    """The page for a browser, a few lines for a terminal, and the same as JSON for a program that asks for it."""
    host = service.models.default
    match request.accept.best_match(OFFERED):
        case "text/html" if _lacks_slash(request):
            query = request.scope["query_string"].decode("latin-1")
            return Redirect(
                f"{request.scope['root_path']}/{'?' * bool(query)}{query}", headers={"Vary": "Accept"}
            )
        case "text/html":
            return built_page()["index.html"].answer(request, PAGE_HEADERS)
        case "application/json":
            return Response(_welcome(request, service), headers={"Vary": "Accept"})
        case _:
            text = WELCOME.format(base_url=request.base_url, model=host.model_id, state=host.state.value)
            if note := demonstration_note(host.spec):
                text += f"{note}\n"
            return Response(text, media_type=MediaType.TEXT, headers={"Vary": "Accept"})


def _lacks_slash(request: Request[Any, Any, Any]) -> bool:
    """Whether the path is the prefix alone: what the page names beside itself would be looked for above it."""
    prefix = request.scope["root_path"]
    return prefix != "" and request.scope["raw_path"] == prefix.encode()


@get("/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
def page_asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A script, style or picture of the page; its name changes with its content, so it may be kept for ever."""
    file = built_page().get(f"assets/{name}")
    if file is None:
        raise NotFoundException
    return file.answer(request, ASSET_HEADERS)


@cache
def built_page() -> Mapping[str, PageFile]:
    """The files of the page by their names, about half a megabyte."""
    folder = resources.files("lithophone") / "page"
    assets = {f"assets/{asset.name}": _read(asset) for asset in (folder / "assets").iterdir()}
    return {"index.html": _read(folder / "index.html"), **assets}


def _read(file: Traversable) -> PageFile:
    body = file.read_bytes()
    return PageFile(
        media_type=mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        body=body,
        zipped=gzip.compress(body, mtime=0),
        tag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    )


def _welcome(request: Request[Any, Any, Any], service: Service) -> Welcome:
    host = service.models.default
    return Welcome(
        version=__version__,
        model=host.model_id,
        state=host.state.value,
        schema=f"{request.base_url}schema",
        max_upload_bytes=service.options.max_upload_bytes,
        needs_key=service.options.keys.are_asked_for,
        realtime=any(route.path == "/v1/realtime" for route in request.app.routes),
        note=demonstration_note(host.spec),
    )
