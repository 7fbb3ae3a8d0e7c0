"""What origins tell of a data set: counts, and what a published split shares (01_data)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.results_folder import Results
from kdnb.core.settings import Settings
from kdnb.data import duplicates
from kdnb.data.dataset import BASE, load, match_with_originals
from kdnb.data.origins import OriginTable, add_origins

__all__ = [
    "FOUND_IN_TRAINING",
    "origin_counts",
    "published_test_origins",
    "say_origins",
    "write_origins",
]

# what the training folder holds of a test image → how a legend says it; the first that holds counts
FOUND_IN_TRAINING = {
    "same file": "the same file",
    "near twin": "a near twin",
    "mirror image": "its mirror image",
    "neighbouring slice": "a neighbouring slice",
    "none": "none of these",
    "unknown": "origin unknown",
}


def origin_counts(manifest: pd.DataFrame, origins: OriginTable) -> dict[str, pd.DataFrame]:
    """The matches by class and by orientation, what the published parts share, contradictions.

    Args:
        manifest: With image_id, label and published_split, in the order of `origins`.
        origins: What the images were made from.

    Returns:
        ``classes``: by class, images, matched ones, published test images of known origin and how
        many of these have their original in the training folder. ``orientations``: how many images
        are in each. ``labels``: image_id, label, origin, and the original's label where both
        differ.
    """
    table = origins.table.assign(
        label=manifest["label"].to_numpy(), published=manifest["published_split"].to_numpy()
    )
    known = table[origins.known]
    test = known[known["published"] == "test"]
    shared = test["origin"].isin(known.loc[known["published"] == "train", "origin"])
    classes = pd.DataFrame(
        {
            "images": table.groupby("label").size(),
            "matched": known.groupby("label").size(),
            "test": test.groupby("label").size(),
            "original in train": test[shared].groupby("label").size(),
        }
    )
    label_of = origins.originals.set_index("origin")["label"]
    known = known.assign(original_label=known["origin"].map(label_of))
    wrong = known[known["label"] != known["original_label"]]
    orientations = known["orientation"].value_counts().rename("images").to_frame()
    return {
        "classes": classes.fillna(0).astype(int).rename_axis("class"),
        "orientations": orientations,
        "labels": wrong[["image_id", "label", "origin", "original_label"]].reset_index(drop=True),
    }


def say_origins(counts: dict[str, pd.DataFrame], origins: OriginTable) -> list[str]:
    """The counts of `origin_counts` as lines of text."""
    low, high = origins.gap
    found = origins.table["origin"][origins.known].nunique()
    lines = [
        f"{origins.known.sum()} of {len(origins.table)} images come from {found} of "
        f"{len(origins.originals)} originals of '{origins.source}'",
        f"threshold {origins.threshold:.3f}: no similarity lies between {low:.4f} and {high:.4f}",
        counts["classes"].to_string(),
        counts["orientations"].to_string(),
    ]
    wrong = counts["labels"]
    lines.append(f"{len(wrong)} images have another label than their original")
    for row in wrong.itertuples():
        lines.append(f"  {row.image_id}: {row.original_label} {row.origin}, called {row.label}")
    return lines


def write_origins(settings: Settings, name: str, folder: Path) -> tuple[Results, list[str]]:
    """Match a data set with the one that it may come from, and write the table of matches.

    ``brain_origins.csv`` (named after the set up to its first "_") holds the image, its original,
    orientation and similarity: no pixels, no masks, no folds.

    Returns:
        The folder of results, and the counts as lines.

    Raises:
        UserError: A set is not at hand or refused, or the two do not fit.
    """
    if name == settings.dataset:
        raise UserError(f"origins are those of another data set: got {name!r} twice")
    found = load(settings.model_copy(update={"split": "random", "image_size": BASE}))
    origins = match_with_originals(settings, name=name)
    results = Results(folder, {"dataset": settings.dataset, "origins": name}, origins.id)
    columns = ["image_id", "origin", "orientation", "similarity"]
    matches = origins.table.loc[origins.known, columns].reset_index(drop=True)
    short = settings.dataset.partition("_")[0]
    results.table(f"{short}_origins", matches, [f"origins/{origins.id}"])
    return results, say_origins(origin_counts(found.table, origins), origins)


def published_test_origins(
    manifest: pd.DataFrame, thumbs: np.ndarray, origins: OriginTable
) -> pd.DataFrame:
    """What the training folder holds of every published test image of a class with originals.

    Args:
        manifest: With image_id, label, sha256 and published_split.
        thumbs: (N, D) from `kdnb.data.duplicates.thumbnails`.
        origins: What the images were made from.

    Returns:
        Images by class (index) and kind (columns `FOUND_IN_TRAINING`); each image counts once,
        under the first kind that holds. A neighbouring slice has a number in the same run of
        one class and fold.
    """
    table = add_origins(manifest, origins)
    train = (table["published_split"] == "train").to_numpy()
    classes = set(origins.originals["label"])
    test = (table["published_split"] == "test").to_numpy() & table["label"].isin(classes).to_numpy()
    pairs = duplicates.near_duplicates(thumbs)
    mirrored = duplicates.near_duplicates(thumbs, flip_invariant=True)
    holds = {
        "same file": table["sha256"].isin(table.loc[train, "sha256"]).to_numpy(),
        "near twin": _paired(pairs, train),
        "mirror image": _paired(mirrored, train) | _shared(table["origin"], train),
        "neighbouring slice": _shared(table["number_run"], train),
        "unknown": (table["origin"] == "").to_numpy(),
    }
    kind = np.select(list(holds.values()), list(holds), "none")
    counts = pd.crosstab(table.loc[test, "label"], kind[test])
    return counts.reindex(columns=list(FOUND_IN_TRAINING), fill_value=0).rename_axis(
        index="class", columns=None
    )


def _shared(values: pd.Series, train: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a known value is that of a training image, too."""
    return ((values != "") & values.isin(values[train])).to_numpy()


def _paired(pairs: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a row is in a pair (M, 2) with a training image."""
    found = np.zeros(len(train), bool)
    for one, other in ((0, 1), (1, 0)):
        found[pairs[train[pairs[:, other]], one]] = True
    return found
