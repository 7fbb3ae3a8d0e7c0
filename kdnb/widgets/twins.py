"""The twin browser: test images beside the training image most like each, under any split; and its static twin (01)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from traitlets import Int, Unicode, validate

from kdnb.data import ImageSet
from kdnb.errors import UserError
from kdnb.figures.output import Picture, show
from kdnb.figures.pictures import bare
from kdnb.leakage import leak_meter
from kdnb.settings import is_live
from kdnb.widgets import render
from kdnb.widgets.view import ViewWidget, one_of, script, within

__all__ = ["TwinBrowser", "difference", "sentence", "static_twins", "twin_browser", "twin_pairs"]

RELATIONS = ("the same file", "of one copy family", "of the same patient", "of different patients", "patient unknown")


def twin_pairs(sets: Mapping[str, ImageSet], thumbs: np.ndarray, count: int = 40) -> pd.DataFrame:
    """Test images beside their nearest training (or validation) image, from the most alike down, under each split.

    ``sets`` holds the same images under each split, ``thumbs`` (N, D) their `kdnb.leakage.thumbnails`. ``count`` pairs
    per split are spaced evenly through the ranking; the most alike pair is among them.

    Returns:
        Columns split, test, train (rows), test_id, train_id, test_label, train_label, similarity (correlation),
        relation (how the two belong together), right (whether they share their class).
    """
    return pd.concat([_pairs(split, found, thumbs, count) for split, found in sets.items()], ignore_index=True)


def _pairs(split: str, found: ImageSet, thumbs: np.ndarray, count: int) -> pd.DataFrame:
    table, test = found.table, found.rows("test")
    meter = leak_meter(table, thumbs)
    order = np.argsort(-meter["similarity"], kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    ends = {"test": test[order], "train": meter["neighbours"][order]}
    a, b = (table.iloc[rows].reset_index(drop=True) for rows in ends.values())
    same = {c: (a[c] == b[c]) & (a[c] != "") for c in ("sha256", "family", "patient")}
    known = (a["patient"] != "") & (b["patient"] != "")
    relation = np.select([*same.values(), known], RELATIONS[:4], RELATIONS[4])
    return pd.DataFrame({
        "split": split, **ends, "test_id": a["image_id"], "train_id": b["image_id"], "test_label": a["label"],
        "train_label": b["label"], "similarity": meter["similarity"][order].astype(float), "relation": relation,
        "right": a["label"] == b["label"],
    })  # fmt: skip


def sentence(pairs: pd.DataFrame, split: str, place: int) -> str:
    """The live line of one pair: its rank, both images, how alike they are and how they belong together."""
    chosen = pairs[pairs["split"] == split]
    p = chosen.iloc[place]
    verdict = "right" if p["right"] else "wrong"
    return (f"{split} split, pair {place + 1} of {len(chosen)}, the most alike first: test image {p['test_id']} "
            f"({p['test_label']}), nearest image of train or val {p['train_id']} ({p['train_label']}); correlation "
            f"{p['similarity']:.4f}, {p['relation']}; the nearest neighbour is {verdict}")  # fmt: skip


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference of any colour per pixel: (S, S, 3) uint8 twice to (S, S) uint8.

    >>> difference(np.full((1, 1, 3), 9, np.uint8), np.uint8([[[9, 12, 1]]])).tolist()
    [[8]]
    """
    return np.abs(a.astype(np.int16) - b).max(axis=-1).astype(np.uint8)


class TwinBrowser(ViewWidget):
    """Leaf through the pairs of `twin_pairs` by keyboard; ``split`` and ``place`` are what is looked at.

    Pixels travel as messages when a pair is first shown, so that they are not saved with the notebook.
    """

    _esm = script("twins.js")
    split = Unicode().tag(sync=True)
    place = Int(0).tag(sync=True)

    def __init__(self, pairs: pd.DataFrame, pixels: np.ndarray) -> None:
        """Show pairs of rows of ``pixels`` (N, S, S, 3) uint8; first the most alike one of the first split."""
        if pairs.empty:
            raise UserError("there are no pairs to show: the test part is empty")
        self.pairs, self.pixels = dict(tuple(pairs.groupby("split", sort=False))), pixels
        told = {}
        for split, rows in self.pairs.items():
            named = rows[["test_id", "train_id", "test_label", "train_label", "right"]].to_dict("records")
            told[split] = [{**pair, "sentence": sentence(rows, split, i)} for i, pair in enumerate(named)]
        spec = {"side": pixels.shape[1], "palette": render.palette(False).tobytes().hex(), "pairs": told}
        super().__init__(spec=spec, split=next(iter(self.pairs)))
        self.on_msg(self._answer)

    @validate("split", "place")
    def _valid(self, proposal: dict) -> str | int:
        if proposal["trait"].name == "split":
            one_of("split", proposal["value"], self.pairs)
        else:
            within("place", proposal["value"], 0, max(map(len, self.pairs.values())) - 1)
        return proposal["value"]

    def _answer(self, _widget: TwinBrowser, content: dict, _buffers: list) -> None:
        split, place = content.get("split"), content.get("place")
        if content.get("ask") == "pair" and place in range(len(self.pairs.get(split, []))):
            images = [self.pixels[row].tobytes() for row in self.pairs[split].iloc[place][["test", "train"]]]
            self.send({"split": split, "place": place}, images)


def twin_browser(pairs: pd.DataFrame, pixels: np.ndarray) -> TwinBrowser | HTML:
    """For the end of a cell: the widget where a person sits, else the static twin."""
    return TwinBrowser(pairs, pixels) if is_live() else show(static_twins(pairs, pixels))


def static_twins(pairs: pd.DataFrame, pixels: np.ndarray, columns: int = 5) -> Picture:
    """Some pairs of every split: the test image, its nearest one in train or val, their difference (0 to 255)."""
    splits = pairs.groupby("split", sort=False)
    figure, axes = plt.subplots(3 * len(splits), columns, figsize=(1.3 * columns, 4.6 * len(splits)), squeeze=False,
                                layout="constrained")  # fmt: skip
    said = []
    for ax in axes.flat:
        bare(ax)
    for top, (split, chosen) in enumerate(splits):
        places = np.linspace(0, len(chosen) - 1, min(columns, len(chosen))).round().astype(int)
        block = axes[3 * top : 3 * top + 3]
        for row, name in zip(block, (f"{split}: test", "nearest in train or val", "difference"), strict=True):
            row[0].set_ylabel(name, fontsize=8)
        for column, place in enumerate(places):
            _column(block[:, column], chosen.iloc[place], pixels)
            said.append(sentence(pairs, split, int(place)))
    return Picture(figure, ". ".join(said) + ".", pixels=True)


def _column(axes: np.ndarray, pair: pd.Series, pixels: np.ndarray) -> None:
    a, b = pixels[pair["test"]], pixels[pair["train"]]
    for ax, image in zip(axes, (a, b, difference(a, b)), strict=True):
        ax.imshow(image, cmap="cividis", vmin=0, vmax=255, interpolation="nearest")
    axes[0].set_title(pair["test_label"], fontsize=8)
    axes[1].set_title(pair["train_label"] + ("" if pair["right"] else "  (wrong)"), fontsize=8)
    axes[2].set_xlabel(f"r = {pair['similarity']:.4f}\n{pair['relation']}", fontsize=7)
