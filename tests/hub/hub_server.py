"""A Hub on loopback: the HTTP protocol of huggingface.co with a CDN on a port of its own, and faults to order.

As a program it serves folders until its stdin closes and prints the settings a client needs:

    hub_server.py --repo owner/name=FOLDER ...    prints  HF_ENDPOINT=http://127.0.0.1:PORT
"""
import argparse
import hashlib
import hmac
import ssl
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hub_faults import Faults
from hub_http import Handler, Server
from hub_routes import HubHandler
from hub_store import Store

EXPIRED = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


class CdnHandler(Handler):
    """Where redirects lead: content by its hash, for whoever has a signed URL, and nobody else."""
    server_name = "cdn"

    def route(self):
        self.rule = None
        upload = self.url_path.startswith("/upload/")
        if self.fault("part" if upload else "cdn"):
            return None
        if self.headers.get("Authorization"):
            # As S3 answers a signed URL that comes with credentials beside.
            return self.answer(400, b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed"
                                    b"</Message></Error>", kind="application/xml")
        if not self.hub.is_signed(self.path):
            return self.answer(403, EXPIRED, kind="application/xml")
        return self.take_part() if upload else self.serve()

    def serve(self):
        data = self.hub.store.blobs[self.url_path.split("/")[2]]
        return self.send_content(data, {"ETag": f'"{hashlib.md5(data[:64]).hexdigest()}"',
                                        "Content-Type": "application/octet-stream"})

    def take_part(self):
        _, _, oid, number = self.url_path.split("/")
        if self.command != "PUT":
            return self.answer(405, b"")
        if int(number) == 0:
            if hashlib.sha256(self.body).hexdigest() != oid:
                return self.answer(400, b"wrong content")
            self.hub.store.put_blob(self.body)
        else:
            with self.hub.store.lock:
                self.hub.store.uploads.setdefault(oid, {})[int(number)] = self.body
        return self.answer(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})


class Hub:
    """The two servers and what they share. `part_bytes` and `page_size` are small, so that tests see many of both."""

    def __init__(self, host="127.0.0.1", tls=None, page_size=5, part_bytes=5 << 20, bytes_per_second=0):
        self.store = Store()
        self.faults = Faults()
        self.host = host
        self.page_size = page_size
        self.part_bytes = part_bytes
        self.bytes_per_second = bytes_per_second
        self.log = []
        self.log_lock = threading.Lock()
        self.epoch = 0
        self.secret = b"test"
        self.hub_server = Server(self, HubHandler, tls)
        self.cdn_server = Server(self, CdnHandler, tls)

    def start(self):
        self.hub_server.start()
        self.cdn_server.start()
        return self

    def stop(self):
        for server in (self.hub_server, self.cdn_server):
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self):
        return self.hub_server.origin

    def requests(self):
        with self.log_lock:
            return [dict(r) for r in self.log]

    def clear_log(self):
        with self.log_lock:
            self.log.clear()

    # --- Signed URLs ---

    def signature(self, path, epoch):
        return hmac.new(self.secret, f"{path} {epoch}".encode(), "sha256").hexdigest()

    def sign_path(self, path):
        return f"{self.cdn_server.origin}{path}?Expires={self.epoch}&Signature={self.signature(path, self.epoch)}"

    def sign(self, oid, path):
        name = path.rsplit("/", 1)[-1]
        return self.sign_path(f"/blobs/{oid}") + f"&response-content-disposition=inline%3B+filename%3D%22{name}%22"

    def sign_upload(self, oid, number):
        return self.sign_path(f"/upload/{oid}/{number}")

    def expire_signed(self):
        self.epoch += 1

    def is_signed(self, target):
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        epoch = int(query.get("Expires", ["-1"])[0])
        good = query.get("Signature", [""])[0] == self.signature(parts.path, epoch)
        return good and epoch == self.epoch


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN=USER")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--bytes-per-second", type=int, default=0, help="for each connection")
    arguments = parser.parse_args()
    hub = Hub(page_size=arguments.page_size, bytes_per_second=arguments.bytes_per_second)
    for text in arguments.token:
        hub.store.add_user(*text.split("=", 1))
    for text in arguments.repo:
        name, folder = text.split("=", 1)
        hub.store.add_folder(name, Path(folder))
    hub.start()
    print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
    sys.stdin.read()
    hub.stop()


if __name__ == "__main__":
    main()
