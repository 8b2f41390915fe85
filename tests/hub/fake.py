"""A hub on this machine: the API that huggingface_hub speaks, over folders, and everything that can go wrong with one."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 10_000
"""From this size on a file is kept as the real hub keeps large ones: apart, behind a redirect, called by its SHA-256."""

CHUNK_BYTES = 4096


def etag_of(content: bytes) -> str:
    if len(content) >= LARGE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class FakeHub:
    """Repositories by id, each a mapping of names to contents.

    Attributes:
        refuse: Status, headers for every request to a path that holds the word.
        break_after: So many bytes of a file are sent, once for each entry, then the connection breaks.
        pause_seconds: Between two chunks of a file.
        silent: Nothing is answered at all.
        ignores_ranges: A file always comes from its beginning.
        asked: How often each path was asked for.
        sent_bytes: Of files, all together.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.refuse: dict[str, tuple[int, dict[str, str]]] = {}
        self.refusals_left: dict[str, int] = {}
        self.break_after: dict[str, list[int]] = {}
        self.spoilt: dict[str, int] = {}
        self.pause_seconds = 0.0
        self.silent = False
        self.ignores_ranges = False
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.sent_bytes = 0
        self.stopping = threading.Event()
        self.url = ""

    def commit(self, hub_id: str) -> str:
        """Changes with the contents."""
        names = "".join(f"{name} {etag_of(c)}\n" for name, c in sorted(self.repositories[hub_id].items()))
        return hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()

    def asked_for_files(self) -> set[str]:
        return {path.rsplit("/", 1)[-1] for path in self.asked if "/resolve/" in path}

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        handler = type("Handler", (_Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked[path] += 1
        if self.hub.silent:
            self.hub.stopping.wait()
            return
        if self._refused(path):
            return
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._tell(found[1], found[2])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", path):
            self._resolve(*found.groups())
        elif found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._send_file(found[2], self.hub.repositories[found[1]][found[2]])
        else:
            self._fail(404, {})

    def _refused(self, path: str) -> bool:
        for word, (status, headers) in self.hub.refuse.items():
            if word in path and self.hub.refusals_left.get(word, 1) > 0:
                if word in self.hub.refusals_left:
                    self.hub.refusals_left[word] -= 1
                self._fail(status, headers)
                return True
        return False

    def _tell(self, hub_id: str, revision: str | None) -> None:
        files = self.hub.repositories.get(hub_id)
        if files is None:
            self._fail(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return
        commit = self.hub.commit(hub_id)
        if revision not in {None, "main", commit}:
            self._fail(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return
        siblings = [_sibling(name, content) for name, content in files.items()]
        self._answer(json.dumps({"id": hub_id, "sha": commit, "siblings": siblings}).encode())

    def _resolve(self, hub_id: str, commit: str, name: str) -> None:
        content = self.hub.repositories[hub_id].get(name)
        if content is None or commit != self.hub.commit(hub_id):
            self._fail(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        elif len(content) >= LARGE_BYTES:
            self.send_response(302)
            self.send_header("Location", f"{self.hub.url}/cdn/{hub_id}/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(name, content)

    def _send_file(self, name: str, content: bytes) -> None:
        start = 0
        if (asked := self.headers.get("Range")) and not self.hub.ignores_ranges:
            self.hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.hub.spoilt.get(name, 0) > 0:
            self.hub.spoilt[name] -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        breaks = self.hub.break_after.get(name) or [len(content)]
        end = start + (breaks.pop(0) if name in self.hub.break_after else breaks[0])
        self._send(content[start:end])
        if end < len(content):
            self.close_connection = True

    def _send(self, content: bytes) -> None:
        for place in range(0, len(content), CHUNK_BYTES):
            if self.hub.pause_seconds and self.hub.stopping.wait(self.hub.pause_seconds):
                return
            try:
                self.wfile.write(content[place : place + CHUNK_BYTES])
                self.hub.sent_bytes += len(content[place : place + CHUNK_BYTES])
            except OSError:
                self.close_connection = True
                return

    def _fail(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Quiet."""


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": etag_of(content)}
    if len(content) >= LARGE_BYTES:
        told["blobId"] = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        told["lfs"] = {"sha256": etag_of(content), "size": len(content), "pointerSize": 135}
    return told
