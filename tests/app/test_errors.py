"""Every error of the library that a request can meet has its answer."""

import pytest

from app.errors import BadRequest, as_request_error
from lwbafa import errors as library
from lwbafa.errors import LwbafaError, PhotographError


def leaves(root: type[LwbafaError]) -> list[type[LwbafaError]]:
    below = root.__subclasses__()
    return [leaf for error in below for leaf in leaves(error)] if below else [root]


@pytest.mark.parametrize(
    "error", [*leaves(PhotographError), library.InvalidBox, library.InferenceFailed]
)
def test_a_library_error_is_an_answer_that_says_the_same(error: type[LwbafaError]) -> None:
    answer = as_request_error(error("what is wrong"))
    assert answer is not None
    assert answer.detail == "what is wrong"
    assert answer.code == error.code
    # Only the network's own failure is the service's fault.
    assert answer.status == 500 if error is library.InferenceFailed else answer.status < 500


def test_an_answer_stays_what_it_is_and_a_bug_is_none() -> None:
    error = BadRequest("as it is", retry_after_s=3)
    assert as_request_error(error) is error
    assert as_request_error(RuntimeError("a bug")) is None
    assert as_request_error(library.LoadError("not of a request")) is None
