"""What the published tables say, in one line per finding, each with its interval (README, notebook 07)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kdnb.faithfulness import BASELINES

__all__ = ["findings"]

NAMES = {"brain_tumor": "brain", "eye_disease": "eye", "alzheimer": "Alzheimer"}
SHOWN = ("average map, first layer", "Grad-CAM", "SHAP deep")  # the paper's map, and its two checks
LIKENESS = ("Spearman with the teacher: Grad-CAM", "Spearman with the teacher: SHAP gradient",
            "CKA with the teacher: conv5, final")  # fmt: skip
WHOLE = "fraction == 1 and split == 'grouped'"
APART = "copies and known patients kept apart"  # nobody knows the patients of the brain set
LEAKY = {"brain_tumor": "published", "eye_disease": "random", "alzheimer": "random"}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """One sentence per finding, from the numbers of `kdnb.results.tables.make_tables`; none where one is missing.

    The first five are those for the README.
    """
    makers = {_paper: "a_larger" if "a_larger" in tables else "a_accuracy", _leaks: "a_accuracy", _gain: "c_gains",
              _tested: "d_explained", _cost: "e_explanations", _memory: "a_accuracy", _reasons: "f_kd_question",
              _average_map: "f_distractor", _cheat: "f_shortcut"}  # fmt: skip
    return [line for make, needed in makers.items() if needed in tables and (line := make(tables[needed]))]


def _interval(row: pd.Series, name: str, sign: str = "") -> str:
    value, low, high = (row[column] for column in (name, f"{name}_low", f"{name}_high"))
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = table[(table["model"] == model) & (table["counted"] == "all classes")]
    return rows.set_index(["dataset", "split"])


def _paper(table: pd.DataFrame) -> str:
    rows = _of(table, "KD student").dropna(subset=["paper"])
    ours = rows[["accuracy", "accuracy_low", "accuracy_high"]].sub(rows["paper"], axis=0)
    said = [f"{NAMES[name]} {_interval(row, 'accuracy', '+')}" for (name, _), row in ours.iterrows()]
    size, epochs = (" or ".join(map(str, sorted(rows[column].unique()))) for column in ("size_px", "epochs"))
    return _line("Beside the paper", "the distilled student's accuracy minus the paper's, under its kind of split; "
                 f"here from scratch at {size} px in {epochs} epochs, and the paper's Alzheimer images are augmented "
                 "copies of these", said)  # fmt: skip


def _leaks(table: pd.DataFrame) -> str:
    rows = _of(table, "KD student")
    there = [name for name, leaky in LEAKY.items() if {(name, leaky), (name, "grouped")} <= set(rows.index)]
    both = [[_interval(rows.loc[name, split], "accuracy") for split in (LEAKY[name], "grouped")] for name in there]
    said = [f"{NAMES[name]} {leaky} and {honest}" for name, (leaky, honest) in zip(there, both, strict=True)]
    return _line("Leaks", f"the distilled student's accuracy under the paper's kind of split, and with {APART}", said)


def _memory(table: pd.DataFrame) -> str:
    rows = _of(table, "KD student").query("split == 'grouped'")
    said = [f"{NAMES[name]} {_interval(row, 'above', '+')}" for (name, _), row in rows.iterrows()]
    return _line("Above memory", "the distilled student's accuracy minus that of the nearest image on raw "
                 f"pixels, mirrored or not, with {APART}", said)  # fmt: skip


def _gain(table: pd.DataFrame) -> str:
    rows = table.query(f"{WHOLE} and taught_by == 'the teacher' and against == 'labels alone'")
    said = [f"{NAMES[r.dataset]} {_interval(r, 'difference', '+')}, {_seeds(r.seeds)}" for _, r in rows.iterrows()]
    return _line("What distillation adds", f"accuracy of its student minus that on labels alone, with {APART}", said)


def _seeds(many: int) -> str:
    return f"{many} seeds" if many > 1 else "one seed"


def _listed(rows: pd.DataFrame, value: str, sign: str = "") -> list[str]:
    rows = rows.rename(columns={"low": f"{value}_low", "high": f"{value}_high"})
    return [f"{name} {_interval(row, value, sign)}" for name, row in rows.iterrows()]


def _reasons(table: pd.DataFrame) -> str:
    rows = table.query(f"{WHOLE} and dataset == 'brain_tumor'").set_index("measure")
    said = _listed(rows.loc[rows.index.intersection(LIKENESS)], "difference", "+")
    return _line("Reasons", f"brain: likeness minus that of labels alone, {_seeds(rows['seeds'].max())}", said)


def _tested(table: pd.DataFrame) -> str:
    said = _listed(table.query(f"{WHOLE} and dataset == 'brain_tumor'").set_index("explanation"), "ROAD")
    return _line("Tested on pixels", "brain: answer lost with a map's strongest pixels, minus its weakest; centre and "
                 "Sobel explain nothing", said)  # fmt: skip


def _average_map(table: pd.DataFrame) -> str:
    return _line("Average maps", "share of phantoms in which the first layer points at a blob that means nothing, "
                 f"{_seeds(table['seeds'].max())}", _listed(table.set_index("map"), "share"))  # fmt: skip


def _cheat(table: pd.DataFrame) -> str:
    rows = table.set_index("explanation")
    reveal = rows.loc[rows.index.difference(BASELINES), "reveals"]
    return _line("A student that cheats", "energy of its map in the mark that it cheats by, minus an honest student's; "
                 f"{reveal.sum():.0f} of {len(reveal)} explanations reveal it",
                 _listed(rows.loc[rows.index.intersection(SHOWN)], "difference", "+"))  # fmt: skip


def _cost(table: pd.DataFrame) -> str:
    row = table[table["method"] == "shap_gradient"].iloc[0]
    return _line("Cost", "the teacher's time over the student's", [f"the same SHAP {_interval(row, 'ratio')}"])


def _line(title: str, what: str, said: list[str]) -> str:
    return f"**{title}** ({what}): {'; '.join(said)}." if said else ""
