"""OpenVINO models of the network: read as int8, or converted from its weights and cached."""

import hashlib
import logging
import shutil
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

from app import lwbafa
from app.checkpoints import Checkpoint
from app.engine import aligner
from app.lwbafa import INPUT_PX
from app.quiet_openvino import ov

logger = logging.getLogger(__name__)


def int8_model(checkpoint: Checkpoint) -> ov.Model:
    """The checkpoint's int8 model. Raises StartupError without one."""
    graph, weights = checkpoint.int8_files()
    return ov.Core().read_model(graph, weights)


def fp32_model(checkpoint: Checkpoint, cache_dir: Path) -> ov.Model:
    """The checkpoint's network in single precision: from the cache, else converted and cached.

    A cache that cannot be read or written costs the time of a conversion, nothing else.
    """
    try:
        folder = cache_dir.expanduser() / _content_key(checkpoint)
    except RuntimeError:  # there is no home directory
        return converted(checkpoint)
    try:
        return ov.Core().read_model(folder / "model.xml")
    except RuntimeError:  # not there, or broken
        model = converted(checkpoint)
        _save(model, folder)
        return model


def converted(checkpoint: Checkpoint) -> ov.Model:
    """The checkpoint's network with all that `Aligner` adds, for batches of any size."""
    logger.info("converting the network for OpenVINO: up to a minute, once")
    started = time.monotonic()
    module = aligner.Aligner(checkpoint.load_network(), checkpoint.markup)
    # Not 1, which a trace takes for a constant.
    example = torch.zeros(2, INPUT_PX, INPUT_PX, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO would trace by itself, in the same deprecated way, but thrice to compare.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    shape = ov.PartialShape([-1, *example.shape[1:]])
    model = ov.convert_model(traced, input=[(shape, ov.Type.u8)])
    logger.info("converted the network in %.0f s", time.monotonic() - started)
    return model


def _content_key(checkpoint: Checkpoint) -> str:
    """Names everything that a conversion is made of."""
    content = hashlib.sha256(checkpoint.manifest.sha256.encode())
    for package in ("openvino", "torch"):
        content.update(version(package).encode())
    network = sorted(Path(lwbafa.__path__[0]).glob("*.py"))
    sources = [Path(__file__), Path(aligner.__file__), *network]
    for source in sources:
        content.update(source.read_bytes())
    return content.hexdigest()[:32]


def _save(model: ov.Model, folder: Path) -> None:
    """Put a model into its cache folder at once, so that no other process reads half of it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            ov.save_model(model, Path(unfinished, "made", "model.xml"), compress_to_fp16=False)
            shutil.rmtree(folder, ignore_errors=True)
            Path(unfinished, "made").rename(folder)
    except (OSError, RuntimeError) as error:
        logger.warning("the converted network was not cached in %s: %s", folder, error)
