"""Reading one image out of a request body, in memory and within the limits.

What is an image is told by its bytes, not by how they were declared.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import (
    BadMultipart,
    EmptyBody,
    MissingImageField,
    TooManyBytes,
    TooManyUploads,
    UnsupportedMediaType,
    UploadTooSlow,
)
from app.settings import Settings
from lwbafa.imaging.formats import MEDIA_TYPES

Read = TypeVar("Read")

FORM = "multipart/form-data"
UNDECLARED = "application/octet-stream"
ACCEPTED_TYPES = (FORM, *MEDIA_TYPES.values(), UNDECLARED)

MULTIPART_OVERHEAD_BYTES = 16 * 1024
MAX_FIELDS = 20

# What cannot be an image, although it is often sent as one.
ADVICE = {
    "application/x-www-form-urlencoded": "curl -d changes the bytes: use curl --data-binary @FILE "
    "-H 'Content-Type: image/jpeg', or curl -F image=@FILE.",
    "application/json": "Send the image's bytes as the body or in a form, not in JSON.",
}


class Upload(NamedTuple):
    """What a body brings: the encoded image, and the form's other fields, in their order."""

    image: bytes
    fields: list[tuple[str, str]]


class NamedImage(NamedTuple):
    """One of several encoded images, with the name that its part gave."""

    filename: str | None
    data: bytes


class Uploads(NamedTuple):
    """What a form of several images brings: them and the other fields, in their order."""

    images: list[NamedImage]
    fields: list[tuple[str, str]]


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

    def on_headers_finished(self) -> None:
        """A part named image is the picture, also if it has no filename: many clients send none."""
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        if options.get(b"name") == b"image" and b"filename" not in options:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()

    def on_end(self) -> None:
        """The closing boundary: without it, the form was cut off."""
        self.ended = True

    def close(self) -> None:
        """Close all files, also one that the form left unfinished and does not hold."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_upload(request: Request, max_bytes: int, take: Callable[[int], None]) -> Upload:
    """The encoded image of a raw body, or of the multipart field `image` with the other fields.

    `take` hears of every chunk's length and may refuse it. What the headers tell is refused before
    the body is read. Raises UnsupportedMediaType, TooManyBytes, EmptyBody, BadMultipart,
    MissingImageField.
    """
    _refuse_encoded(request)
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type == FORM:
        async with _form(request, max_bytes, take, max_files=1) as form:
            image = form.get("image")
            if not isinstance(image, UploadFile):
                raise MissingImageField("Send the image as a file in the form field named image.")
            upload = Upload(await image.read(), _texts(form))
    elif _may_be_an_image(media_type):
        chunks = [chunk async for chunk in _limited(request, max_bytes, take)]
        upload = Upload(b"".join(chunks), [])
    else:
        usual = f"The body's type must be one of {', '.join(ACCEPTED_TYPES)}."
        raise UnsupportedMediaType(ADVICE.get(media_type, usual))
    if len(upload.image) > max_bytes:
        raise _too_many_bytes(max_bytes)
    if not upload.image:
        raise EmptyBody("The image has no bytes.")
    return upload


def _may_be_an_image(media_type: str) -> bool:
    """Whether the bytes are to be looked at: of any image type, or of none in particular."""
    return media_type.startswith("image/") or media_type in ("", UNDECLARED, "binary/octet-stream")


async def in_time(reading: Coroutine[Any, Any, Read], settings: Settings) -> Read:
    """What is read of a body. Raises UploadTooSlow if that takes longer than the settings allow."""
    seconds = settings.upload_timeout_ms / 1000
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError as error:
        raise UploadTooSlow(f"The body did not arrive within {seconds:g} seconds.") from error


async def read_uploads(
    request: Request, max_bytes: int, max_images: int, take: Callable[[int], None]
) -> Uploads:
    """The encoded images of a multipart form's fields named `image`, with the other fields.

    Raises what `read_upload` raises; an image without bytes is for its own answer to name.
    """
    _refuse_encoded(request)
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != FORM:
        raise UnsupportedMediaType(f"Send the images as {FORM}, in fields named image.")
    async with _form(request, max_bytes, take, max_images) as form:
        images = [part for part in form.getlist("image") if isinstance(part, UploadFile)]
        if not images:
            raise MissingImageField("Send the images as files in form fields named image.")
        named = [NamedImage(part.filename or None, await part.read()) for part in images]
        if any(len(image.data) > max_bytes for image in named):
            raise _too_many_bytes(max_bytes)
        return Uploads(named, _texts(form))


@asynccontextmanager
async def _form(
    request: Request, max_bytes: int, take: Callable[[int], None], max_files: int
) -> AsyncIterator[FormData]:
    """The form, whose files are closed at the end."""
    if "boundary=" not in request.headers["content-type"].lower():
        raise BadMultipart(
            "The Content-Type names no boundary: let the client that builds the form set it."
        )
    overhead = max_files * MULTIPART_OVERHEAD_BYTES
    parser = _InMemoryParser(
        request.headers,
        _limited(request, max_bytes + overhead, take),
        max_files=max_files,
        max_fields=MAX_FIELDS,
        max_part_size=MULTIPART_OVERHEAD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:  # the latter of odd charsets
        files = (
            "one file; /v1/align/batch takes several"
            if max_files == 1
            else f"at most {max_files} files"
        )
        raise BadMultipart(f"The body is not a well-formed multipart form with {files}.") from error
    try:
        if not parser.ended:
            raise BadMultipart("The form ends before its closing boundary.")
        if not _is_text(form):
            raise BadMultipart("A name or a field of the form is no Unicode text.")
        yield form
    finally:
        parser.close()


def _is_text(form: FormData) -> bool:
    """Whether all can be answered in JSON: some charsets decode halves of characters."""
    texts = (
        name + (value if isinstance(value, str) else value.filename or "")
        for name, value in form.multi_items()
    )
    return not any("\ud800" <= character <= "\udfff" for text in texts for character in text)


def _refuse_encoded(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")


def _texts(form: FormData) -> list[tuple[str, str]]:
    return [(name, text) for name, text in form.multi_items() if isinstance(text, str)]


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
