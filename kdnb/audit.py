"""The audit of a data set: what leaks under each split, as tables and a one-page report (``kdnb data audit``, 01)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kdnb import leakage
from kdnb.data import load
from kdnb.errors import UserError
from kdnb.report import html_table, write_page
from kdnb.runs import atomic_path
from kdnb.settings import SPLITS, Settings

__all__ = ["audit", "write_audit"]

KINDS = ("exact", "near", "family", "patient")


def audit(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """What leaks under every split that the data set allows.

    Returns:
        The summary: one row per split with the numbers of train and test images; how many test images have in train
        an identical file (``exact``), nearly the same pixels (``near``), a copy of another kind, such as a mirrored
        one (``family``), or their patient (``patient``); and the leak meter, plain and mirror-invariant.
        The ledger: every crossing, with a column ``split``.
        The notes of the data set.

    Raises:
        UserError: If the data set cannot be read.
    """
    rows, ledgers, thumbs, notes = {}, {}, None, ()
    for split in SPLITS:
        try:
            found = load(settings.model_copy(update={"split": split}))
        except UserError:
            if split == "published" and rows:  # this set has no published split
                continue
            raise
        thumbs = leakage.thumbnails(found.pixels) if thumbs is None else thumbs
        ledger = leakage.leak_ledger(found.table, thumbs)
        crossing = ledger[(ledger["part_a"] == "train") & (ledger["part_b"] == "test")]["kind"].value_counts()
        train, test = found.rows("train"), found.rows("test")
        targets = found.table["target"].to_numpy()
        meters = [leakage.leak_meter(thumbs, targets, train, test, flip_invariant=flip) for flip in (False, True)]
        rows[split] = {
            "train": len(train), "test": len(test), **{k: int(crossing.get(k, 0)) for k in KINDS},
            "1-NN": meters[0]["accuracy"], "1-NN balanced": meters[0]["balanced_accuracy"],
            "1-NN mirrored": meters[1]["accuracy"],
        }  # fmt: skip
        ledgers[split], notes = ledger, found.notes
    summary = pd.DataFrame(rows).T.rename_axis("split").astype({"train": int, "test": int, **dict.fromkeys(KINDS, int)})
    return summary, pd.concat(ledgers, names=["split"]).reset_index("split"), notes


def write_audit(settings: Settings, folder: Path) -> pd.DataFrame:
    """Write ``summary.csv``, ``ledger.csv`` and ``report.html`` into ``folder``; returns the summary.

    Raises:
        UserError: If the data set cannot be read or the folder cannot be written.
    """
    summary, ledger, notes = audit(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in (("summary", summary.reset_index()), ("ledger", ledger)):
            with atomic_path(folder / f"{name}.csv") as path:
                table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
        first = ledger.groupby(["split", "kind"]).head(5)
        tables = [html_table("What crosses from train to test", summary.reset_index())]
        write_page(
            folder / "report.html",
            title=f"Audit of {settings.dataset}",
            lead=" ".join(notes) or "Every image has a patient, and nothing else was noted.",
            sections=[
                {"title": "Leaks under each split", "tables": tables, "pictures": []},
                {"title": "Examples", "tables": [html_table("First crossings of each kind", first)], "pictures": []},
            ],
            settings={"data": Path(settings.data).name, "seed": settings.seed},
        )
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written ({error.strerror}): name another folder with --out") from None
    return summary
