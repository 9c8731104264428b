"""Bytes over a socket: what no well-behaved client would send."""

import socket
from contextlib import suppress

import httpx


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


def metric(url: str, name: str) -> float:
    """A sample of the server's metrics, by its name with labels as exported; 0 if it is absent."""
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    values = [float(line.split()[-1]) for line in lines if line.rsplit(" ", 1)[0] == name]
    return values[0] if values else 0.0
