"""The paper's tables 1 to 4, every printed row, with our own and the rivals' rows.

    python -m training tables --checkpoint model_store/lwbafa-300w68 --data DIR \
        [--rivals FILE] [--markdown docs/tables.md]

Each row says whether it was printed or measured, and on what. Where our faces are not all of a
benchmark's, the figures are near neighbours, not comparable to the second decimal: the challenging
set, the whole of 300-W and WFLW's test faces are not at hand, so no row of ours stands there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lwbafa.aligner import FaceAligner
from lwbafa.engine.choose import EngineOptions
from training.datasets import WFLW_ATTRIBUTES, load_faces
from training.errors import TrainingError
from training.evaluate import BoxResult, measure, with_boxes
from training.paper.cost import cost_rows
from training.paper.rivals import read_rivals
from training.paper.table import Row, Tables, published


class Split(NamedTuple):
    """What our rows are measured on, and what to call that many faces of it."""

    source: str
    faces: str


SPLITS = {
    "300w-68": Split("300w/helen/testset", "{} Helen test faces"),
    "wflw-98": Split(
        "wflw/WFLW_annotations/list_98pt_rect_attr_val.txt", "{} of our own validation faces"
    ),
}
"""By markup. Helen's test faces are a part of 300-W's common set; WFLW has no validation faces."""

INTRODUCTION = """\
# The paper's tables, with our rows

`python -m training tables --markdown docs/tables.md` writes this page ([all of its
options](../CONTRIBUTING.md#training)). Figures are *printed* in the paper, or *measured* by us on
what the row names.

Our faces are parts of the benchmarks, so measured rows are near neighbours of the printed ones,
not comparable to the second decimal. No row of ours stands under the challenging set, the whole of
300-W or WFLW's test faces: the data at hand cannot give them.
"""


def with_accuracy(tables: Tables, model: str, markup: str, results: Sequence[BoxResult]) -> Tables:
    """The tables with a checkpoint's rows, one per kind of box, where its markup's faces belong."""
    whole, by_attribute = [], []
    for result in results:
        row = result.accuracy("all")
        missed = f", {result.missed} not found" if result.missed else ""
        on = f"{SPLITS[markup].faces.format(row.faces)}{missed}, {result.box} box"
        nme = f"{row.nme_percent:.2f}"
        if markup == "300w-68":
            figures = {"common": nme}
        else:
            figures = {
                "NME %": nme,
                "FR %": f"{row.failure_rate_percent:.2f}",
                "AUC": f"{row.auc:.4f}",
            }
        whole.append(Row(model, figures, "measured", on))
        if attributes := _nme_by_attribute(result):
            by_attribute.append(Row(model, attributes, "measured", on))
    if markup == "300w-68":
        return tables._replace(of_300w=tables.of_300w.with_rows(whole))
    return tables._replace(
        of_wflw=tables.of_wflw.with_rows(whole),
        by_attribute=tables.by_attribute.with_rows(by_attribute),
    )


def _nme_by_attribute(result: BoxResult) -> dict[str, str]:
    errors = {
        name: [face.nme for face in result.faces if name in face.face.attributes]
        for name in WFLW_ATTRIBUTES
    }
    return {name: f"{100 * np.mean(some):.2f}" for name, some in errors.items() if some}


def measured(tables: Tables, checkpoint: Path, data: Path) -> Tables:
    """The tables with the rows of a checkpoint, measured now by PyTorch.

    Raises LoadError, DatasetError, or TrainingError for a markup that is in none of the tables.
    """
    aligner = FaceAligner.load(checkpoint, engine=EngineOptions("torch"))
    manifest, markup = aligner.checkpoint.manifest, aligner.checkpoint.markup
    if markup.name not in SPLITS:
        raise TrainingError(f"{checkpoint}: the paper has no table for {markup.name}")
    faces = load_faces(data, [SPLITS[markup.name].source], markup.landmark_count)
    results = measure(aligner, with_boxes(faces, aligner.detector))
    return with_accuracy(tables, f"{manifest.name} {manifest.version}", markup.name, results)


def print_tables(
    checkpoints: Sequence[Path],
    data: Path,
    rivals: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Measure the checkpoints and the two networks, print the four tables, write them as Markdown.

    Raises LoadError, DatasetError or TrainingError.
    """
    others = read_rivals(rivals) if rivals else None
    tables = published()
    for checkpoint in checkpoints:
        tables = measured(tables, checkpoint, data)
    tables = tables._replace(of_cost=tables.of_cost.with_rows(cost_rows()))
    notes = []
    if others:
        tables = tables._replace(
            of_300w=tables.of_300w.with_rows(others.of_300w),
            of_wflw=tables.of_wflw.with_rows(others.of_wflw),
            of_cost=tables.of_cost.with_rows(others.of_cost),
        )
        notes = others.notes
    for table in tables:
        print(table.title, table.text("simple"), table.note, sep="\n", end="\n\n")
    print(*notes, sep="\n\n")
    if markdown:
        markdown.write_text(as_markdown(tables, notes))


def as_markdown(tables: Tables, notes: Sequence[str]) -> str:
    """A page of all tables, and of the benches' notes on the libraries in them."""
    parts = [INTRODUCTION.rstrip()]
    for table in tables:
        parts += [f"## {table.title}", table.text("github"), *([table.note] if table.note else [])]
    if notes:
        parts += ["## The other libraries", *notes]
    return "\n\n".join(parts) + "\n"
