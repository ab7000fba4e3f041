"""Bytes in and out of a connection: bodies within the limit, and answers delivered well or badly."""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from eelocal.errors import EarthEngineError
from eelocal.texts import PAYLOAD

MAX_PAYLOAD = 10 * 2**20  # recorded/errors.json
_PIECE = 2**16
_DRAINED = 2**28  # bytes read and thrown away so that a client which sends too much can read its answer
_STEPS = 10  # pieces of a slow body


@dataclass(frozen=True)
class Delivery:
    """How an answer's body is sent.

    Attributes:
        seconds: the body is spread over this time.
        part: share of the body that is sent; below 1 the connection ends early.
        reset: it ends with a reset instead of an end of file; with a part of 0, before the status line.
    """

    seconds: float = 0.0
    part: float = 1.0
    reset: bool = False


WELL = Delivery()


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    """A request's body, decompressed.

    Raises:
        EarthEngineError: it is larger than Earth Engine takes, or not what its headers say.
    """
    chunked = handler.headers.get("Transfer-Encoding", "").lower() == "chunked"
    pieces = _chunks(handler) if chunked else _counted(handler)
    body = _limited(handler, pieces)
    return _inflated(body) if handler.headers.get("Content-Encoding") == "gzip" else body


def send(
    handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes, delivery: Delivery = WELL
) -> None:
    """Sends an answer."""
    sent = body if delivery.part >= 1 else body[: int(len(body) * delivery.part)]
    broken = delivery.reset or len(sent) < len(body)
    if sent or not delivery.reset:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if broken:
            handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in _slowly(sent, delivery.seconds):
            handler.wfile.write(piece)
            handler.wfile.flush()
    if delivery.reset:
        _reset(handler)
    if broken:
        handler.close_connection = True


def _slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    if seconds <= 0:
        yield body
        return
    size = -(-len(body) // _STEPS) or 1
    for start in range(0, len(body), size):
        time.sleep(seconds / _STEPS)
        yield body[start : start + size]


def _reset(handler: BaseHTTPRequestHandler) -> None:
    connection: socket.socket = handler.connection
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # the files made of the socket would keep it open


def _counted(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    length = handler.headers.get("Content-Length", "0")
    left = int(length) if length.isdecimal() else 0
    while left > 0:
        piece = handler.rfile.read(min(left, _PIECE))
        if not piece:
            return
        left -= len(piece)
        yield piece


def _chunks(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    while size := _chunk_size(handler):
        while size > 0:
            piece = handler.rfile.read(min(size, _PIECE))
            if not piece:
                return
            size -= len(piece)
            yield piece
        handler.rfile.readline()
    handler.rfile.readline()


def _chunk_size(handler: BaseHTTPRequestHandler) -> int:
    try:
        return max(0, int(handler.rfile.readline().split(b";")[0], 16))
    except ValueError:
        handler.close_connection = True
        raise EarthEngineError("Invalid request: a chunk of the body has no size.") from None


def _limited(handler: BaseHTTPRequestHandler, pieces: Iterator[bytes]) -> bytes:
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size <= MAX_PAYLOAD:
            kept.append(piece)
        elif size > _DRAINED:
            handler.close_connection = True
            break
    if size > MAX_PAYLOAD:
        raise EarthEngineError(PAYLOAD.format(limit=MAX_PAYLOAD))
    return b"".join(kept)


def _inflated(body: bytes) -> bytes:
    engine = zlib.decompressobj(wbits=31)
    try:
        plain = engine.decompress(body, MAX_PAYLOAD + 1)
    except zlib.error:
        raise EarthEngineError("Invalid request: the body is not the gzip its header says.") from None
    if len(plain) > MAX_PAYLOAD:
        raise EarthEngineError(PAYLOAD.format(limit=MAX_PAYLOAD))
    return plain
