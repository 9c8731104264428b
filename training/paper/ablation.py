"""What each departure of our recipe from the paper's brings, by short runs from the same start.

    python -m training.paper.ablation --data DIR --runs runs/departures [--steps 200]

Every run keeps our recipe's first phase but for one thing, which is as in the paper, and is
measured on the validation faces. Short runs show what helps early, not where a long one ends.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from lwbafa.markups import MARKUPS
from training.datasets import DatasetError, load_faces
from training.recipe import Augmentation, Recipe, RecipeError
from training.train import Trainer

FULL_PX = 256


def variants(recipe: Recipe, steps: int) -> dict[str, Recipe]:
    """Our recipe cut to `steps` of its first phase, and with each departure taken back."""
    # The average spans a tenth of so few steps, or it would show their beginning.
    phase = replace(
        recipe.phases[0], steps=steps, warmup_steps=steps // 10, ema_decay=1 - 20 / steps
    )
    ours = replace(recipe, phases=(phase,), validate_every_steps=steps)
    affordable = max(1, steps * phase.input_px**2 // FULL_PX**2)
    full = replace(
        phase,
        input_px=FULL_PX,
        steps=affordable,
        warmup_steps=affordable // 10,
        ema_decay=0.5,
    )
    slow = replace(phase, peak_learning_rate=1e-4, final_learning_rate=1e-4)
    return {
        "ours": ours,
        "loss in units of the crop's side, β = 1e-4": replace(
            ours, landmark_loss="crop", heatmap_weight=1e-4
        ),
        "Adam at 1e-4, betas (.5, .9)": replace(ours, phases=(slow,), adam_betas=(0.5, 0.9)),
        "no averaged weights": replace(ours, phases=(replace(phase, ema_decay=0.0),)),
        "no change of scale": replace(ours, augmentation=replace(Augmentation(), scale=0.0)),
        "256 px from the start, as many pixels": replace(ours, phases=(full,)),
    }


def main() -> None:
    """Command line: train every variant that has not ended yet, print the table."""
    parser = argparse.ArgumentParser(description="Measure our departures from the paper.")
    recipe_path = Path("training/recipes/lwbafa-300w68-cpu.toml")
    parser.add_argument("--recipe", type=Path, default=recipe_path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        recipe = Recipe.read(arguments.recipe)
        landmarks = MARKUPS[recipe.markup].landmark_count
        faces = load_faces(arguments.data, recipe.sources, landmarks)
        print(f"{'as ours, but':46}{'steps':>7}{'validation NME %':>18}", flush=True)
        for number, (name, variant) in enumerate(variants(recipe, arguments.steps).items()):
            run = arguments.runs / str(number)
            run.mkdir(parents=True, exist_ok=True)
            trainer = Trainer(variant, faces, run, device)
            if (run / "state.pt").exists():
                trainer.restore()
            trainer.train()
            nme = float((run / "validation.csv").read_text().split(",")[-1])
            print(f"{name:46}{variant.phases[0].steps:7}{100 * nme:18.2f}", flush=True)
    except (OSError, ValueError, RecipeError, DatasetError) as error:
        sys.exit(f"training.departures: {error}")


if __name__ == "__main__":
    main()
