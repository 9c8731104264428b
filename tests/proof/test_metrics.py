"""What is read of `/metrics` is what Prometheus would read."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from proof.harness.metrics import metric


@pytest.fixture
def text() -> str:
    registry = CollectorRegistry()
    faces = Histogram("faces", "", ["model"], buckets=(1, 4), registry=registry)
    for model, value in (("one", 1), ("one", 3), ("two", 4)):
        faces.labels(model).observe(value)
    Counter("errors", "", ["code"], registry=registry)
    return generate_latest(registry).decode()


def test_samples_that_have_the_labels_are_summed(text: str) -> None:
    assert metric(text, "faces_count") == 3
    assert metric(text, "faces_count", model="one") == 2
    assert metric(text, "faces_sum", model="two") == 4
    assert metric(text, "faces_bucket", le="1.0") == 1


def test_nothing_observed_is_zero_and_an_unknown_name_is_an_error(text: str) -> None:
    assert metric(text, "errors_total", code="any") == 0
    assert metric(text, "faces_count", model="three") == 0
    with pytest.raises(LookupError, match="fases_count"):
        metric(text, "fases_count")
