"""Loading: manifest, pixels and split of a data set, each made once and kept (every notebook)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdnb.core.errors import UserError
from kdnb.core.runs import Run, digest, get_or_make, write_json
from kdnb.core.settings import Settings
from kdnb.core.tables import read_text, write_text_table
from kdnb.data import duplicates
from kdnb.data.class_folders import Entry
from kdnb.data.decode import FULL
from kdnb.data.default_split import resolve_split, split_note
from kdnb.data.masks import Masks, check_masks, kept_masks, pack, write_masks
from kdnb.data.origin_masks import keep_origin_masks
from kdnb.data.origin_runs import SetsDoNotFit, add_number_runs, keep_origins
from kdnb.data.origins import OriginTable, add_origins
from kdnb.data.patient_split import TEST_FOLD
from kdnb.data.patients import UNKNOWN, link_copies, name_patients
from kdnb.data.pixel_files import create_pixels, keep_rows, open_pixels
from kdnb.data.reading import Ranges, Reading, check_broken, read_images
from kdnb.data.registry import at_hand, open_source, registered
from kdnb.data.sources import Source, file_hash
from kdnb.data.splits import TEST_SHARE, make_split, sizes_of, subset, uses_folds

__all__ = ["ImageSet", "match_with_originals", "load"]

BASE = 64  # px at which every image is read once, checked, and compared with the others
OPTIONAL = ("fold", "mask")  # columns that a manifest has only where its source tells them


@dataclass(frozen=True)
class ImageSet:
    """A data set ready for use: what its images are, where each belongs, and their pixels.

    Attributes:
        name: Of the data set.
        classes: In the order of their numbers.
        table: The manifest with ``target`` (class number, int64) and ``part`` ("train", "val",
            "test" or "unused").
        pixels: (N, S, S, 3) uint8, memory-mapped; row i belongs to row i of the table.
        masks: (N, S, S) bool, what defines the class; all False for an image without one.
        size: S, px.
        split: How the images are parted.
        hash: Of manifest, split and size.
        broken: Path and reason of each image that was skipped.
        notes: What a reader of any score should know.
        ranges: What is black and white in pixels of more than 8 bits, by their kind.
        group_widening: Of intervals over its groups, see `kdnb.core.statistics.Groups`.
    """

    name: str
    classes: tuple[str, ...]
    table: pd.DataFrame
    pixels: np.ndarray
    masks: Masks | np.ndarray | None
    size: int
    split: str
    hash: str
    broken: pd.DataFrame
    notes: tuple[str, ...] = ()
    ranges: Ranges = field(default_factory=dict)
    group_widening: float = 1.0

    @property
    def has_mask(self) -> np.ndarray:
        """(N,) bool, which images have a mask that marks anything."""
        if self.masks is None:
            return np.zeros(len(self.table), bool)
        if isinstance(self.masks, Masks):
            return self.masks.inside()
        return self.masks.any(axis=(1, 2))

    def rows(self, *parts: str) -> np.ndarray:
        """Rows of one or more parts in ascending order, (M,) int64."""
        return np.flatnonzero(self.table["part"].isin(parts)).astype(np.int64)


def load(settings: Settings, source: Source | None = None) -> ImageSet:
    """The data set that the settings name in their split and size, read once and kept.

    Args:
        settings: What is wanted.
        source: Other images than those of `settings.dataset` (phantoms with planted leaks, say).

    Raises:
        UserError: If the source is refused, too many images are broken, or a part has no image.
    """
    settings = resolve_split(settings)
    source = source or open_source(settings)
    size = settings.image_size
    keep = partial(get_or_make, root=settings.runs)
    made = _read_once(settings, source)
    facts = made.json("summary.json")
    manifest = read_text(made.path("manifest.csv")).astype({"width": int, "height": int})
    content = {"manifest": facts["hash"]}
    for name in ("masks", "ranges"):
        if name in facts:
            content[name] = facts[name]
    make_pixels = partial(_make_pixels, source, manifest, size, made)
    pixels = keep("pixels", content | {"size": size}, make_pixels)
    _ahead(made, size).unlink(missing_ok=True)  # left where the pixels were there before
    known, origins, drawn = _what_decides(settings, source, manifest)
    parted = keep("split", content | drawn, partial(_make_split, known, drawn))
    with_masks = pixels
    if settings.split == "patients":
        from_originals = _with_origin_masks(settings, manifest, origins, pixels)
        if from_originals is not None:
            with_masks = from_originals
            content["origin_masks"] = from_originals.id
        manifest = known
    else:  # intervals go by origins under every split
        origins = origins or match_with_originals(settings, source)
    manifest, widening, notes = add_number_runs(settings.dataset, manifest, origins)
    classes = tuple(facts["classes"])
    table = _table(manifest, classes, read_text(parted.path("split.csv"))["part"], settings)
    masks, mask_notes = kept_masks(with_masks, size)
    return ImageSet(
        name=settings.dataset,
        classes=classes,
        table=table,
        pixels=open_pixels(pixels.path("pixels.npy")),
        masks=masks,
        size=size,
        split=settings.split,
        hash=digest([content, size, table["part"].tolist()]),
        broken=read_text(made.path("broken.csv")),
        notes=(*_kept_notes(settings, made, parted), *mask_notes, *notes),
        ranges=facts.get("ranges", {}),
        group_widening=widening,
    )


def _table(
    manifest: pd.DataFrame, classes: tuple[str, ...], part: pd.Series, settings: Settings
) -> pd.DataFrame:
    """The manifest with class numbers and parts, and of training patients the share asked for."""
    _check_parts(part, settings.split)
    target = pd.Index(classes).get_indexer(manifest["label"]).astype(np.int64)
    table = manifest.assign(target=target, part=part)
    train = np.flatnonzero(part == "train")
    left_out = np.setdiff1d(train, subset(train, table, settings.fraction, settings.seed))
    table.loc[table.index[left_out], "part"] = "unused"
    return table


def _kept_notes(settings: Settings, made: Run, parted: Run) -> list[str]:
    """What was noted when the manifest and the split were made, and on the default split."""
    notes = made.json("summary.json")["notes"]
    if settings.split == "patients":  # whose own note says what is unknown, and what that means
        notes = [note for note in notes if UNKNOWN not in note]
    return notes + split_note(settings) + parted.json("notes.json")


def _what_decides(
    settings: Settings, source: Source, manifest: pd.DataFrame
) -> tuple[pd.DataFrame, OriginTable | None, dict[str, Any]]:
    """What a split is drawn from: the manifest with what it needs, origins, and its parameters.

    Only ``patients``, or a split of its sizes, depends on origins and folds.
    """
    drawn = {"mode": settings.split, "seed": settings.seed}
    if settings.sizes_of:
        drawn["sizes_of"] = settings.sizes_of
    if source.draw is not None and settings.test_share != TEST_SHARE:
        drawn["test_share"] = settings.test_share
    if uses_folds(manifest, settings.split):
        drawn["fold"] = settings.fold
    if "patients" not in (settings.split, settings.sizes_of):
        return manifest, None, drawn
    origins = match_with_originals(settings, source)
    drawn["fold"] = settings.fold
    drawn["origins"] = "" if origins is None else origins.id
    if origins is None:
        return manifest, None, drawn
    return add_origins(manifest, origins), origins, drawn


def match_with_originals(
    settings: Settings, source: Source | None = None, name: str = ""
) -> OriginTable | None:
    """What the images of a data set were made from, matched once and kept.

    Args:
        settings: Of the data set.
        source: Other images than those of `settings.dataset`.
        name: The data set of the originals; "" for the one that the registry names.

    Returns:
        None where the registry names none, it is not at hand, or no image comes from it.

    Raises:
        UserError: One of both is refused; a set that is given by `name` is not at hand or does not
            fit.
    """
    others = name or registered().get(settings.dataset, {}).get("origins", "")
    if not others or (not name and not at_hand(others)):
        return None
    images = _read_once(settings, source)
    originals = _read_once(_of_originals(settings, others))
    try:
        return keep_origins(images, originals, settings.runs, others)
    except SetsDoNotFit:
        if name:
            raise
        return None


def _of_originals(settings: Settings, name: str) -> Settings:
    others = {"dataset": name, "data": "", "image_size": BASE, "window": []}
    return settings.model_copy(update=others)


def _with_origin_masks(
    settings: Settings, manifest: pd.DataFrame, origins: OriginTable | None, pixels: Run
) -> Run | None:
    """The run of masks that images take from their originals; None where there are none."""
    if origins is None:
        return None
    older = _of_originals(settings, origins.source)
    source = open_source(older)
    places = {"size": settings.image_size, "root": settings.runs}
    return keep_origin_masks(manifest, origins, source, _read_once(older, source), pixels, **places)


def _read_once(settings: Settings, source: Source | None = None) -> Run:
    """The manifest of a data set, with its pixels at `BASE`."""
    source = source or open_source(settings)
    named = {"dataset": settings.dataset, "source": source.identity}
    chosen = settings.model_dump(include={"window", "max_broken"})
    named |= {name: value for name, value in chosen.items() if value}
    make = partial(_make_manifest, source, settings)
    return get_or_make("manifest", named, make, root=settings.runs)


def _check_parts(part: pd.Series, mode: str) -> None:
    empty = sorted({"train", "val", "test"} - set(part))
    if empty:
        raise UserError(
            f"split '{mode}' leaves no image for {', '.join(empty)}: "
            "give more patients, or another split"
        )


def _make_manifest(source: Source, settings: Settings, run: Run) -> None:
    """Read every image once: what it is, its pixels at `BASE`, and its pixels at `size`.

    The pixels at `size` wait in this run's folder until the pixels run of that size takes them.
    """
    for remains in run.folder.glob("*.npy"):  # of an interrupted making, perhaps for another size
        remains.unlink()
    entries = pd.DataFrame(source.entries, columns=Entry._fields)
    if (entries[list(OPTIONAL)] == "").all(axis=None):
        entries = entries.drop(columns=list(OPTIONAL))
    entries, notes = name_patients(settings.dataset, entries)
    notes += source.notes
    classes = sorted(set(entries["label"]))
    if not 2 <= len(classes) <= 20:
        raise UserError(
            f"'{source.name}' has {len(classes)} classes, accepted are 2 to 20: choose other data"
        )
    table, pixels, reading = _read_pixels(source, settings, entries, run)
    notes += reading.notes
    if source.draw is None:  # the truth about phantoms needs no search
        table, family_notes = _with_families(table, pixels)
        notes += family_notes
    twofold = _contradictory(table)
    if twofold:
        some = ", ".join(twofold[:4])
        notes.append(
            f"{len(twofold)} images have the same bytes as an image of another class: {some}"
        )
    masks = None
    if source.read_mask is not None and _any_mask(table):
        table["mask"], masks, mask_notes = check_masks(source.read_mask, table)
        notes += mask_notes
    np.save(run.path("pixels.npy"), pixels)
    write_text_table(table, run.path("manifest.csv"))
    summary = {"classes": classes, "notes": notes, "contradictory": twofold}
    summary["hash"] = file_hash(run.path("manifest.csv"))[:16]
    if masks is not None:
        summary["masks"] = masks  # the manifest has only their paths
    if reading.ranges:
        summary["ranges"] = reading.ranges  # the pixels follow from them
    write_json(run.path("summary.json"), summary)


def _read_pixels(
    source: Source, settings: Settings, entries: pd.DataFrame, run: Run
) -> tuple[pd.DataFrame, np.ndarray, Reading]:
    """The images that can be read: their rows, and their pixels (N, `BASE`, `BASE`, 3).

    Those that cannot are written down, and their pixels at `size` are taken out again.
    """
    size = settings.image_size
    pixels = np.zeros((len(entries), BASE, BASE, 3), np.uint8)
    arrays = [pixels]
    reads_ahead = source.draw is None and size != BASE
    if reads_ahead:
        arrays.append(create_pixels(_ahead(run, size), len(entries), size))
    reading = read_images(source.read, source.name, entries["path"], arrays, settings.window)
    facts = entries.join(reading.facts)
    fine = facts["reason"] == ""
    broken = facts.loc[~fine, ["path", "reason"]]
    write_text_table(broken, run.path("broken.csv"))
    told = check_broken(broken, facts["label"], source.name, settings.max_broken)
    if reads_ahead and len(broken):
        keep_rows(_ahead(run, size), np.flatnonzero(fine))
    table = facts[fine].drop(columns="reason").reset_index(drop=True)
    return table, pixels[fine], reading._replace(notes=[*reading.notes, *told])


def _with_families(table: pd.DataFrame, pixels: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """The table with what the pixels (N, `BASE`, `BASE`, 3) tell of copies, and notes."""
    thumbs = duplicates.thumbnails(pixels)
    table = link_copies(table, thumbs)
    table["family"], notes = duplicates.find_families(table, thumbs)
    return table, notes


def _contradictory(table: pd.DataFrame) -> list[str]:
    """Images whose bytes are also found in another class."""
    classes = table.groupby("sha256")["label"].transform("nunique")
    return list(table[classes > 1].sort_values("sha256")["image_id"])


def _ahead(run: Run, size: int) -> Path:
    """Where the making of a manifest leaves the pixels of the size that is asked for first.

    The dot says that they pass through: they are moved on after this run is finished.
    """
    return run.path(f".pixels_{size}.npy")


def _make_pixels(source: Source, manifest: pd.DataFrame, size: int, made: Run, run: Run) -> None:
    path = run.path("pixels.npy")
    ahead = _ahead(made, size)
    if source.draw is not None:
        images, masks = source.draw(size)
        np.save(path, images)
        np.save(run.path("masks.npy"), pack(masks))
    elif size == BASE:
        shutil.copyfile(made.path("pixels.npy"), path)
    elif ahead.is_file():
        shutil.move(ahead, path)
    else:
        pixels = create_pixels(path, len(manifest), size)
        ranges = made.json("summary.json").get("ranges", FULL)  # of older versions the full ones
        found = read_images(source.read, source.name, manifest["path"], [pixels], ranges=ranges)
        if not found.facts["sha256"].equals(manifest["sha256"]):
            raise UserError(_changed(source))
    _make_masks(source, manifest, size, made, run)


def _make_masks(source: Source, manifest: pd.DataFrame, size: int, made: Run, run: Run) -> None:
    """The masks of images that are read, where any has one; those of phantoms are drawn."""
    if source.read_mask is None or not _any_mask(manifest):
        return
    path = run.path("masks.npy")
    try:
        found, notes = write_masks(path, source.read_mask, manifest["mask"], size)
    except (ValueError, OSError):
        raise UserError(_changed(source)) from None
    if found != made.json("summary.json")["masks"]:
        raise UserError(_changed(source))
    write_json(run.path("mask_notes.json"), notes)


def _any_mask(table: pd.DataFrame) -> bool:
    return "mask" in table and bool((table["mask"] != "").any())


def _changed(source: Source) -> str:
    return f"'{source.name}' has changed while it was read: run again"


def _make_split(manifest: pd.DataFrame, drawn: dict[str, Any], run: Run) -> None:
    """Draw the split of mode and seed, with a test fold and the sizes of another where given."""
    draw = partial(
        make_split,
        manifest,
        seed=drawn["seed"],
        fold=drawn.get("fold", TEST_FOLD),
        test_share=drawn.get("test_share", TEST_SHARE),
    )
    sizes = None
    if "sizes_of" in drawn:
        sizes = sizes_of(manifest, draw(drawn["sizes_of"]).part)
    split = draw(drawn["mode"], sizes=sizes)
    table = manifest[["image_id", "family"]].assign(part=split.part)
    write_text_table(table, run.path("split.csv"))
    write_json(run.path("notes.json"), split.notes)
