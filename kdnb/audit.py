"""The audit of a data set: what leaks under each split, as tables and a one-page report (``kdnb data audit``, 01)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kdnb import leakage
from kdnb.data import BASE, load, registered
from kdnb.errors import UserError
from kdnb.figures import Results, leak_dots, png_of, png_uri
from kdnb.report import html_table, write_page
from kdnb.runs import atomic_path, digest
from kdnb.settings import SPLITS, Settings, project_root

__all__ = ["Audit", "against_paper", "audit", "published_against_paper", "write_audit"]

KINDS = ("exact", "near", "family", "patient")


class Audit(NamedTuple):
    """What leaks in a data set.

    ``summary``: one row per split with the numbers of ``seen`` (train and val) and test images; how many test images
    have among the seen ones an identical file (``exact``), nearly the same pixels (``near``), a copy of another kind,
    such as a mirrored one (``family``), or their patient (``patient``); and the leak meter, plain, balanced over the
    classes, and with the test image mirrored too.
    ``ledger``: every crossing, with a column ``split``. ``notes``: those of the data set. ``data``: its hash.
    """

    summary: pd.DataFrame
    ledger: pd.DataFrame
    notes: tuple[str, ...]
    data: str


def audit(settings: Settings) -> Audit:
    """What leaks under every split that the data set allows; a set that cannot be read is a :class:`UserError`."""
    rows, ledgers, thumbs, notes, hashes = {}, {}, None, (), []
    for split in SPLITS:
        try:
            found = load(settings.model_copy(update={"split": split, "image_size": BASE}))
        except UserError:
            if split == "published" and rows:  # this set has no published split
                continue
            raise
        thumbs = leakage.thumbnails(found.pixels) if thumbs is None else thumbs
        ledger = leakage.leak_ledger(found.table, thumbs)
        meters = [leakage.leak_meter(found.table, thumbs, flip_invariant=flip) for flip in (False, True)]
        rows[split] = {
            "seen": len(found.rows("train", "val")), "test": len(found.rows("test")), **_crossings(ledger),
            "1-NN": meters[0]["accuracy"], "1-NN balanced": meters[0]["balanced_accuracy"],
            "1-NN mirrored": meters[1]["accuracy"],
        }  # fmt: skip
        ledgers[split], notes = ledger, (*notes, *found.notes)
        hashes.append(found.hash)
    summary = pd.DataFrame(rows).T.rename_axis("split").astype({"seen": int, "test": int, **dict.fromkeys(KINDS, int)})
    return Audit(
        summary, pd.concat(ledgers, names=["split"]).reset_index("split"), tuple(dict.fromkeys(notes)), digest(hashes)
    )


def _crossings(ledger: pd.DataFrame) -> dict[str, int]:
    """Test images that a seen image leaks to: copies under the first kind that holds, patients apart."""
    rows = ledger[ledger["part_b"] == "test"]
    copies = rows[rows["kind"] != "patient"].groupby("id_b")["kind"].agg(lambda kinds: min(kinds, key=KINDS.index))
    counts = {kind: int((copies == kind).sum()) for kind in KINDS[:3]}
    return {**counts, "patient": rows[rows["kind"] == "patient"]["id_b"].nunique()}


def against_paper(dataset: str, summary: pd.DataFrame) -> pd.DataFrame:
    """The paper's accuracies beside the leak meter of the split that they were measured on, and of the grouped one.

    ``summary`` is that of `audit`. A data set that the paper did not use, or without the split that it used, gives an
    empty table. Else one row per model: paper, 1-NN and skill under ``protocol`` (the split), 1-NN grouped.
    """
    known = registered().get(dataset, {})
    if "paper" not in known or known["protocol"] not in summary.index:
        return pd.DataFrame()
    meter, protocol = summary["1-NN"], known["protocol"]
    rows = {
        model: {
            "paper": known["paper"][model], "protocol": protocol, "1-NN": meter[protocol],
            "skill": leakage.skill(known["paper"][model], meter[protocol]), "1-NN grouped": meter["grouped"],
        } for model in ("teacher", "student") if model in known["paper"]
    }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("model")


def published_against_paper() -> pd.DataFrame:
    """`against_paper` for every data set of ``figures/audit/summary.csv``: index (dataset, model); empty without it."""
    path = project_root() / "figures" / "audit" / "summary.csv"
    if not path.is_file():
        return pd.DataFrame()
    rows = pd.read_csv(path, index_col=["dataset", "split"])
    found = {name: against_paper(name, part.droplevel("dataset")) for name, part in rows.groupby("dataset", sort=False)}
    return pd.concat(found, names=["dataset"])


def write_audit(settings: Sequence[Settings], folder: Path) -> Results:
    """Write ``summary.csv``, ``ledger.csv``, ``leak_meter.png`` and ``report.html`` into ``folder``, made if need be.

    Raises:
        UserError: If a data set cannot be read or the folder cannot be written.
    """
    names = [Path(one.data).name if one.dataset == "custom" else one.dataset for one in settings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two data sets are named {', '.join(twice)}: audit them one by one, or rename a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(".writable").touch()
        folder.joinpath(".writable").unlink()
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written ({error.strerror}): name another folder with --out") from None
    found = dict(zip(names, map(audit, settings), strict=True))
    summary = pd.concat({name: a.summary for name, a in found.items()}, names=["dataset"])
    ledger = pd.concat({name: a.ledger for name, a in found.items()}, names=["dataset"]).reset_index("dataset")
    parameters = {"dataset": ", ".join(found), "seed": settings[0].seed}
    results = Results(folder, parameters, digest([a.data for a in found.values()]))
    results.table("summary", summary)
    picture = leak_dots(summary, {name: registered().get(name, {}) for name in found})
    page = {"alt": picture.alt, "uri": png_uri(png_of(picture))}
    results.picture("leak_meter", picture)
    notes = [f"{name}: {note}." for name, a in found.items() for note in a.notes]
    first = ledger.groupby(["dataset", "split", "kind"]).head(5)
    tables = [html_table("What crosses from train and val to test", summary.reset_index())]
    with atomic_path(folder / "ledger.csv") as path:
        ledger.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    write_page(
        folder / "report.html",
        title=f"Audit of {', '.join(found)}",
        lead=" ".join(notes) or "Every image has a patient, and nothing else was noted.",
        sections=[
            {"title": "Leaks under each split", "tables": tables, "pictures": [page]},
            {"title": "Examples", "tables": [html_table("First crossings of each kind", first)], "pictures": []},
        ],
        settings=parameters,
    )
    return results
