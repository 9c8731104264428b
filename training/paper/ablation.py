"""What each departure of our recipe from the paper's brings, by short runs from the same start.

    python -m training ablation --recipe FILE --data DIR --runs runs/ablation [--steps 200]

Every run keeps our recipe's first phase but for one thing, which is as in the paper, and is
measured on the validation faces. Short runs show what helps early, not where a long one ends.
"""

from dataclasses import fields, replace
from pathlib import Path

import torch
from tabulate import tabulate

from training.recipe import Augmentation, Phase, Recipe
from training.sources import read_sources
from training.train import Trainer

FULL_PX = 256

PAPERS_AUGMENTATION = Augmentation(scale=0.0)


def variants(recipe: Recipe, steps: int) -> dict[str, Recipe]:
    """Our recipe cut to `steps` of its first phase, and with each departure taken back."""
    # The average spans a tenth of so few steps, or it would show their beginning.
    phase = replace(
        recipe.phases[0], steps=steps, warmup_steps=steps // 10, ema_decay=1 - 20 / steps
    )
    ours = replace(recipe, phases=(phase,), input_px=phase.input_px, validate_every_steps=steps)
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
        "256 px from the start, as many pixels": replace(ours, phases=(full,), input_px=FULL_PX),
        **{
            f"the paper's {name}": replace(ours, phases=(variant,))
            for name, variant in _augmented_less(phase).items()
        },
    }


def _augmented_less(phase: Phase) -> dict[str, Phase]:
    """The phase with each augmentation that is not as in the paper taken back, by its name."""
    papers = {f.name: getattr(PAPERS_AUGMENTATION, f.name) for f in fields(PAPERS_AUGMENTATION)}
    return {
        name.replace("_", " "): replace(
            phase, augmentation=replace(phase.augmentation, **{name: value})
        )
        for name, value in papers.items()
        if getattr(phase.augmentation, name) != value
    }


def measure_departures(recipe: Path, data: Path, runs: Path, steps: int) -> None:
    """Train every variant that has not ended yet, print the table.

    Raises RecipeError, DatasetError or RunError.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ours = Recipe.read(recipe)
    faces = read_sources(data, ours)
    rows = []
    for number, (name, variant) in enumerate(variants(ours, steps).items()):
        run = runs / str(number)
        run.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(variant, faces, run, device)
        if (run / "state.pt").exists():
            trainer.restore()
        trainer.train()
        nme = float((run / "validation.csv").read_text().split(",")[-1])
        rows.append((name, variant.phases[0].steps, 100 * nme))
    print(tabulate(rows, ("as ours, but", "steps", "validation NME %"), floatfmt=".2f"))
