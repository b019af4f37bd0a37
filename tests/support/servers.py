"""Servers to be probed: HTTP, HTTPS and DNS, which answer as the path or the name says.

As a program, ``python -m tests.support.servers PEM ADDRESS...``, they serve until killed: that is
how they run in a neighbor's namespace. With ``-`` for the PEM file there is no HTTPS.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer, ThreadingUDPServer

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HTTP, HTTPS, DNS = 8080, 8443, 5353


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        what, _, rest = self.path.lstrip("/").partition("/")
        match what:
            case "hang" | "close":
                time.sleep(3 if what == "hang" else 0)
            case "hang-in-body":
                self._head(200, length=10)
                self.wfile.flush()
                time.sleep(3)
            case "garbage":
                self.wfile.write(b"220 mail.example ESMTP\r\n")
            case "status":
                self._reply(int(rest), b"")
            case "redirect":
                self.send_response(302)
                self.send_header("Location", "/status/200")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case "big":
                self._reply(200, b"x" * int(rest) + b"the end")
            case "latin-1":
                self._reply(200, "grün".encode("latin-1"), "text/plain; charset=iso-8859-1")
            case "endless":
                self._head(200)
                while True:
                    self.wfile.write(b"x" * 65536)
            case _:
                said = f"{self.path} host={self.headers['Host']} from={self.client_address[0]}"
                self._reply(200, said.encode())
        self.close_connection = True

    def _head(self, status: int, kind: str = "text/plain", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def dns_answers(wire: bytes, *, over_tcp: bool = False) -> list[bytes]:
    """Return what the name server sends back, which depends on the name that is asked for."""
    query = dns.message.from_wire(wire)
    name = query.question[0].name
    response = dns.message.make_response(query)
    kind = name.labels[0].decode()
    texts = {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "TXT": ['"a b"']}
    rdtype = dns.rdatatype.to_text(query.question[0].rdtype)
    if kind == "none":
        return []
    if kind in {"nxdomain", "servfail", "refused"}:
        response.set_rcode(dns.rcode.from_text(kind.upper()))
    elif kind == "truncated" and not over_tcp:
        response.flags |= dns.flags.TC
    elif kind != "empty":
        response.answer = [dns.rrset.from_text(name, 60, "IN", rdtype, *texts[rdtype])]
    right = response.to_wire()
    if kind not in {"noise", "only-noise"}:
        return [right]
    other = dns.message.make_query("other.example", rdtype, id=query.id)
    noise = [
        b"",
        b"\0",
        right[:-3],
        bytes([right[0] ^ 1]) + right[1:],
        wire,
        dns.message.make_response(other).to_wire(),
        b"\xff" * 512,
    ]
    return [*noise, right] if kind == "noise" else noise


class _DnsUdp(BaseRequestHandler):
    def handle(self) -> None:
        wire, sock = self.request
        for answer in dns_answers(wire):
            sock.sendto(answer, self.client_address)


class _DnsTcp(BaseRequestHandler):
    def handle(self) -> None:
        wire = self.request.recv(65535)[2:]
        for answer in dns_answers(wire, over_tcp=True):
            # One byte at a time: TCP has no messages.
            for byte in len(answer).to_bytes(2, "big") + answer:
                self.request.send(bytes([byte]))


class _Tcp(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients of ours go away in the middle."""


class _Udp(ThreadingUDPServer):
    daemon_threads = True


def certificate(directory: Path, *names: str, days: int = 3) -> Path:
    """Make a certificate and its key, in one file, for these names."""
    file = directory / "tls.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", str(days), "-subj", "/CN=bgphealth test"),
            *("-addext", f"subjectAltName={','.join(names)}"),
            *("-keyout", file, "-out", directory / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + (directory / "certificate.pem").read_bytes())
    return file


def serve(address: str, pem: Path | None = None) -> Callable[[], None]:
    """Serve everything on an address, in threads; return what stops it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    tcp = type("Tcp", (_Tcp,), {"address_family": family})
    udp = type("Udp", (_Udp,), {"address_family": family})
    servers = [
        tcp((address, HTTP), _Http),
        tcp((address, DNS), _DnsTcp),
        udp((address, DNS), _DnsUdp),
    ]
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        https = tcp((address, HTTPS), _Http)
        # The handshake in the thread of the connection, not in the one that accepts.
        https.socket = context.wrap_socket(
            https.socket, server_side=True, do_handshake_on_connect=False
        )
        servers.append(https)
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop() -> None:
        for server in servers:
            server.shutdown()
            server.server_close()

    return stop


if __name__ == "__main__":
    pem_file, *addresses = sys.argv[1:]
    for served in addresses:
        serve(served, None if pem_file == "-" else Path(pem_file))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()
