"""The twin browser: test images beside the training image most like each; its static twin (01)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from traitlets import Int, Unicode, validate

from kdnb.core.errors import UserError
from kdnb.core.live import is_live
from kdnb.core.plots import Picture, bare, plain, show
from kdnb.data.dataset import ImageSet
from kdnb.data.leakage import leak_meter
from kdnb.widgets.base import ViewWidget, one_of, script, taken_back, within
from kdnb.widgets.stepper_numbers import palette

__all__ = ["TwinBrowser", "difference", "sentence", "static_twins", "twin_browser", "twin_pairs"]


def twin_pairs(sets: Mapping[str, ImageSet], thumbs: np.ndarray, count: int = 40) -> pd.DataFrame:
    """Test images beside their nearest training (or validation) image, from the most alike down.

    Args:
        sets: Split's name → the same images under it.
        thumbs: (N, D) their `kdnb.data.duplicates.thumbnails`.
        count: Pairs per split, spaced evenly through the ranking; the most alike pair is among
            them.

    Returns:
        Columns split, test, train (rows), test_id, train_id, test_label, train_label, similarity
        (correlation), relation (how the two belong together), right (whether they share their
        class).
    """
    found = [_pairs(split, images, thumbs, count) for split, images in sets.items()]
    return pd.concat(found, ignore_index=True)


def _pairs(split: str, images: ImageSet, thumbs: np.ndarray, count: int) -> pd.DataFrame:
    meter = leak_meter(images.table, thumbs)
    ranking = np.argsort(-meter["similarity"], kind="stable")
    chosen = ranking[_spread(len(ranking), count)]
    test_rows = images.rows("test")[chosen]
    train_rows = meter["neighbours"][chosen]
    test = images.table.iloc[test_rows].reset_index(drop=True)
    train = images.table.iloc[train_rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "split": split,
            "test": test_rows,
            "train": train_rows,
            "test_id": test["image_id"],
            "train_id": train["image_id"],
            "test_label": test["label"],
            "train_label": train["label"],
            "similarity": meter["similarity"][chosen].astype(float),
            "relation": _relations(test, train),
            "right": test["label"] == train["label"],
        }
    )


def _spread(length: int, count: int) -> np.ndarray:
    """At most ``count`` places of a ranking, evenly spaced, both ends among them."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)


