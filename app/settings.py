"""Every knob of the service, read from environment variables `LWBAFA_…` and validated at start."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import StartupError
from lwbafa.detection.choose import DETECTORS
from lwbafa.engine.choose import ENGINES
from lwbafa.model_store import DEFAULT_CHECKPOINT, MODEL_STORE

# As browsers send it: in lower case, without a path, and without a slash at its end.
ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


def _split(text: Any) -> Any:
    return (
        [part.strip() for part in text.split(",") if part.strip()]
        if isinstance(text, str)
        else text
    )


class Settings(BaseSettings):
    """The service's settings; units are in the names."""

    model_config = SettingsConfigDict(env_prefix="LWBAFA_", frozen=True)

    # Nothing would be all addresses.
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written"
    )
    log_probes: bool = Field(
        True,
        description="Whether answered requests for `/livez`, `/readyz` and `/metrics` are logged",
    )
    checkpoint_dirs: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = Field(
        (MODEL_STORE / DEFAULT_CHECKPOINT,),
        min_length=1,
        description="Folders of the checkpoints to serve, separated by commas; the first is the "
        "default",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the network runs; auto takes the GPU if there is one"
    )
    engine: str = Field(
        "auto",
        description=f"What runs the network: {', '.join(ENGINES)}; auto takes the fastest that "
        "keeps the accuracy",
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
    detector: str = Field("yunet", description=f"What finds faces: {', '.join(DETECTORS)}")
    detector_file: Path | None = Field(
        None, description="The detector's network; by default the model store's"
    )
    detection_longest_side_px: int | None = Field(
        None,
        ge=64,
        le=2048,
        description="Photographs are shrunk to this longest side for detection; by default the "
        "detector's own",
    )
    detection_score_threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Least confidence for a detected face; by default the detector's own",
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
    max_batch_images: int = Field(
        32, ge=1, le=1024, description="Most photographs in one request to /v1/align/batch"
    )
    max_batch_faces: int = Field(8, ge=1, le=256, description="Most faces in one forward pass")
    max_queue_faces: int = Field(
        64, ge=1, description="Most faces waiting for the network, of each model"
    )
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

    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        description="Origins whose pages may call the API from a browser, separated by commas, "
        "such as `https://example.com`; `*` allows all",
    )
    page: bool = Field(
        True, description="Whether `GET /` answers a page to try the service in a browser"
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is not an origin, such as https://example.com")
        return origins

    @field_validator("engine")
    @classmethod
    def _engine_is_known(cls, name: str) -> str:
        return _one_of(name, ("auto", *ENGINES))

    @field_validator("detector")
    @classmethod
    def _detector_is_known(cls, name: str) -> str:
        return _one_of(name, tuple(DETECTORS))

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
        raise StartupError(
            f"setting {min(unknown)}: there is no such setting{_hint(min(unknown), known)}"
        )
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        names = ", ".join(f"LWBAFA_{str(part).upper()}" for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise StartupError(f"setting {names}: {message}" if names else message) from error


def _one_of(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return name


def _hint(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
