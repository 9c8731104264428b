"""Turn a finished training run into a checkpoint folder, with its accuracy measured.

    python -m training.export --run runs/NAME --recipe FILE --data DIR \
        --version 1.0.0 --out model_store/lwbafa-300w68

Writes `model.safetensors` and `manifest.json`; the model card beside them is written by people.
"""

import argparse
import hashlib
import platform
import sys
from pathlib import Path

from app.checkpoints import (
    CURRENT_BOX,
    CURRENT_INPUT,
    Manifest,
    Training,
    load_checkpoint,
)
from app.errors import StartupError
from training.datasets import TEST_300W, DatasetError, load_300w
from training.evaluate import default_detector, measure
from training.recipe import read_recipe

TERMS = (
    "Weights for non-commercial research only, as the training data (300-W) is; code Apache-2.0."
)


def main() -> None:
    """Command line: export, then load what was written and measure it."""
    parser = argparse.ArgumentParser(description="Export a training run as a checkpoint.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="300-W root folder")
    parser.add_argument("--version", required=True)
    parser.add_argument("--hardware", default=platform.processor() or platform.machine())
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        recipe = read_recipe(arguments.recipe)
        weights = (arguments.run / "network.safetensors").read_bytes()
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "model.safetensors").write_bytes(weights)
        manifest = Manifest(
            name=arguments.out.name,
            version=arguments.version,
            architecture="lwbafa",
            markup=recipe.markup,
            weights_file="model.safetensors",
            sha256=hashlib.sha256(weights).hexdigest(),
            input=CURRENT_INPUT,
            box_convention=CURRENT_BOX,
            training=Training(
                data="300-W: " + ", ".join(recipe.folders),
                terms=TERMS,
                recipe=arguments.recipe.as_posix(),
                hardware=arguments.hardware,
            ),
            accuracy=(),
        )
        _write(arguments.out, manifest)
        checkpoint = load_checkpoint(arguments.out)
        faces = load_300w(arguments.data, TEST_300W)
        rows = measure(checkpoint, faces, "300-W helen/testset", default_detector())
        _write(arguments.out, manifest.model_copy(update={"accuracy": rows}))
    except (OSError, ValueError, StartupError, DatasetError) as error:
        sys.exit(f"training.export: {error}")
    for row in rows:
        print(row.model_dump_json())


def _write(folder: Path, manifest: Manifest) -> None:
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    main()
