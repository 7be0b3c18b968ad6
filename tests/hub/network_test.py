"""TLS with a certificate authority of one's own, and proxies."""
import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from hub_server import tls_context
from hub_testing import SAMPLE, HubTest, tree_of

PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None


def make_certificates(folder):
    """A CA and a certificate of it for 127.0.0.1; returns (CA, certificate, key)."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "server.pem", "-days", "2", "-extfile", "names")
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"


class Proxy:
    """An HTTP proxy that only tunnels, and counts."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.targets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.tunnel, args=(client,), daemon=True).start()

    def tunnel(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        target = head.split()[1].decode()
        self.targets.append(target)
        server = socket.create_connection(target.rsplit(":", 1))
        client.sendall(b"HTTP/1.1 200 tunnel\r\n\r\n")
        threading.Thread(target=self.pump, args=(client, server), daemon=True).start()
        self.pump(server, client)

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Tls(HubTest):
    def setUp(self):
        super().setUp()
        self.hub.stop()
        self.authority, certificate, key = make_certificates(self.folder)
        self.hub = type(self.hub)(tls=tls_context(certificate, key)).start()
        self.commit = self.hub.store.add_folder("alice/sample", SAMPLE)
        self.assertTrue(self.hub.endpoint.startswith("https://"))

    def download(self, **changes):
        return subprocess.run([str(PROGRAM), "download", "alice/sample"], env=self.environment(**changes), text=True,
                              capture_output=True, timeout=60, check=False)

    def test_unknown_authority_is_refused(self):
        done = self.download()
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("its certificate is not trusted", done.stderr)
        self.assertIn("SSL_CERT_FILE", done.stderr)

    def test_own_authority(self):
        done = self.download(SSL_CERT_FILE=str(self.authority))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tree_of(self.snapshot()), tree_of(SAMPLE))

    def test_proxy(self):
        proxy = Proxy()
        self.addCleanup(proxy.listener.close)
        done = self.download(SSL_CERT_FILE=str(self.authority), HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        ports = {self.hub.hub_server.server_address[1], self.hub.cdn_server.server_address[1]}
        self.assertEqual({int(t.rsplit(":", 1)[1]) for t in proxy.targets}, ports)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
