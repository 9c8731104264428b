"""Turn a finished training run into a checkpoint folder, with its accuracy measured.

    python -m training.export --run runs/NAME --recipe FILE --data DIR \
        --version 1.0.0 --terms "…" --out model_store/lwbafa-300w68

Writes `model.safetensors` and `manifest.json`; `training.quantise` adds the int8 model, and people
write the model card.
"""

import argparse
import hashlib
import platform
import sys
from pathlib import Path

from lwbafa.checkpoint import CURRENT_BOX, CURRENT_INPUT, Manifest, Training
from lwbafa.errors import LoadError
from lwbafa.markups import MARKUPS
from training.datasets import DatasetError, load_faces
from training.evaluate import TEST_SOURCES
from training.measure_engines import draft, measure_engines, write_manifest
from training.recipe import Recipe, RecipeError


def main() -> None:
    """Command line: export, then load what was written and measure it."""
    parser = argparse.ArgumentParser(description="Export a training run as a checkpoint.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--test-sources", nargs="+", default=list(TEST_SOURCES))
    parser.add_argument("--version", required=True)
    parser.add_argument("--terms", required=True, help="on what terms the weights may be used")
    parser.add_argument("--hardware", default=platform.processor() or platform.machine())
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        recipe = Recipe.read(arguments.recipe)
        landmark_count = MARKUPS[recipe.markup].landmark_count
        faces = load_faces(arguments.data, arguments.test_sources, landmark_count)
        weights = (arguments.run / "network.safetensors").read_bytes()
        manifest = Manifest(
            name=arguments.out.name,
            version=arguments.version,
            architecture=recipe.architecture,
            markup=recipe.markup,
            weights_file="model.safetensors",
            sha256=hashlib.sha256(weights).hexdigest(),
            input=CURRENT_INPUT,
            box_convention=CURRENT_BOX,
            training=Training(
                data=", ".join(recipe.sources),
                terms=arguments.terms,
                recipe=arguments.recipe.as_posix(),
                hardware=arguments.hardware,
            ),
            accuracy=(),
        )
        with draft(arguments.out) as folder:
            (folder / manifest.weights_file).write_bytes(weights)
            write_manifest(folder, manifest)
            measure_engines(folder, faces, ", ".join(arguments.test_sources))
    except (OSError, ValueError, LoadError, RecipeError, DatasetError) as error:
        sys.exit(f"training.export: {error}")


if __name__ == "__main__":
    main()
