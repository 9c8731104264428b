"""Reading one image out of a request body, in memory and within the limits."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import (
    BadMultipart,
    EmptyBody,
    MissingImageField,
    TooManyBytes,
    TooManyUploads,
    UnsupportedMediaType,
)
from lwbafa.imaging.formats import MEDIA_TYPES

MULTIPART_OVERHEAD_BYTES = 16 * 1024
MAX_FIELDS = 8


class UploadMemory:
    """Counts the bytes of all uploads at hand, from their arrival until their request ends.

    An upload that is slow takes only what it has brought, and one that finds the memory full frees
    its own part at once.
    """

    def __init__(self, max_bytes: int, expected_wait_s: Callable[[], float]) -> None:
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._expected_wait_s = expected_wait_s

    @contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """One request's part: call with each chunk's length, before more is read.

        Raises TooManyUploads (with Retry-After), at once if the memory is full already.
        """
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            mine += count
            self.held_bytes += count
            if self.held_bytes >= self._max_bytes:
                raise TooManyUploads(
                    f"Uploads at hand take {self._max_bytes} bytes.",
                    retry_after_s=self._expected_wait_s(),
                )

        try:
            take(0)
            yield take
        finally:
            self.held_bytes -= mine


class _InMemoryParser(MultiPartParser):
    """Never spools to disk: a face in a temporary file would be a face written to disk."""

    spool_max_size = 1 << 62
    ended = False

    def on_end(self) -> None:
        """The closing boundary: without it, the form was cut off."""
        self.ended = True

    def close(self) -> None:
        """Close all files, also one that the form left unfinished and does not hold."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_image(request: Request, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """The encoded image of a raw `image/*` body, or of the multipart field `image`.

    `take` hears of every chunk's length and may refuse it. What the headers tell is refused before
    the body is read. Raises UnsupportedMediaType, TooManyBytes, EmptyBody, BadMultipart,
    MissingImageField.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in MEDIA_TYPES.values():
        data = b"".join([chunk async for chunk in _limited(request, max_bytes, take)])
    elif media_type == "multipart/form-data":
        data = await _image_field(request, max_bytes, take)
    else:
        accepted = ", ".join(("multipart/form-data", *MEDIA_TYPES.values()))
        raise UnsupportedMediaType(f"The body's type must be one of {accepted}.")
    if len(data) > max_bytes:
        raise _too_many_bytes(max_bytes)
    if not data:
        raise EmptyBody("The image has no bytes.")
    return data


async def _image_field(request: Request, max_bytes: int, take: Callable[[int], None]) -> bytes:
    body = _limited(request, max_bytes + MULTIPART_OVERHEAD_BYTES, take)
    parser = _InMemoryParser(
        request.headers, body, max_files=1, max_fields=MAX_FIELDS, max_part_size=1024
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:  # the latter of odd charsets
        raise BadMultipart("The body is not a well-formed multipart form with one file.") from error
    try:
        if not parser.ended:
            raise BadMultipart("The form ends before its closing boundary.")
        field = form.get("image")
        if not isinstance(field, UploadFile):
            raise MissingImageField("Send the image as a file in the form field named image.")
        return await field.read()
    finally:
        parser.close()


async def _limited(
    request: Request, max_bytes: int, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises TooManyBytes as soon as it is known, by header or by count."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_many_bytes(max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_many_bytes(max_bytes)
        take(len(chunk))
        yield chunk


def _too_many_bytes(max_bytes: int) -> TooManyBytes:
    return TooManyBytes(f"The body is larger than {max_bytes} bytes.")
