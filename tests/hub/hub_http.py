"""HTTP for the test Hub: requests read whole, answers sent whole or as a fault has it."""
import json
import select
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

BLOCK = 1 << 20


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub, handler, tls=None):
        super().__init__(("127.0.0.1", 0), handler)
        self.hub = hub
        self.tls = tls

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that never finishes its handshake holds up nobody.
        if self.tls:
            request.settimeout(10)
            request = self.tls.wrap_socket(request, server_side=True)
            request.settimeout(None)
        super().finish_request(request, client_address)

    @property
    def origin(self):
        return f"{'https' if self.tls else 'http'}://{self.hub.host}:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # A client that hung up is part of the tests.

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    server_name = "?"

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_):
        pass

    @property
    def hub(self):
        return self.server.hub

    def handle_one(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self.read_chunked()
        parts = urlsplit(self.path)
        self.url_path = unquote(parts.path)
        self.raw_path = parts.path
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.record = {"server": self.server_name, "method": self.command, "path": self.url_path,
                       "authorization": bool(self.headers.get("Authorization")),
                       "range": self.headers.get("Range") or "", "status": 0, "bytes": 0,
                       "agent": self.headers.get("User-Agent") or ""}
        with self.hub.log_lock:
            self.hub.log.append(self.record)
        self.route()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_one

    def read_chunked(self):
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return b""
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def param(self, name, default=""):
        return next((v for k, v in self.query if k == name), default)

    def params(self, name):
        return [v for k, v in self.query if k == name]

    # --- Answers ---

    def fault(self, role):
        """Applies a rule that needs no body. True when the request has been dealt with."""
        self.role = role
        self.rule = self.hub.faults.pick(role, self.command, self.url_path)
        if not self.rule:
            return False
        if self.rule.kind == "no_answer":
            self.close_connection = True
            return True
        if self.rule.kind == "status":
            headers = {}
            if self.rule.retry_after is not None:
                headers["Retry-After"] = str(self.rule.retry_after)
            self.answer(self.rule.status, b"the server is having a bad day\n", headers)
            return True
        return False

    def send_head(self, status, length, headers):
        self.record["status"] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, status, body=b"", headers=None, kind="text/plain"):
        self.send_head(status, len(body), {"Content-Type": kind, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)
            self.record["bytes"] += len(body)
        self.wfile.flush()

    def answer_json(self, value, status=200, headers=None):
        body = json.dumps(value).encode()
        rule = getattr(self, "rule", None)
        headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        if rule and rule.kind in ("drop", "truncate", "stall"):
            self.send_head(status, len(body), headers)
            self.send_broken(body, rule)
            return
        self.answer(status, body, headers, headers.pop("Content-Type"))

    def refuse(self, status, code="", message="", headers=None):
        extra = dict(headers or {})
        if code:
            extra["X-Error-Code"] = code
        if message:
            extra["X-Error-Message"] = message
        self.rule = None
        self.answer_json({"error": message or code}, status, extra)

    def requested_range(self, size):
        """(first, last + 1) of a Range header, None without one, False when it cannot be satisfied."""
        text = self.headers.get("Range") or ""
        if not text.startswith("bytes=") or "," in text:
            return None
        first, _, last = text[6:].partition("-")
        if not first:
            begin, end = max(0, size - int(last)), size
        else:
            begin, end = int(first), (min(int(last) + 1, size) if last else size)
        return (begin, end) if begin < end else False

    def send_content(self, data, headers):
        """A file or the range of it that was asked for, as the fault in force has it."""
        wanted = self.requested_range(len(data))
        rule = getattr(self, "rule", None)
        if rule and rule.kind == "ignore_range":
            wanted = None
        headers = {"Accept-Ranges": "bytes", **headers}
        if wanted is False:
            self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        status, begin, end = 200, 0, len(data)
        if wanted:
            begin, end = wanted
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        view = memoryview(data)[begin:end]
        self.send_head(status, len(view), headers)
        if self.command == "HEAD":
            self.wfile.flush()
            return
        if rule and rule.kind in ("drop", "truncate", "stall", "corrupt", "expire"):
            self.send_broken(view, rule)
            return
        self.send_blocks(view)

    def send_blocks(self, view):
        self.wfile.flush()
        rate = self.hub.bytes_per_second
        for offset in range(0, len(view), BLOCK):
            block = view[offset:offset + BLOCK]
            self.connection.sendall(block)
            self.record["bytes"] += len(block)
            if rate:
                time.sleep(len(block) / rate)

    def send_broken(self, view, rule):
        place = self.hub.faults.place(rule, len(view))
        if rule.kind == "corrupt":
            damaged = bytearray(view)
            if damaged:
                damaged[place] ^= 0x55
            self.send_blocks(memoryview(damaged))
            return
        self.send_blocks(memoryview(view)[:place])
        self.close_connection = True
        if rule.kind == "expire":
            self.hub.expire_signed()
        elif rule.kind == "stall":
            # Until the client gives up: its end of the connection then reads as closed.
            select.select([self.connection], [], [], rule.seconds)
        elif rule.kind == "drop":
            # Lingering for no time turns the close into a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
