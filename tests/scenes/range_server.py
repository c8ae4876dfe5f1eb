"""A web server on this machine that answers range requests, as buckets do, and counts them."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class RangeServer:
    """Files of a folder at `url`; `requests` lists (method, path with query, bytes sent)."""

    def __init__(self, folder):
        self.folder = folder
        self.requests = []
        self.query = None  # what every request must bring, as a signature
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(with_body=False)

            def do_GET(self):
                self.answer(with_body=True)

            def answer(self, *, with_body):
                path, _, query = self.path.partition("?")
                file = server.folder / unquote(path).lstrip("/")
                found = file.is_file() and server.query in (None, query)
                content = file.read_bytes() if found else b""
                status, part = (200, content) if found else (404, b"")
                total = len(content)
                span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if found and span:
                    start, stop = int(span[1]), min(int(span[2] or total), total - 1)
                    status, part = 206, content[start : stop + 1]
                # Noted before it is sent: the client may be done before this thread runs again.
                sent = len(part) if with_body else 0
                server.requests.append((self.command, self.path, sent))
                self.send_response(status)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(part)))
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{stop}/{total}")
                self.end_headers()
                if with_body:
                    self.wfile.write(part)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def asked(self):
        """Names of the files that were asked for and are there."""
        names = {path.partition("?")[0].lstrip("/") for _, path, _ in self.requests}
        return {name for name in names if (self.folder / name).is_file()}


@contextmanager
def serve(folder):
    server = RangeServer(folder)
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
