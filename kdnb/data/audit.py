"""The audit of a data set: what leaks under each split, as tables and one page (01, 07)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdnb.core.errors import NoSuchSplit, UserError
from kdnb.core.page import PagePicture, Section, page_table, write_page
from kdnb.core.plots import png_of
from kdnb.core.results_folder import Results
from kdnb.core.runs import atomic_path, digest
from kdnb.core.settings import SPLITS, Settings, project_root
from kdnb.core.settings_table import settings_html
from kdnb.core.tables import csv_text
from kdnb.data import duplicates, leakage
from kdnb.data.dataset import BASE, ImageSet, load, match_with_originals
from kdnb.data.origins import add_origins
from kdnb.data.plots import leak_dots
from kdnb.data.registry import registered
from kdnb.data.splits import SIZED

__all__ = [
    "Audit",
    "against_paper",
    "audit_splits",
    "crossings",
    "published_against_paper",
    "unknown_marked",
    "write_audit",
]

COPIES = ("exact", "near", "mirrored copy", "family")  # of a crossing; the first that holds counts
LEAK_KINDS = (*COPIES, "same origin", "patient")


class Audit(NamedTuple):
    """What leaks in a data set.

    Attributes:
        summary: One row per split with the numbers of ``seen`` (train and val) and test images;
            how many test images have among the seen ones an identical file (``exact``), nearly the
            same pixels (``near``), a copy of another kind, such as a mirrored one (``family``), or
            their patient (``patient``); and the leak meter, plain, balanced over the classes, and
            with the test image mirrored too. Where it is known what the images were made from, two
            more: the same original in another orientation (``mirrored copy``), and in any
            (``same origin``).
        ledger: Every crossing, with a column ``split``.
        notes: Those of the data set; what is only said under some splits names them.
        data: Its hash.
    """

    summary: pd.DataFrame
    ledger: pd.DataFrame
    notes: tuple[str, ...]
    data: str


def audit_splits(settings: Settings) -> Audit:
    """What leaks under every split that the data set allows.

    The split ``patients`` is there where folds are known; elsewhere ``grouped`` is as strict.

    Raises:
        UserError: If the data set cannot be read.
    """
    rows = {}
    ledgers = {}
    splits_of: dict[str, list[str]] = {}  # note → the splits under which it was made
    hashes = []
    thumbs = None
    origins = match_with_originals(settings)
    for split in SPLITS:
        change = {"split": split, "image_size": BASE}
        if split not in SIZED:
            change["sizes_of"] = ""
        try:
            found = load(settings.model_copy(update=change))
        except NoSuchSplit:
            if change.get("sizes_of", settings.sizes_of):  # it is that of the sizes
                raise
            continue
        table = found.table
        if split == "patients" and "fold" not in table:
            continue
        if origins is not None:
            table = add_origins(table, origins)
        if thumbs is None:  # all splits have the same images
            thumbs = duplicates.thumbnails(found.pixels)
        ledgers[split] = leakage.leak_ledger(table, thumbs)
        rows[split] = _summary_row(found, table, ledgers[split], thumbs)
        for note in found.notes:
            splits_of.setdefault(note, []).append(split)
        hashes.append(found.hash)
    summary = pd.DataFrame(rows).T.rename_axis("split")
    whole_numbers = [name for name in ("seen", "test", *LEAK_KINDS) if name in summary]
    return Audit(
        summary=summary.infer_objects().astype(dict.fromkeys(whole_numbers, "Int64")),
        ledger=pd.concat(ledgers, names=["split"]).reset_index("split"),
        notes=tuple(_of_splits(note, splits, len(rows)) for note, splits in splits_of.items()),
        data=digest(hashes),
    )


def _of_splits(note: str, splits: Sequence[str], count: int) -> str:
    """A note once, after the splits that it is about where these are not all.

    >>> _of_splits("2 images are broken", ["grouped", "random"], 2)
    '2 images are broken'
    >>> _of_splits("class a: train 1, val 0, test 0", ["grouped"], 2)
    'grouped: class a: train 1, val 0, test 0'
    """
    return note if len(splits) == count else f"{', '.join(splits)}: {note}"


def _summary_row(
    found: ImageSet, table: pd.DataFrame, ledger: pd.DataFrame, thumbs: np.ndarray
) -> dict[str, int | float]:
    """One row of ``Audit.summary``; ``table`` is the manifest, with origins if they are known."""
    plain = leakage.leak_meter(found.table, thumbs)
    mirrored = leakage.leak_meter(found.table, thumbs, flip_invariant=True)
    return {
        "seen": len(found.rows("train", "val")),
        "test": len(found.rows("test")),
        **_crossings(ledger, table),
        "1-NN": plain["accuracy"],
        "1-NN balanced": plain["balanced_accuracy"],
        "1-NN mirrored": mirrored["accuracy"],
    }


def _crossings(ledger: pd.DataFrame, table: pd.DataFrame) -> dict[str, int]:
    """Test images that a seen image leaks to: copies under the first kind that holds, then others.

    The kinds that go by the original are left out where nothing is known of it. Where no image has
    a known patient, how many patients cross is missing, and not 0.
    """
    rows = ledger[ledger["part_b"] == "test"]
    copies = rows[rows["kind"].isin(COPIES)].groupby("id_b")["kind"]
    first_kind = copies.agg(lambda kinds: min(kinds, key=COPIES.index))
    counts = {}
    for kind in LEAK_KINDS:
        if kind in COPIES:
            counts[kind] = int((first_kind == kind).sum())
        else:
            counts[kind] = rows.loc[rows["kind"] == kind, "id_b"].nunique()
    if "origin" not in table:
        del counts["mirrored copy"], counts["same origin"]
    if (table["patient"] == "").all():
        counts["patient"] = pd.NA
    return counts


def crossings(audit: Audit) -> pd.DataFrame:
    """How many images have a relative in an earlier part, by split, parts and kind of relation.

    Returns:
        Index (split, crossing), such as ("random", "train to test"); a column per kind that occurs,
        of images of the later part. Splits without any crossing have a row of zeros, "none".
    """
    ledger = audit.ledger
    crossing = (ledger["part_a"] + " to " + ledger["part_b"]).rename("crossing")
    counts = ledger.groupby(["split", crossing, "kind"])["id_b"].nunique().unstack("kind")
    found = counts.reindex(columns=[kind for kind in LEAK_KINDS if kind in counts])
    without = [split for split in audit.summary.index if split not in found.index]
    zeros = pd.DataFrame(
        0,
        index=pd.MultiIndex.from_product([without, ["none"]], names=found.index.names),
        columns=found.columns,
    )
    table = pd.concat([zeros, found.fillna(0)]).astype(int).rename_axis(columns=None)
    return table.reindex(list(audit.summary.index), level="split")


def against_paper(dataset: str, summary: pd.DataFrame) -> pd.DataFrame:
    """The paper's accuracies beside what memory scores on the split they were measured on.

    Memory is the stronger of 1-NN and of 1-NN that also knows mirrored images.

    Args:
        dataset: Name of the data set.
        summary: That of `audit_splits`.

    Returns:
        One row per model: paper, memory and skill under ``protocol`` (the split); the strictest
        split that is known, and memory there. Empty for a data set that the paper did not use, or
        without the split that it used.
    """
    known = registered().get(dataset, {})
    if "paper" not in known or known["protocol"] not in summary.index:
        return pd.DataFrame()
    protocol = known["protocol"]
    memory = summary[list(leakage.MEMORY)].max(axis=1)
    strictest = "patients" if "patients" in summary.index else "grouped"
    rows = {}
    for model in ("teacher", "student"):
        if model in known["paper"]:
            accuracy = known["paper"][model]
            rows[model] = {
                "paper": accuracy,
                "protocol": protocol,
                "memory": memory[protocol],
                "skill": leakage.skill(accuracy, memory[protocol]),
                "strictest": strictest,
                "memory there": memory[strictest],
            }
    return pd.DataFrame(rows).T.rename_axis("model")


def published_against_paper() -> pd.DataFrame:
    """`against_paper` for every data set of ``figures/audit/summary.csv``; empty without it.

    The index is (dataset, model).
    """
    path = project_root() / "figures" / "audit" / "summary.csv"
    if not path.is_file():
        return pd.DataFrame()
    rows = pd.read_csv(path, index_col=["dataset", "split"])
    found = {}
    for name, part in rows.groupby("dataset", sort=False):
        found[name] = against_paper(name, part.droplevel("dataset"))
    return pd.concat(found, names=["dataset"])


def write_audit(settings: Sequence[Settings], folder: Path) -> Results:
    """Write the audit of some data sets into a folder, which is made if need be.

    The files are ``summary.csv``, ``ledger.csv``, ``leak_meter.png`` and ``report.html``. A folder
    that holds an audit is left alone: the new one goes beside it, with a number behind its name.
    Git ignores the folder, since a ledger names images.

    Raises:
        UserError: If a data set cannot be read or the folder cannot be written.
    """
    names = _names(settings)
    folder = _free(folder)
    _check_writable(folder)
    found = {name: audit_splits(one) for name, one in zip(names, settings, strict=True)}
    summaries = {name: audited.summary for name, audited in found.items()}
    ledgers = {name: audited.ledger for name, audited in found.items()}
    summary = pd.concat(summaries, names=["dataset"])
    ledger = pd.concat(ledgers, names=["dataset"]).reset_index("dataset")
    parameters = {"dataset": ", ".join(found), "seed": settings[0].seed}
    results = Results(folder, parameters, digest([audited.data for audited in found.values()]))
    results.table("summary", summary)
    picture = leak_dots(summary, {name: registered().get(name, {}) for name in found})
    results.picture("leak_meter", picture)
    with atomic_path(folder / "ledger.csv") as path:
        text = csv_text(ledger, index=False)
        path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    notes = []
    for name, audited in found.items():
        notes += [f"{name}: {note}." for note in audited.notes]
    counted = page_table(
        "What crosses from train and val to test", unknown_marked(summary), file="summary.csv"
    )
    first = ledger.groupby(["dataset", "split", "kind"]).head(5)
    leaks = Section(
        name="Leaks",
        question="What leaks under each split, and how much can memory answer?",
        picture=PagePicture(alt=picture.alt, png=png_of(picture), file="leak_meter.png"),
        open_tables=[counted],
        tables=[page_table("First crossings of each kind", first)],
    )
    write_page(
        folder / "report.html",
        title=f"Audit of {parameters['dataset']}",
        lead=" ".join(notes) or "Every image has a patient, and nothing else was noted.",
        sections=[leaks],
        settings=settings_html(parameters, {}),
    )
    return results


def _names(settings: Sequence[Settings]) -> list[str]:
    """What the data sets are called in the tables: those of the user by their folder's name."""
    names = []
    for one in settings:
        names.append(Path(one.data).resolve().name if one.dataset == "custom" else one.dataset)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"two data sets are named {', '.join(twice)}: audit them one by one, or rename a folder"
        )
    return names