def _relations(test: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """How the images of each row belong together; the first that holds."""
    known = (test["patient"] != "") & (train["patient"] != "")
    relations = {
        "the same file": _same(test["sha256"], train["sha256"]),
        "of one copy family": _same(test["family"], train["family"]),
        "of the same patient": _same(test["patient"], train["patient"]),
        "of different patients": known,
    }
    return np.select(list(relations.values()), list(relations), "patient unknown")


def _same(a: pd.Series, b: pd.Series) -> pd.Series:
    return (a == b) & (a != "")


def sentence(pairs: pd.DataFrame, split: str, place: int) -> str:
    """The live line of one pair: its rank, both images, how alike and how related they are."""
    of_split = pairs[pairs["split"] == split]
    pair = of_split.iloc[place]
    verdict = "right" if pair["right"] else "wrong"
    return (
        f"{split} split, pair {place + 1} of {len(of_split)}, the most alike first: "
        f"test image {pair['test_id']} ({pair['test_label']}), "
        f"nearest image of train or val {pair['train_id']} ({pair['train_label']}); "
        f"correlation {pair['similarity']:.4f}, {pair['relation']}; "
        f"the nearest neighbour is {verdict}"
    )


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference of any colour per pixel: (S, S, 3) uint8 twice to (S, S) uint8.

    >>> difference(np.full((1, 1, 3), 9, np.uint8), np.uint8([[[9, 12, 1]]])).tolist()
    [[8]]
    """
    return np.abs(a.astype(np.int16) - b).max(axis=-1).astype(np.uint8)


class TwinBrowser(ViewWidget):
    """Leaf through the pairs of `twin_pairs`; ``split`` and ``place`` are what is looked at.

    Pixels travel as messages when a pair is first shown, so that they are not saved with the
    notebook.
    """

    _esm = script("twins.js")
    split = Unicode().tag(sync=True)
    place = Int(0).tag(sync=True)

    def __init__(self, pairs: pd.DataFrame, pixels: np.ndarray) -> None:
        """Show pairs of rows of ``pixels`` (N, S, S, 3) uint8; first the most alike one.

        Raises:
            UserError: If there are no pairs.
        """
        if pairs.empty:
            raise UserError("there are no pairs to show: the test part is empty")
        self.pairs = dict(tuple(pairs.groupby("split", sort=False)))
        self.pixels = pixels
        spec = {
            "side": pixels.shape[1],
            "palette": palette(False).tobytes().hex(),
            "pairs": {split: _told(split, of_split) for split, of_split in self.pairs.items()},
        }
        super().__init__(spec=spec, split=next(iter(self.pairs)))
        self.on_msg(self._answer)

    def still(self) -> Picture:
        """The static twin: some pairs of every split."""
        return static_twins(pd.concat(self.pairs.values()), self.pixels)

    @validate("split", "place")
    def _valid(self, proposal: dict) -> str | int:
        with taken_back():
            if proposal["trait"].name == "split":
                one_of("split", proposal["value"], self.pairs)
            else:
                longest = max(len(of_split) for of_split in self.pairs.values())
                within("place", proposal["value"], 0, longest - 1)
        return proposal["value"]

    def _answer(self, _widget: TwinBrowser, content: dict, _buffers: list) -> None:
        split = content.get("split")
        place = content.get("place")
        if content.get("ask") == "pair" and place in range(len(self.pairs.get(split, []))):
            pair = self.pairs[split].iloc[place]
            images = [self.pixels[pair["test"]], self.pixels[pair["train"]]]
            message = {"split": split, "place": place}
            self.send(message, [image.tobytes() for image in images])


def _told(split: str, of_split: pd.DataFrame) -> list[dict]:
    """What the browser must know of each pair of a split."""
    columns = ["test_id", "train_id", "test_label", "train_label", "right"]
    told = of_split[columns].to_dict("records")
    for place, pair in enumerate(told):
        pair["sentence"] = sentence(of_split, split, place)
    return told


def twin_browser(pairs: pd.DataFrame, pixels: np.ndarray) -> TwinBrowser | HTML:
    """For the end of a cell: the widget where a person sits, else the static twin."""
    if is_live():
        return TwinBrowser(pairs, pixels)
    return show(static_twins(pairs, pixels))


def static_twins(pairs: pd.DataFrame, pixels: np.ndarray, columns: int = 5) -> Picture:
    """Some pairs of every split: test image, nearest one in train or val, difference (0 to 255)."""
    splits = pairs.groupby("split", sort=False)
    figure, axes = plt.subplots(
        nrows=3 * len(splits),
        ncols=columns,
        figsize=(1.3 * columns, 4.6 * len(splits)),
        squeeze=False,
        layout="constrained",
    )
    said = []
    for ax in axes.flat:
        bare(ax)
    for i, (split, of_split) in enumerate(splits):
        block = axes[3 * i : 3 * i + 3]
        block[0, 0].set_ylabel(f"{split}: test", fontsize=8)
        block[1, 0].set_ylabel("nearest in train or val", fontsize=8)
        block[2, 0].set_ylabel("difference", fontsize=8)
        for column, place in enumerate(_spread(len(of_split), columns)):
            _column(block[:, column], of_split.iloc[place], pixels)
            said.append(sentence(pairs, split, int(place)))
    return Picture(figure, ". ".join(said) + ".", pixels=True)


def _column(axes: np.ndarray, pair: pd.Series, pixels: np.ndarray) -> None:
    test = pixels[pair["test"]]
    train = pixels[pair["train"]]
    for ax, image in zip(axes, (test, train, difference(test, train)), strict=True):
        ax.imshow(image, cmap="cividis", vmin=0, vmax=255, interpolation="nearest")
    wrong = "" if pair["right"] else "  (wrong)"
    axes[0].set_title(plain(pair["test_label"]), fontsize=8)
    axes[1].set_title(plain(f"{pair['train_label']}{wrong}"), fontsize=8)
    axes[2].set_xlabel(f"r = {pair['similarity']:.4f}\n{pair['relation']}", fontsize=7)
