"""The frontier as a picture: error against speed, ours and what a user would pick instead.

python -m bench --only rivals --only accuracy --data DIR
python -m bench.frontier --out docs/frontier.png
"""

import json
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from proof.harness import ROOT

SETS = {"Helen test": "o", "WFLW held back": "^"}
"""How the accuracy bench calls its faces, and their marks."""


Measured = tuple[str, str, float, float]
"""A library, a set of faces, photographs a second, NME in percent."""


def points(result: dict[str, Any]) -> list[Measured]:
    """Library, set, faces a second with its detector, and NME in percent of those all found."""
    benches = result["benches"]
    speeds = {
        row["library"]: row["with its detector"]["median"] for row in benches["rivals"]["rows"]
    }
    found = []
    for row in benches["accuracy"]["rows"]:
        name = next(name for name in SETS if row["faces"].startswith(name))
        library = row["library"]
        # What MediaPipe's points go through differs by what there is to fit it on.
        alike = [value for other, value in speeds.items() if _plain(other) == _plain(library)]
        speed = speeds.get(library) or next(iter(alike), None)
        if speed:
            found.append((library, name, float(speed), float(row["NME %, found by all"])))
    return found


def _plain(library: str) -> str:
    return library.split(",")[0]


def draw(measured: list[Measured], machine: str, path: Path) -> None:
    """Draw the picture; better is right and down."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel=f"photographs of one face a second, detection included ({machine})",
        ylabel="NME, % of the inter-ocular distance",
        xscale="log",
    )
    libraries = [*dict.fromkeys(library for library, *_ in measured)]
    for library, faces, speed, error in measured:
        color = f"C{libraries.index(library)}"
        label = library if faces == measured[0][1] else None
        axes.scatter(speed, error, color=color, marker=SETS[faces], s=60, label=label)
    axes.grid(alpha=0.3, which="both")
    marks = ", ".join(
        f"{'circles' if mark == 'o' else 'triangles'}: {n}" for n, mark in SETS.items()
    )
    axes.legend(title=marks, fontsize="small", title_fontsize="small")
    figure.savefig(path, dpi=120)


@click.command()
@click.option(
    "--results",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=ROOT / "bench" / "results" / "latest.json",
    show_default=True,
    help="What `python -m bench` wrote.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(results: Path, out: Path) -> None:
    """Draw error against speed of one run of the benches."""
    result = json.loads(results.read_text())
    try:
        measured = points(result)
    except KeyError as error:
        raise click.ClickException(f"{results} holds no bench {error}") from error
    machine = result["machine"]
    draw(measured, f"{machine['cores_granted']} cores, {machine['cpu']}", out)
    for library, faces, speed, nme in measured:
        print(f"{library:45} {faces:16} {speed:8.1f}/s {nme:6.2f} %")


if __name__ == "__main__":
    main()
