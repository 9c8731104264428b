"""Every failure that a caller or an operator can meet, each with its status and stable code.

Callers get them as RFC 9457 problem documents. What the library raises knows no HTTP:
`as_request_error` tells which answer it is.

    LwbafaError               the library's root (`lwbafa.errors`)
    ├── StartupError          the process ends before it serves (not an HTTP answer)
    └── RequestError          an HTTP answer
        ├── BadRequest, EmptyBody, NotAnImage, TruncatedImage, BadMultipart 400
        ├── ApiKeyMissing, ApiKeyWrong                                     401
        ├── NotFound                                                       404
        ├── MethodNotAllowed                                               405
        ├── UploadTooSlow                                                  408
        ├── TooManyBytes, TooManyPixels                                    413
        ├── UnsupportedMediaType                                           415
        ├── InvalidParameter, MissingImageField                            422
        ├── QueueFull, TooManyUploads, RateLimited                         429
        ├── HeadersTooLarge                                                431
        ├── InferenceFailed, InternalError                                 500
        ├── NotReady                                                       503
        └── DeadlineExceeded, CallerDeadlineExceeded                       504
"""

from collections.abc import Mapping
from typing import ClassVar

from lwbafa import errors as library
from lwbafa.errors import LwbafaError

CLIENT_CLOSED_REQUEST = 499
"""The status, in metrics and logs, of a request whose caller left before an answer began."""


class StartupError(LwbafaError):
    """The service cannot start: one line says why, and the process exits non-zero."""


class RequestError(LwbafaError):
    """A request that cannot be answered; the message is the problem document's detail."""

    status: ClassVar[int]
    code: str
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


def request_errors(root: type[RequestError] = RequestError) -> list[type[RequestError]]:
    """Every kind of HTTP error answer: the tree's leaves, in its order."""
    below = root.__subclasses__()
    return [leaf for error in below for leaf in request_errors(error)] if below else [root]


class BadRequest(RequestError):
    status, code, title = 400, "bad_request", "The request is not well-formed HTTP"


class EmptyBody(RequestError):
    status, code, title = 400, "empty_body", "The request carries no image bytes"


class NotAnImage(RequestError):
    status, code, title = 400, "not_an_image", "The bytes are not a readable image"


class TruncatedImage(RequestError):
    status, code, title = 400, "truncated_image", "The image ends early or its data is damaged"


class BadMultipart(RequestError):
    status, code, title = 400, "bad_multipart", "The multipart body cannot be read"


class ApiKeyMissing(RequestError):
    status, code, title = 401, "api_key_missing", "This path needs an API key"


class ApiKeyWrong(RequestError):
    status, code, title = 401, "api_key_wrong", "The API key is not known"


class NotFound(RequestError):
    status, code, title = 404, "not_found", "There is nothing at this path"


class MethodNotAllowed(RequestError):
    status, code, title = 405, "method_not_allowed", "This path does not take this method"


class UploadTooSlow(RequestError):
    status, code, title = 408, "upload_too_slow", "The request took too long to arrive"


class TooManyBytes(RequestError):
    status, code, title = 413, "too_many_bytes", "The upload is larger than the service accepts"


class TooManyPixels(RequestError):
    status, code, title = 413, "too_many_pixels", "The image is larger than accepted"


class UnsupportedMediaType(RequestError):
    status, code, title = 415, "unsupported_media_type", "This kind of content is not accepted"


class InvalidParameter(RequestError):
    status, code, title = 422, "invalid_parameter", "A parameter is not valid"


class MissingImageField(RequestError):
    status, code, title = 422, "missing_image_field", "The form has no file field named image"


class QueueFull(RequestError):
    status, code, title = 429, "queue_full", "The service has as much work as it accepts"


class TooManyUploads(RequestError):
    status, code, title = 429, "too_many_uploads", "Uploads take as much memory as they may"


class RateLimited(RequestError):
    status, code, title = 429, "rate_limited", "This API key has made too many requests"


class HeadersTooLarge(RequestError):
    status, code, title = 431, "headers_too_large", "The request's headers are too large"


class InferenceFailed(RequestError):
    status, code, title = 500, "inference_failed", "The network failed on this face"


class InternalError(RequestError):
    status, code, title = 500, "internal_error", "Something unexpected went wrong"


class NotReady(RequestError):
    status, code, title = 503, "not_ready", "The service is starting or stopping"


class DeadlineExceeded(RequestError):
    status, code, title = 504, "deadline_exceeded", "The answer would have come too late"


class CallerDeadlineExceeded(RequestError):
    status, code = 504, "caller_deadline_exceeded"
    title = "The answer would have come later than the caller wanted"


ANSWERS: Mapping[type[LwbafaError], type[RequestError]] = {
    library.EmptyPhotograph: EmptyBody,
    library.UnsupportedFormat: UnsupportedMediaType,
    library.NotAnImage: NotAnImage,
    library.TruncatedImage: TruncatedImage,
    library.TooManyPixels: TooManyPixels,
    library.InvalidBox: InvalidParameter,
    library.InferenceFailed: InferenceFailed,
}
"""The answer to each error of the library that a request can meet."""


def as_request_error(error: Exception) -> RequestError | None:
    """The answer to an error: its own, or that of the library's error; None for a bug."""
    if isinstance(error, RequestError):
        return error
    answer = ANSWERS.get(type(error)) if isinstance(error, LwbafaError) else None
    return answer(str(error)) if answer else None
