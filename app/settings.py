"""Every knob of the service, read from environment variables `LWBAFA_…` and validated at start."""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import StartupError

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The service's settings; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="LWBAFA_", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written"
    )
    checkpoint_dir: Path = Field(
        ROOT / "model_store" / "lwbafa-300w68", description="Folder of the checkpoint to serve"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the network runs; auto takes the GPU if there is one"
    )
    engine: Literal["auto", "torch", "openvino", "openvino-int8"] = Field(
        "auto",
        description="What runs the network; auto takes the fastest that keeps the accuracy",
    )
    cache_dir: Path = Field(
        Path("~/.cache/lwbafa"), description="Keeps what is converted at the first start"
    )
    network_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of the network on the CPU; 0 takes all that are granted",
    )
    worker_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that decode, detect and draw; 0 takes one per granted CPU",
    )
    detector_file: Path = Field(
        ROOT / "model_store" / "centerface" / "centerface.onnx",
        description="The CenterFace network",
    )
    detection_longest_side_px: int = Field(
        640, ge=64, le=2048, description="Photographs are shrunk to this longest side for detection"
    )
    detection_score_threshold: float = Field(
        0.4, gt=0, lt=1, description="Least confidence for a detected face"
    )
    max_upload_bytes: int = Field(20 * 2**20, ge=1024, description="Largest accepted body")
    max_held_upload_bytes: int = Field(
        256 * 2**20, description="Most bytes of all uploads held at once; two of the largest fit"
    )
    max_image_pixels: int = Field(
        50_000_000, ge=4096, le=1 << 28, description="Largest accepted width × height"
    )
    max_image_side_px: int = Field(
        20_000, ge=64, le=1 << 16, description="Longest accepted side of an image"
    )
    max_request_faces: int = Field(
        32, ge=1, description="Most faces or boxes in one request; at most MAX_QUEUE_FACES"
    )
    max_batch_faces: int = Field(8, ge=1, le=256, description="Most faces in one forward pass")
    max_queue_faces: int = Field(64, ge=1, description="Most faces waiting for the network")
    max_inflight_requests: int = Field(
        64, ge=1, description="Most requests being worked on at once"
    )
    max_connections: int = Field(
        1000,
        ge=8,
        description="Most open connections; beyond, the one that idles longest is closed",
    )
    header_timeout_ms: int = Field(
        10_000, ge=1, description="Longest time that receiving a request's headers may take"
    )
    upload_timeout_ms: int = Field(
        30_000,
        ge=1,
        description="Longest time that receiving a body, or sending its answer, may take",
    )
    request_deadline_ms: int = Field(
        10_000, ge=1, description="Longest time between a received body and its answer"
    )
    forward_timeout_ms: int = Field(
        60_000, ge=1, description="A forward pass that takes longer hangs: the process ends"
    )
    drain_delay_ms: int = Field(
        5_000, ge=0, description="How long to go on serving, not ready, after SIGTERM"
    )
    keep_alive_ms: int = Field(
        75_000, ge=1, description="How long an idle connection is kept; longer than proxies keep it"
    )

    api_keys_file: Path | None = Field(
        None, description="File of API keys, one `name:sha256` a line; read again when it changes"
    )
    api_keys: str = Field(
        "", description="API keys as `name:sha256`, separated by commas or spaces"
    )
    api_key_requests_per_minute: int = Field(
        0, ge=0, description="Most requests a minute with one API key; 0 sets no limit"
    )

    @property
    def wants_api_keys(self) -> bool:
        """Whether `/v1` needs an API key."""
        return bool(self.api_keys or self.api_keys_file)

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> Self:
        if self.max_request_faces > self.max_queue_faces:
            raise ValueError("LWBAFA_MAX_REQUEST_FACES cannot exceed LWBAFA_MAX_QUEUE_FACES")
        return self

    @model_validator(mode="after")
    def _uploads_fit_the_memory_for_them(self) -> Self:
        if self.max_held_upload_bytes < 2 * self.max_upload_bytes:
            raise ValueError("LWBAFA_MAX_HELD_UPLOAD_BYTES is less than two uploads may bring")
        return self

    @model_validator(mode="after")
    def _a_rate_is_somebodys(self) -> Self:
        if self.api_key_requests_per_minute and not self.wants_api_keys:
            raise ValueError("LWBAFA_API_KEY_REQUESTS_PER_MINUTE needs API keys")
        return self


def read_settings() -> Settings:
    """Settings from the environment. Raises StartupError that names the first wrong variable."""
    known = {f"LWBAFA_{name.upper()}" for name in Settings.model_fields}
    if unknown := {name for name in os.environ if name.startswith("LWBAFA_")} - known:
        raise StartupError(f"setting {min(unknown)}: there is no such setting")
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        names = ", ".join(f"LWBAFA_{str(part).upper()}" for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise StartupError(f"setting {names}: {message}" if names else message) from error


def granted_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use: its affinity, and its cgroup's quota rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """CPUs that the cgroup, version 2 or 1, is granted; None if it has no quota."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # the other version, or "max": no quota
            quota, period = (int(n) for f in files for n in (cgroup / f).read_text().split())
            return quota / period if quota > 0 else None
    return None