def unknown_marked(summary: pd.DataFrame) -> pd.DataFrame:
    """A summary for a person, its index as columns: a count that is not known is a question mark.

    >>> unknown_marked(pd.DataFrame({"patient": pd.array([None, 2], "Int64")}))["patient"].tolist()
    ['?', '2']
    """
    table = summary.reset_index()
    for name in LEAK_KINDS:
        if name in table:
            table[name] = table[name].astype("Int64").astype("string").fillna("?")
    return table


def _free(folder: Path) -> Path:
    """A folder without an audit: the one named, else the first of ``name-2``, ``name-3``, …"""
    folder = folder.resolve()
    number = 1
    free = folder
    while (free / "summary.csv").is_file():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _check_writable(folder: Path) -> None:
    """Make the folder, which git ignores.

    Raises:
        UserError: If it cannot be written, or holds other files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if path.name != ".gitignore"]
        if others:
            raise UserError(
                f"'{folder}' holds other files, such as '{min(others)}': name a new folder, or an "
                "empty one, with --out"
            )
        ignored = folder / ".gitignore"
        if not ignored.is_file():
            ignored.write_text("*\n")
    except OSError as error:
        raise UserError(
            f"'{folder}' cannot be written ({error.strerror}): name another folder with --out"
        ) from None
