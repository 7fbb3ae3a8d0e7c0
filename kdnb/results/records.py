"""The record of many runs: collected from their folders into a few compressed tables, and read with checks (07)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kdnb.errors import UserError
from kdnb.runs import AS_IS, atomic_path
from kdnb.settings import Settings
from kdnb.sweep.plan import Plan
from kdnb.sweep.spec import PLACES, Spec
from kdnb.sweep.table import state_of

__all__ = ["LARGER", "RECORDED", "Records", "collect", "load", "missing"]

Records = Mapping[str, pd.DataFrame]

LARGER = "larger"  # the part of a plan that may have another image size: it stands in tables of its own

RECORDED = {  # notebook -> the tables of it that are kept
    "03_distillation": ("03_answers", "03_trainings", "03_curves"),
    "05_xai": ("05_grades", "05_margins", "05_verdicts", "05_kd_question", "05_shortcut_accuracy", "05_shortcut",
               "05_distractor", "05_quality"),
    "06_efficiency": ("06_work", "06_latency", "06_explanations", "06_machine", "06_claims"),
}  # fmt: skip
# what is left as it is does not tell runs apart: a new parameter makes no record another one's
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}


def collect(plan: Plan, root: Path, folder: Path) -> Records:
    """Write the tables of every finished run of a plan to ``folder/<table>.csv.gz``, the same bytes for the same runs.

    Runs of the plan that are recorded there already and not finished in ``root``, as those of another machine, stay.

    ``runs`` has one row per run: run, part, notebook, parameters (JSON), seconds, finished. Every other table starts
    with the column ``run``. Answers are kept as one row per model, with the numbers of all images in one text.

    Raises:
        UserError: If no run is finished.
    """
    done = [spec for spec in plan.specs(root) if state_of(spec.run) == "done"]
    if not done:
        raise UserError(f"no run of plan '{plan.name}' is finished in '{root}': kdnb sweep run does that")
    tables = {"runs": pd.DataFrame([_row(spec) for spec in done])}
    for notebook, names in RECORDED.items():
        specs = [spec for spec in done if Path(spec.notebook).stem == notebook]
        for name in names if specs else ():
            tables[name] = pd.concat([_table(spec, name) for spec in specs], ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in _with_recorded(tables, _tables(folder, dtype=str), plan).items():
        text = table.to_csv(index=False, lineterminator="\n")
        with atomic_path(folder / f"{name}.csv.gz") as path:
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return _tables(folder)


def _with_recorded(new: Records, old: Records, plan: Plan) -> Records:
    """The new tables with the plan's other runs from the old ones, in the plan's order."""
    fresh, past, planned = new["runs"], old.get("runs", new["runs"][:0]), _planned(plan)
    left = past[[key in planned.keys() - set(_keys(fresh)) for key in _keys(past)]]
    runs, places = pd.concat([fresh, left]), {key: place for place, key in enumerate(planned)}
    order, both = dict(zip(runs["run"], map(places.get, _keys(runs)), strict=True)), {}
    for name in {**new, **old}:
        kept = [old[name][old[name]["run"].isin(left["run"])]] if name in old else []
        both[name] = pd.concat([new.get(name), *kept]).sort_values("run", key=lambda run: run.map(order), kind="stable")
    return both


def _row(spec: Spec) -> dict[str, Any]:
    made = spec.run.json("done.json")
    chosen = {name: value for name, value in spec.parameters.items() if name not in PLACES}
    return {"run": spec.run.id, "part": spec.part, "notebook": Path(spec.notebook).stem,
            "parameters": json.dumps(chosen, sort_keys=True), "seconds": made["seconds"],
            "finished": made["finished"]}  # fmt: skip


def _table(spec: Spec, name: str) -> pd.DataFrame:
    table = pd.read_csv(spec.run.path("results") / f"{name}.csv")
    if name == "03_answers":
        table = pd.DataFrame({"model": table.columns, "values": [" ".join(map(str, table[c])) for c in table.columns]})
    table.insert(0, "run", spec.run.id)
    return table


def load(folder: Path, plan: Plan, *, partial: bool = False) -> Records:
    """What `collect` wrote, if it is the whole plan's, of one version and one image size.

    Args:
        folder: Of the collected tables.
        plan: What should be there.
        partial: Accept that runs are missing.

    Raises:
        UserError: Naming the runs that are missing, are not of the plan, mix versions or image sizes, or rows of which
            no run is known.
    """
    if not (folder / "runs.csv.gz").is_file():
        raise UserError(f"'{folder}' holds no collected runs: kdnb figures --collect writes them")
    tables = _tables(folder)
    runs, planned = tables["runs"], _planned(plan)
    sizes = runs.assign(size=[json.loads(text).get("image_size") for text in runs["parameters"]])
    alike = [of for _, of in sizes[sizes["notebook"] == "03_distillation"].groupby(sizes["part"] == LARGER)]
    problems = {
        "are not of the plan": [run for run, key in zip(runs["run"], _keys(runs), strict=True) if key not in planned],
        "are missing": [] if partial else missing(tables, plan),
        "have rows but no provenance": sorted({r for t in tables.values() for r in t["run"]} - set(runs["run"])),
        "mix versions of kdnb": _mixed(tables.get("03_trainings", pd.DataFrame({"run": [], "kdnb": []})), "kdnb"),
        "mix image sizes": [name for of in alike for name in _mixed(of, "size")],
    }
    if found := [f"{len(names)} runs {what}: {'; '.join(names)}" for what, names in problems.items() if names]:
        raise UserError(f"the results in '{folder}' are refused. {'. '.join(found)}")
    return tables


def missing(records: Records, plan: Plan) -> list[str]:
    """Runs of the plan that the record does not hold: ``part (what varies)``."""
    known = set(_keys(records["runs"]))
    return [name for key, name in _planned(plan).items() if key not in known]


def _planned(plan: Plan) -> dict[str, str]:
    return {_key(part.notebook.stem, run): f"{part.name} ({' '.join(f'{name}={run[name]}' for name in part.varied)})"
            for part in plan.parts for run in part.runs}  # fmt: skip


def _keys(runs: pd.DataFrame) -> list[str]:
    return [_key(*row) for row in zip(runs["notebook"], map(json.loads, runs["parameters"]), strict=True)]


def _tables(folder: Path, dtype: type | None = None) -> dict[str, pd.DataFrame]:
    """Those that hold something: what is left of a table whose runs the plan has dropped is its head."""
    found = {path.name.removesuffix(".csv.gz"): path for path in sorted(folder.glob("*.csv.gz"))}
    how = {"dtype": dtype or {"run": str}, **AS_IS}  # an id may look like a number
    return {name: table for name, path in found.items() if len(table := pd.read_csv(path, **how))}


def _key(notebook: str, parameters: Mapping[str, Any]) -> str:
    chosen = {name: v for name, v in parameters.items() if name not in PLACES and v != DEFAULTS.get(name)}
    return f"{notebook} {json.dumps(chosen, sort_keys=True)}"


def _mixed(table: pd.DataFrame, column: str) -> list[str]:
    """``run: value`` for all runs if there is more than one value."""
    pairs = table.dropna(subset=[column]).drop_duplicates(["run", column])
    return [f"{row.run}: {getattr(row, column)}" for row in pairs.itertuples()] if pairs[column].nunique() > 1 else []
