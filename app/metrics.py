"""The Prometheus metrics of the service."""

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from app.memory import memory_limit_bytes

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


class Metrics:
    """The Prometheus metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        # When a series began nobody asks, and the answer is a series beside each counter's.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "lwbafa_request_seconds",
            "Request latency by route, method and status; its count is the request count",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "lwbafa_stage_seconds",
            "Time by stage of a request",
            ["model", "stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.errors = Counter(
            "lwbafa_errors",
            "Problem answers, and failed photographs of batches, by code",
            ["code"],
            registry=self.registry,
        )
        self.batch_faces = Histogram(
            "lwbafa_batch_faces",
            "Faces in a forward pass",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "lwbafa_batch_seconds",
            "Time of a forward pass",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_limit = Gauge(
            "lwbafa_batch_limit_faces",
            "Most faces in a forward pass now: fewer for a while after the device ran out of "
            "memory",
            ["model"],
            registry=self.registry,
        )
        self.pass_age = Gauge(
            "lwbafa_forward_age_seconds",
            "Seconds the current forward pass has been running; 0 when idle",
            registry=self.registry,
        )
        self.out_of_memory = Counter(
            "lwbafa_out_of_memory",
            "Forward passes that ran out of memory and were run again in halves",
            ["model"],
            registry=self.registry,
        )
        self.dropped_faces = Counter(
            "lwbafa_dropped_faces",
            "Faces that never reached the network because their request had ended or its deadline "
            "had passed, or that failed in it, by reason",
            ["model", "reason"],
            registry=self.registry,
        )
        self.queue_faces = Gauge(
            "lwbafa_queue_faces", "Faces waiting for the network", ["model"], registry=self.registry
        )
        self.queue_limit = Gauge(
            "lwbafa_queue_limit_faces",
            "Most faces that may wait for the network",
            ["model"],
            registry=self.registry,
        )
        self.queue_age = Gauge(
            "lwbafa_queue_oldest_seconds",
            "How long the oldest waiting face has waited",
            ["model"],
            registry=self.registry,
        )
        self.preparation_age = Gauge(
            "lwbafa_preparation_oldest_seconds",
            "How long the oldest photograph that no worker has taken yet has waited",
            registry=self.registry,
        )
        self.inflight = Gauge(
            "lwbafa_inflight_requests",
            "Alignment requests being worked on, their bodies complete",
            registry=self.registry,
        )
        self.inflight_limit = Gauge(
            "lwbafa_inflight_limit_requests",
            "Most requests that may be worked on at once",
            registry=self.registry,
        )
        self.upload_bytes = Gauge(
            "lwbafa_upload_bytes", "Bytes of uploads held in memory", registry=self.registry
        )
        self.upload_limit = Gauge(
            "lwbafa_upload_limit_bytes",
            "Most bytes of uploads that may be held at once",
            registry=self.registry,
        )
        self.closed_connections = Counter(
            "lwbafa_closed_connections",
            "Connections closed for their caller's slowness, or to make room, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.key_requests = Counter(
            "lwbafa_key_requests",
            "Requests by the name of their API key, refused ones included",
            ["key"],
            registry=self.registry,
        )
        self.key_file_broken = Gauge(
            "lwbafa_key_file_broken",
            "1 while the file of API keys cannot be read or understood, and the older keys hold",
            registry=self.registry,
        )
        self.ready = Gauge(
            "lwbafa_ready",
            "1 while traffic should come here; 0 while starting, draining, stopping or dead",
            registry=self.registry,
        )
        self.model = Info(
            "lwbafa_model",
            "A checkpoint that answers, and the engine and device that run it",
            ["name"],
            registry=self.registry,
        )
        self.memory_limit = Gauge(
            "lwbafa_memory_limit_bytes",
            "Memory that the process may hold: its container's limit, else the machine's memory",
            registry=self.registry,
        )
        self.memory_limit.set(memory_limit_bytes())
        ProcessCollector(registry=self.registry)  # memory, CPU time, files, time of the start
        for reason in ("slow", "crowded"):
            self.closed_connections.labels(reason)

    def add_model(
        self,
        model: str,
        info: Mapping[str, str],
        *,
        max_queue_faces: int,
        queue_faces: Callable[[], float],
        queue_age_s: Callable[[], float],
        batch_limit: Callable[[], float],
    ) -> None:
        """Show a model's state from now on, and its counters from zero."""
        self.model.labels(model).info(dict(info))
        self.queue_limit.labels(model).set(max_queue_faces)
        self.queue_faces.labels(model).set_function(queue_faces)
        self.queue_age.labels(model).set_function(queue_age_s)
        self.batch_limit.labels(model).set_function(batch_limit)
        for metric in (self.batch_faces, self.batch_seconds, self.out_of_memory):
            metric.labels(model)
        for reason in ("ended", "deadline", "failed"):
            self.dropped_faces.labels(model, reason)

    def observe_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Record one answered request's time by stage."""
        for stage, took in seconds.items():
            self.stages.labels(model, stage).observe(took)

    def observe_batch(
        self,
        model: str,
        *,
        size: int,
        seconds: float,
        dropped: int,
        expired: int,
        failed: int,
        out_of_memory: int,
    ) -> None:
        """Record one pick-up of a model's batcher; `out_of_memory` counts passes, not faces."""
        if size:
            self.batch_faces.labels(model).observe(size)
            self.batch_seconds.labels(model).observe(seconds)
        self.dropped_faces.labels(model, "ended").inc(dropped)
        self.dropped_faces.labels(model, "deadline").inc(expired)
        self.dropped_faces.labels(model, "failed").inc(failed)
        self.out_of_memory.labels(model).inc(out_of_memory)
