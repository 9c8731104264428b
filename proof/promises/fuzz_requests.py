"""Uploads by number: the same seed and number are always the same bytes on the wire."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple
from urllib.parse import quote

from proof.harness.photographs import astronaut
from proof.harness.target import REFERENCE_BOX, REFERENCE_PX
from proof.harness.wire import post
from proof.promises import fuzz_files as files

TYPES = ("image/jpeg", "image/png", "image/webp")
FORMATS = ("jpeg", "png", "webp")
BOUNDARY = "x-boundary"


class Upload(NamedTuple):
    """A request as sent. `ends_early`: the sender closes its side then, as nothing more comes."""

    kind: str
    wire: bytes
    ends_early: bool = False


def upload(seed: int, number: int) -> Upload:
    """The upload of a number."""
    chance = random.Random(f"{seed}/{number}")
    (name,) = chance.choices(list(KINDS), [share for share, _ in KINDS.values()])
    made = KINDS[name][1](chance)
    return made if isinstance(made, Upload) else Upload(name, made)


def _whole(chance: random.Random) -> bytes:
    """A photograph with its box: all the way through the network."""
    return post(_photograph(chance.choice(FORMATS)), boxes=[REFERENCE_BOX])


def _damaged_face(chance: random.Random) -> bytes:
    """A damaged photograph with a box: what can still be decoded goes all the way."""
    data = chance.choice(files.MUTATIONS)(_photograph(chance.choice(FORMATS)), chance)
    return post(data, boxes=[REFERENCE_BOX])


def _large(chance: random.Random) -> bytes:
    """A photograph of more than a megapixel; the detector finds the face."""
    return post(_photograph(chance.choice(FORMATS), 1200))


def _mutated(chance: random.Random) -> bytes:
    data = chance.choice(files.MUTATIONS)(files.any_file(chance), chance)
    if chance.random() < 0.2:
        data = chance.choice(files.MUTATIONS)(data or b"\0", chance)
    if chance.random() < 0.2:
        return form([_part("image", data)])
    return post(data, chance.choice(TYPES), query=chance.choice(("", "", "", "frame=stored")))


def _unusual(chance: random.Random) -> bytes:
    """A valid file of an unusual kind: animated, CMYK, 16 bit, alpha, palette."""
    return post(files.any_file(chance), chance.choice(TYPES))


def _polyglot(chance: random.Random) -> bytes:
    return post(files.polyglot(files.any_file(chance), chance), chance.choice(TYPES))


def _bomb(chance: random.Random) -> bytes:
    return post(files.bomb(), "image/png")


def _multipart(chance: random.Random) -> bytes:
    """A form that is not quite one."""
    image = _part("image", files.any_file(chance))
    nested = form([image]).split(b"\r\n\r\n", 1)[1]
    return chance.choice(
        (
            lambda: form([image, image]),
            lambda: form([image, _part("other", b"text", None)]),
            lambda: form([_part(f"f{i}", b"v", None) for i in range(chance.randrange(5, 40))]),
            lambda: form([_part("image", b"text", None)]),
            lambda: form([_part("image", b"v" * chance.choice((1023, 1025, 90_000)), None)]),
            lambda: form([_part("n" * 70_000, b"v")]),
            lambda: form([_part("image", nested)]),
            lambda: form([image], closing=b""),
            lambda: form([image], closing=b"--"),
            lambda: form([image], boundary="another"),
            lambda: form([image], boundary=""),
            lambda: form([image], boundary="b" * 300),
            lambda: form([]),
            lambda: form([image.replace(b"Content-Disposition", b"Content-Whatever")]),
            lambda: form([image.replace(b"name=", b"name*=UTF-8''%ff")]),
            lambda: form([image.replace(b'"a.jpg"', '"\u202e\U0001f600.jpg"'.encode())]),
            lambda: form([image.replace(b'"a.jpg"', b'"../../etc/\x00\xff"')]),
            lambda: form([image.replace(b"image/jpeg", b"x" * 5000)]),
            lambda: form([image], suffix="; charset=utf-7"),
            lambda: form([image], suffix="; charset=nonsense"),
            lambda: form([files.flipped(image, chance)]),
            lambda: form([files.truncated(image, chance)]),
            lambda: form([b"X: " + b"y" * chance.randrange(20_000) + b"\r\n" + image]),
            lambda: form([b"\r\n" * chance.randrange(50) + image]),
        )
    )()


def _parameters(chance: random.Random) -> bytes:
    """A query that means nothing, or something impossible."""
    boxes = (
        "[[0,0,1e-9,1e-9]]", "[[1e308,1e308,1e308,1e308]]", "[[NaN,0,1,1]]", "[[0,0,Infinity,1]]",
        "[[0,0,-5,5]]", "[[0,0,5]]", "[]", "{}", "null", "[" * 5000, "[[0,0,1e400,1]]", "\ud800",
        json.dumps([[1, 1, 9, 9]] * 33), '[["1","2","3","4"]]', "[[1,2,3,4],", "\x00",
        "[[-1e9,0,1,1]]", "[[0,0,120,1]]", "[[-100,-100,120,120]]",
    )  # fmt: skip
    encoded = quote(chance.choice(boxes).encode("utf-8", "surrogatepass"))
    query = chance.choice(
        (
            *(f"boxes={encoded}",) * 6,
            f"max_faces={chance.choice((0, -1, 33, 10**30, '١', '1.5', ''))}",
            "frame=sideways",
            "heatmap=perhaps",
            "heatmap=true",
            "max_faces=1&max_faces=2",
            "%ff%fe=%00",
            "&" * 2000,
            "unknown=" + "v" * 8000,
        )
    )
    accept = chance.choice(("image/png", "*/*;q=nan", "image/png;q=1e999", ",;,=", "a" * 9000))
    return post(files.file_of("jpeg", 1), headers=[f"Accept: {accept}"], query=query)


def _headers(chance: random.Random) -> bytes:
    """A head that is not quite one."""
    good = post(files.file_of("png", 0), "image/png")
    return chance.choice(
        (
            lambda: good.replace(b"POST", chance.choice((b"post", b"PUT", b"GET", b"\x00"))),
            lambda: good.replace(b"HTTP/1.1", chance.choice((b"HTTP/1.0", b"HTTP/9.9", b"", b"X"))),
            lambda: good.replace(b"/v1/align", b"/v1/" + b"a" * chance.choice((100, 9000, 70_000))),
            lambda: good.replace(b"/v1/align", b"http://elsewhere/v1/align"),
            lambda: good.replace(b"/v1/align", chance.choice((b"*", b"//", b"/../a", b"/\xff"))),
            lambda: good.replace(b"Host: chaos\r\n", b""),
            lambda: good.replace(b"Host: chaos", b"Host: \xff\xfe\x00"),
            lambda: good.replace(b"Host", b"Ho st"),
            lambda: good.replace(b"\r\n", b"\n", 2),
            lambda: good.replace(b"Host", b"X: " + b"y" * 70_000 + b"\r\nHost"),
            lambda: good.replace(b"Host", b"X: y\r\n" * 500 + b"Host"),
            lambda: good.replace(b"image/png", b"image/png\xff; \x80=1"),
            lambda: good.replace(b"Host", b"Content-Encoding: gzip, br\r\nHost"),
            lambda: good.replace(b"Host", b"Expect: 100-continue\r\nHost"),
            lambda: good.replace(b"Host", b"Expect: nonsense\r\nHost"),
            lambda: good.replace(b"Host", b"Upgrade: h2c\r\nConnection: Upgrade\r\nHost"),
            lambda: good.replace(b"Host", b"Upgrade: websocket\r\nConnection: Upgrade\r\nHost"),
            lambda: good.replace(b"Host", b"Connection: close, keep-alive\r\nHost"),
            lambda: good.replace(b"Host", b"traceparent: 00-\xff\xff-00-zz\r\nHost"),
            lambda: good.replace(b"Host", b"Authorization: Bearer \xff\x00\r\nHost"),
            lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            lambda: bytes(chance.randrange(256) for _ in range(300)) + b"\r\n\r\n",
            lambda: files.flipped(good[:150], chance) + good[150:],
        )
    )()  # fmt: skip


def _lengths(chance: random.Random) -> Upload:
    """A stated length that is not the body's."""
    body = files.file_of("jpeg", 2)
    length = b"Content-Length: %d" % len(body)
    good = post(body)
    chunked = good.replace(length, b"Transfer-Encoding: chunked").split(b"\r\n\r\n", 1)[0]
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def stated(value: object) -> bytes:
        return good.replace(length, f"Content-Length: {value}".encode())

    wire = chance.choice(
        (
            lambda: stated(len(body) + chance.randrange(1, 10_000)),
            lambda: stated(chance.randrange(len(body))),
            lambda: stated(0),
            lambda: stated(-1),
            lambda: stated("1e3"),
            lambda: stated("+5"),
            lambda: stated("5, 5"),
            lambda: stated("9" * 30),
            lambda: stated(10**9),
            lambda: stated(f"{len(body)}\r\nContent-Length: {len(body) + 1}"),
            lambda: stated(f"{len(body)}\r\nTransfer-Encoding: chunked"),
            lambda: good.replace(length + b"\r\n", b""),
            lambda: good[: chance.randrange(len(good))],
            lambda: chunked + b"\r\n\r\n" + whole,
            lambda: chunked + b"\r\n\r\n" + whole[:-7],
            lambda: chunked + b"\r\n\r\nzz\r\n" + body,
            lambda: chunked + b"\r\n\r\n" + b"f" * 20 + b"\r\n" + body,
            lambda: chunked + b"\r\n\r\n-5\r\n" + body,
            lambda: chunked + b"\r\n\r\n" + b"1\r\n\xff\r\n" * 400 + b"0\r\n\r\n",
        )
    )()  # fmt: skip
    return Upload("lengths", wire, ends_early=chance.random() < 0.98)


