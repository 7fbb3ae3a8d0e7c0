"""Origins that are matched once and kept, and the groups of intervals that follow (01_data)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, get_or_make, write_json
from kdnb.core.tables import read_text, write_text_table
from kdnb.data.duplicates import thumbnails
from kdnb.data.origins import (
    OriginTable,
    approximate_groups,
    group_widening,
    number_runs,
    origin_table,
    original_names,
)
from kdnb.data.registry import at_hand, registered

__all__ = ["SetsDoNotFit", "add_number_runs", "keep_origins"]


class SetsDoNotFit(UserError):
    """No image of one set can be told to come from the other."""


def keep_origins(images: Run, originals: Run, root: Path, source: str) -> OriginTable:
    """Match two sets, or find them matched.

    Args:
        images: The manifest run of the set, which holds its pixels at 64 px.
        originals: That of the set that the images may come from.
        root: The folder of all runs.
        source: Name of the data set of the originals.

    Raises:
        SetsDoNotFit: That is kept, too: they would not fit the next time.
        DamagedRun: Files of one of the runs are not the ones that it was made with.
    """
    hashes = {
        "images": images.json("summary.json")["hash"],
        "originals": originals.json("summary.json")["hash"],
    }
    run = get_or_make("origins", hashes, partial(_make_origins, images, originals), root=root)
    summary = run.json("summary.json")
    if summary["refused"]:
        raise SetsDoNotFit(summary["refused"])
    low, high = summary["gap"]
    return OriginTable(
        table=read_text(run.path("origins.csv")).astype({"similarity": float}),
        originals=read_text(run.path("originals.csv")),
        threshold=summary["threshold"],
        gap=(low, high),
        source=source,
        id=run.id,
    )


def _make_origins(images: Run, originals: Run, run: Run) -> None:
    images_read = read_text(images.path("manifest.csv")), _thumbs(images)
    originals_read = read_text(originals.path("manifest.csv")), _thumbs(originals)
    try:
        found = origin_table(*images_read, *originals_read)
    except UserError as error:
        write_json(run.path("summary.json"), {"refused": str(error)})
        return
    write_text_table(found.table, run.path("origins.csv"))
    write_text_table(found.originals, run.path("originals.csv"))
    summary = {"refused": "", "threshold": found.threshold, "gap": list(found.gap)}
    write_json(run.path("summary.json"), summary)


def add_number_runs(
    name: str, manifest: pd.DataFrame, origins: OriginTable | None
) -> tuple[pd.DataFrame, float, list[str]]:
    """What stands for patients in intervals where a set tells only their folds.

    Args:
        name: The data set.
        manifest: Its manifest.
        origins: What its images were made from, if that is known.

    Returns:
        The manifest with a column number_run where runs of numbers are needed, the factor by which
        intervals over them are widened, and what a reader should know.
    """
    known = registered().get(name, {})
    others = known.get("origins", "")
    if others and not at_hand(others):
        note = f"what the images were made from is unknown: '{others}' is not at hand"
        return manifest, 1.0, [note]
    if origins is not None:
        patients = registered().get(origins.source, {}).get("patients", 0)
        runs = approximate_groups(origins.originals)  # of the whole set, not of the part here
        manifest = manifest.assign(number_run=number_runs(manifest, origins))
    elif "fold" in manifest and "patients" in known:
        patients = known["patients"]
        runs = approximate_groups(manifest.assign(origin=original_names(manifest)))
        manifest = manifest.assign(number_run=runs)
    else:
        return manifest, 1.0, []
    if (manifest["number_run"] == "").all():
        return manifest, 1.0, []
    count = runs[runs != ""].nunique()
    widening = group_widening(count, patients)
    note = "intervals are approximate: they go by runs of numbers, which stand for patients"
    if widening > 1:
        note += (
            f"; {count} runs of {patients} patients, so they are made {widening:.2f} times as wide"
        )
    return manifest, widening, [note]


def _thumbs(run: Run) -> np.ndarray:
    return thumbnails(np.load(run.path("pixels.npy"), mmap_mode="r"))
