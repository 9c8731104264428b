"""Everything the library raises on purpose.

LwbafaError
├── LoadError            a checkpoint, a detector or an engine cannot be loaded
├── DeviceLost           the device answers nothing any more in this process
├── PhotographError      this photograph cannot be read
│   ├── EmptyPhotograph, UnsupportedFormat, NotAnImage, TruncatedImage, TooManyPixels
├── InvalidBox           a face box that was given does not fit the photograph
├── InferenceFailed      the network's answer for a face is not usable
├── ServiceError         the service refused, or answered what it should not
├── NoAnswer             the service was not reached, or did not answer in time
└── BulkError            a run over many files
    ├── NoSources, UnreadableVideo, UnreadableShard, PartMismatch, StopRun, WorkerDied
    └── StoreError       ← PackageMissing
"""


class LwbafaError(Exception):
    """Root of everything this package raises on purpose; the message is for people.

    `code` is stable, and the same that the service answers with.
    """

    code = "internal_error"


class LoadError(LwbafaError):
    """A checkpoint, a detector or an engine cannot be loaded: one line says why."""


class DeviceLost(LwbafaError):
    """The device will answer nothing any more in this process."""


class PhotographError(LwbafaError):
    """A photograph that cannot be read."""


class EmptyPhotograph(PhotographError):
    """There are no bytes."""

    code = "empty_body"


class UnsupportedFormat(PhotographError):
    """The bytes are an image of no supported format, or no image at all."""

    code = "unsupported_media_type"


class NotAnImage(PhotographError):
    """The bytes begin like an image, but their header makes no sense."""

    code = "not_an_image"


class TruncatedImage(PhotographError):
    """The image ends early, or its data is damaged."""

    code = "truncated_image"


class TooManyPixels(PhotographError):
    """The image is larger than the limits in force."""

    code = "too_many_pixels"


class InvalidBox(LwbafaError):
    """A face box is none, does not touch the photograph, or is far larger than it."""

    code = "invalid_parameter"


class InferenceFailed(LwbafaError):
    """The network's answer for a face is not usable."""

    code = "inference_failed"


class ServiceError(LwbafaError):
    """What the service answered instead of faces: a problem document's fields.

    `status` is HTTP's, `code` is stable, `detail` is for people, `request_id` finds the request in
    the service's log. An answer that is none of the service's has the code `unexpected_answer`.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id


class NoAnswer(LwbafaError):
    """The service was not reached, broke the connection, or did not answer in time."""

    code = "no_answer"


class BulkError(LwbafaError):
    """Of a run over many files (`lwbafa.bulk`)."""


class NoSources(BulkError):
    """What was named is not there, or holds no picture and no video."""


class UnreadableVideo(BulkError):
    """The file cannot be opened as a video, or it has no frame."""

    code = "unreadable_video"


class UnreadableShard(BulkError):
    """A tar or Parquet file cannot be read, or not to its end."""

    code = "unreadable_shard"


class PartMismatch(BulkError):
    """What an earlier attempt has left cannot be gone on with."""


class StopRun(BulkError):
    """No further picture would fare better now."""


class StoreError(BulkError):
    """No file can be reached in a store: its URL means nothing, or its package is missing."""

    code = "unreadable_file"


class PackageMissing(StoreError):
    """What reads a store is not installed on this machine, which is no photograph's fault."""


class WorkerDied(BulkError):
    """The process that aligned the photograph has ended, each time that it was tried."""

    code = "worker_died"
