"""Loading: manifest, pixels and split of a data set, each made once and kept (every notebook)."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from kdnb import leakage
from kdnb.data.decode import decode
from kdnb.data.layout import Entry
from kdnb.data.patients import link_copies, name_patients
from kdnb.data.registry import open_source
from kdnb.data.sources import Source, file_hash
from kdnb.data.splits import make_split, subset
from kdnb.errors import UserError
from kdnb.progress import track
from kdnb.runs import Run, digest, get_or_make, write_json
from kdnb.settings import Settings

__all__ = ["ImageSet", "load"]

BASE = 64  # px at which every image is read once, checked, and compared with the others
MAX_BROKEN = 0.01


@dataclass(frozen=True)
class ImageSet:
    """A data set ready for use: what its images are, where each belongs, and their pixels."""

    name: str
    classes: tuple[str, ...]
    table: pd.DataFrame  # manifest, 'target' (int64 class index), 'part' ("train", "val", "test", "unused")
    pixels: np.ndarray  # (N, S, S, 3) uint8, memory-mapped; row i belongs to row i of the table
    masks: np.ndarray | None  # (N, S, S) bool, what defines the class; phantoms only
    size: int  # S, px
    split: str
    hash: str  # of manifest, split and size
    broken: pd.DataFrame  # path and reason of each image that was skipped
    notes: tuple[str, ...] = ()  # what a reader of any score should know

    def rows(self, *parts: str) -> np.ndarray:
        """Rows of one or more parts in ascending order, (M,) int64."""
        return np.flatnonzero(self.table["part"].isin(parts)).astype(np.int64)


def load(settings: Settings, source: Source | None = None) -> ImageSet:
    """The data set that the settings name, or `source` (phantoms with planted leaks, say), in their split and size."""
    source = source or open_source(settings)
    name, size, seed, mode = settings.dataset, settings.image_size, settings.seed, settings.split
    keep = partial(get_or_make, root=settings.runs)
    made = keep("manifest", {"dataset": name, "source": source.identity}, partial(_make_manifest, source, name))
    manifest, facts = _read(made, "manifest").astype({"width": int, "height": int}), made.json("summary.json")
    content = {"manifest": facts["hash"]}
    pixels = keep("pixels", content | {"size": size}, partial(_make_pixels, source, manifest, size, made))
    parted = keep("split", content | {"mode": mode, "seed": seed}, partial(_make_split, manifest, mode, seed))
    part, classes = _read(parted, "split")["part"], tuple(facts["classes"])
    table = manifest.assign(target=pd.Index(classes).get_indexer(manifest["label"]).astype(np.int64), part=part)
    if empty := sorted({"train", "val", "test"} - set(part)):
        raise UserError(f"split '{mode}' leaves no image for {', '.join(empty)}: give more patients, or another split")
    train = np.flatnonzero(part == "train")
    left_out = np.setdiff1d(train, subset(train, table, settings.fraction, seed))
    table.loc[table.index[left_out], "part"] = "unused"
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in pixels.folder.glob("*.npy")}
    return ImageSet(
        name, classes, table, arrays["pixels"], arrays.get("masks"), size, mode,
        digest([content, size, table["part"].tolist()]), _read(made, "broken"),
        (*facts["notes"], *parted.json("notes.json")),
    )  # fmt: skip


def _make_manifest(source: Source, name: str, run: Run) -> None:
    entries, notes = name_patients(name, pd.DataFrame(source.entries, columns=Entry._fields))
    classes = sorted(set(entries["label"]))
    if not 2 <= len(classes) <= 20:
        raise UserError(f"'{source.name}' has {len(classes)} classes, accepted are 2 to 20: choose other data")
    pixels = np.zeros((len(entries), BASE, BASE, 3), np.uint8)
    facts = entries.join(_read_images(source, entries["path"], pixels))
    fine = facts["reason"] == ""
    broken, table = facts.loc[~fine, ["path", "reason"]], facts[fine].drop(columns="reason").reset_index(drop=True)
    notes += _check_broken(broken, facts["label"], source.name)
    pixels = pixels[fine]
    if source.draw is None:  # the truth about phantoms needs no search
        thumbs = leakage.thumbnails(pixels)
        table = link_copies(table, thumbs)
        family = leakage.families(table, thumbs)  # the brain set has mirrored and rescaled copies
        table["family"], notes = family, notes + family.attrs["notes"]
    twofold = table[table.groupby("sha256")["label"].transform("nunique") > 1].sort_values("sha256")["image_id"]
    if len(twofold):
        notes += [f"{len(twofold)} images have the same bytes as an image of another class: {', '.join(twofold[:4])}"]
    np.save(run.path("pixels.npy"), pixels)
    _write(broken, run, "broken")
    _write(table, run, "manifest")
    facts = {"classes": classes, "notes": notes, "contradictory": list(twofold)}
    write_json(run.path("summary.json"), facts | {"hash": file_hash(run.path("manifest.csv"))[:16]})


def _check_broken(broken: pd.DataFrame, labels: pd.Series, origin: str) -> list[str]:
    gone = sorted(set(labels) - set(labels.drop(broken.index)))
    limit = f"no image of class {', '.join(gone)} is left" if gone else f"accepted are {MAX_BROKEN:.0%}"
    some = "; ".join(f"{path}: {reason}" for path, reason in broken.head(3).itertuples(index=False))
    note = f"{len(broken)} of {len(labels)} images in '{origin}' cannot be read"
    if gone or len(broken) > MAX_BROKEN * len(labels):
        raise UserError(f"{note}, {limit}: {some}; mend or remove them")
    return [f"{note} and are skipped: {some}"] if len(broken) else []


def _make_pixels(source: Source, manifest: pd.DataFrame, size: int, made: Run, run: Run) -> None:
    path = run.path("pixels.npy")
    if source.draw is not None:
        images, masks = source.draw(size)
        np.save(path, images)
        np.save(run.path("masks.npy"), masks)
    elif size == BASE:
        shutil.copyfile(made.path("pixels.npy"), path)
    else:
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(manifest), size, size, 3))
        if not _read_images(source, manifest["path"], pixels)["sha256"].equals(manifest["sha256"]):
            raise UserError(f"'{source.name}' has changed while it was read: run again")


def _read_images(source: Source, paths: pd.Series, pixels: np.ndarray) -> pd.DataFrame:
    """Fill pixels (N, S, S, 3) uint8; returns reason ("" if read), width, height and SHA-256 of each image."""

    def read(row: int) -> tuple[str, int, int, str]:
        try:
            data = source.read(paths[row])
            pixels[row], width, height = decode(data, pixels.shape[1])
            return "", width, height, hashlib.sha256(data).hexdigest()
        except (ValueError, OSError) as error:
            return str(error) or type(error).__name__, 0, 0, ""

    with ThreadPoolExecutor(2) as pool:  # Pillow and zlib work outside the interpreter's lock
        found = list(track(pool.map(read, range(len(paths))), f"reading {source.name}", len(paths)))
    return pd.DataFrame(found, columns=["reason", "width", "height", "sha256"])


def _make_split(manifest: pd.DataFrame, mode: str, seed: int, run: Run) -> None:
    part = make_split(manifest, mode, seed=seed)
    _write(manifest[["image_id", "family"]].assign(part=part), run, "split")
    write_json(run.path("notes.json"), part.attrs.get("notes", []))


def _write(table: pd.DataFrame, run: Run, name: str) -> None:
    table.to_csv(run.path(f"{name}.csv"), index=False, lineterminator="\n", errors="surrogateescape")


def _read(run: Run, name: str) -> pd.DataFrame:
    return pd.read_csv(run.path(f"{name}.csv"), dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