KINDS: dict[str, tuple[float, Callable[[random.Random], bytes | Upload]]] = {
    "whole": (1.5, _whole),
    "damaged face": (4, _damaged_face),
    "large": (0.2, _large),
    "mutated": (62, _mutated),
    "unusual": (8, _unusual),
    "polyglot": (6, _polyglot),
    "bomb": (0.3, _bomb),
    "multipart": (7, _multipart),
    "parameters": (4, _parameters),
    "headers": (4, _headers),
    "lengths": (3, _lengths),
}
"""Share in percent, and how one is made."""


def form(
    parts: list[bytes],
    closing: bytes = b"--x-boundary--\r\n",
    boundary: str = BOUNDARY,
    suffix: str = "",
) -> bytes:
    """A multipart upload; its closing line and the boundary that its header states may be wrong."""
    body = b"".join(b"--x-boundary\r\n" + part + b"\r\n" for part in parts) + closing
    return post(body, f"multipart/form-data; boundary={boundary}{suffix}")


def _part(name: str, value: bytes, file_name: str | None = "a.jpg") -> bytes:
    file = f'; filename="{file_name}"\r\nContent-Type: image/jpeg' if file_name else ""
    return f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value


@cache
def _photograph(format_name: str, side_px: int = REFERENCE_PX) -> bytes:
    return astronaut(side_px, format_name).body
