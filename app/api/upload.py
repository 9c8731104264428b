"""Reading one image out of a request body, in memory and within the limits."""

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import (
    BadMultipart,
    EmptyBody,
    MissingImageField,
    TooManyBytes,
    UnsupportedMediaType,
)
from app.imaging.header import MEDIA_TYPES

MULTIPART_OVERHEAD_BYTES = 16 * 1024
MAX_FIELDS = 8


class _InMemoryParser(MultiPartParser):
    """Never spools to disk: a face in a temporary file would be a face written to disk."""

    spool_max_size = 1 << 62
    ended = False

    def on_end(self) -> None:
        """The closing boundary: without it, the form was cut off."""
        self.ended = True


async def read_image(request: Request, max_bytes: int) -> bytes:
    """The encoded image of a raw `image/*` body, or of the multipart field `image`.

    Raises UnsupportedMediaType, TooManyBytes, EmptyBody, BadMultipart, MissingImageField.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in MEDIA_TYPES.values():
        data = b"".join([chunk async for chunk in _limited(request, max_bytes)])
    elif media_type == "multipart/form-data":
        data = await _image_field(request, max_bytes)
    else:
        accepted = ", ".join(("multipart/form-data", *MEDIA_TYPES.values()))
        raise UnsupportedMediaType(f"The body's type must be one of {accepted}.")
    if len(data) > max_bytes:
        raise _too_many_bytes(max_bytes)
    if not data:
        raise EmptyBody("The image has no bytes.")
    return data


async def _image_field(request: Request, max_bytes: int) -> bytes:
    body = _limited(request, max_bytes + MULTIPART_OVERHEAD_BYTES)
    parser = _InMemoryParser(
        request.headers, body, max_files=1, max_fields=MAX_FIELDS, max_part_size=1024
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        raise BadMultipart("The body is not a well-formed multipart form with one file.") from error
    if not parser.ended:
        raise BadMultipart("The form ends before its closing boundary.")
    try:
        field = form.get("image")
        if not isinstance(field, UploadFile):
            raise MissingImageField("Send the image as a file in the form field named image.")
        return await field.read()
    finally:
        await form.close()


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises TooManyBytes as soon as it is known, by header or by count."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_many_bytes(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_many_bytes(max_bytes)
        yield chunk


def _too_many_bytes(max_bytes: int) -> TooManyBytes:
    return TooManyBytes(f"The body is larger than {max_bytes} bytes.")
