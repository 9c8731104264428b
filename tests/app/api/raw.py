"""Bytes over a socket: what no well-behaved client would send."""

import socket
from contextlib import suppress

import httpx

from proof.harness import metrics


def connect(url: str, data: bytes = b"") -> socket.socket:
    """A connection to the server at the address, with something sent."""
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port or 80), timeout=30)
    connection.sendall(data)
    return connection


def head(content_type: str = "image/jpeg", *lines: str) -> bytes:
    """The headers of an alignment, without its body."""
    start = ("POST /v1/align HTTP/1.1", "Host: x", f"Content-Type: {content_type}")
    return "\r\n".join((*start, *lines, "", "")).encode()


def rest(connection: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    received = b""
    with connection, suppress(ConnectionResetError):
        while more := connection.recv(65536):
            received += more
    return received


def metric(url: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return metrics.metric(httpx.get(f"{url}/metrics", timeout=30).text, name, **labels)
