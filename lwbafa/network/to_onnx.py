"""The network as one ONNX file, for runtimes that this project does not have."""

import json
import tempfile
import warnings
from pathlib import Path

import onnx
import torch

from lwbafa.checkpoint import Checkpoint
from lwbafa.network.scored import ScoredNetwork

OPSET = 18
INPUT, OUTPUTS = "crops", ["points", "map_values", "heatmaps"]


def write_onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Write all that engines run, from pixels to landmarks and map values, for batches of any size.

    `crops` uint8 B×S×S×3 (RGB) become what `ScoredNetwork` answers. What a caller has to know of
    the checkpoint is in the file's metadata. Raises LoadError, and OSError for the path.
    """
    contract = checkpoint.manifest.input
    module = ScoredNetwork(checkpoint.load_network(), checkpoint.markup, contract).eval()
    # Not 1, which a trace takes for a constant.
    example = torch.zeros(2, contract.size_px, contract.size_px, 3, dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        with torch.no_grad(), warnings.catch_warnings():
            # It is deprecated, but the newer exporter cannot translate the attention.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                draft,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=OUTPUTS,
                dynamic_axes={name: {0: "faces"} for name in (INPUT, *OUTPUTS)},
            )
        model = onnx.load(draft)
        model.doc_string = "Aligned faces: docs/onnx.md says how a face becomes a crop."
        onnx.helper.set_model_props(model, metadata(checkpoint))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, draft)
        draft.replace(path)


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What a caller has to know of a checkpoint."""
    manifest, calibration = checkpoint.manifest, checkpoint.calibration
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "markup": manifest.markup,
        "groups": json.dumps(checkpoint.markup.groups),
        "box": manifest.box_convention.box,
        "crop_scale": str(manifest.box_convention.crop_scale),
        "calibration": "null" if calibration is None else calibration.model_dump_json(),
        "data": manifest.training.data,
        "terms": manifest.training.terms,
    }
