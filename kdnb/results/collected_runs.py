"""The record of many runs, collected into a few compressed tables and read with checks (07)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kdnb.batch.plan import Plan
from kdnb.batch.run_spec import PLACES, SweepSpec
from kdnb.core.errors import DamagedRun, UserError
from kdnb.core.progress import say
from kdnb.core.run_files import check_files
from kdnb.core.runs import atomic_path
from kdnb.core.settings import Settings
from kdnb.core.tables import read_table

__all__ = [
    "PLACE_OF_RUN",
    "RECORDED",
    "Records",
    "collect_runs",
    "load_collected",
    "missing",
    "run_key",
    "without_rows",
]

Records = Mapping[str, pd.DataFrame]

# notebook -> the tables of it that are kept
RECORDED = {
    "03_distillation": ("03_answers", "03_trainings", "03_curves"),
    "05_xai": (
        "05_grades",
        "05_margins",
        "05_verdicts",
        "05_kd_question",
        "05_shortcut_accuracy",
        "05_shortcut",
        "05_distractor",
        "05_quality",
        "05_image_grades",
        "05_localisation",
        "05_localisation_parts",
        "05_right_reasons",
    ),
    "06_efficiency": ("06_work", "06_latency", "06_explanations", "06_machine", "06_claims"),
}
# tables of it that only runs on images with masks have
OF_MASKS = ("05_image_grades", "05_localisation", "05_localisation_parts", "05_right_reasons")
# parameters that say which images are in which part
DRAWN_BY = (
    "dataset",
    "split",
    "seed",
    "fold",
    "sizes_of",
    "fraction",
    "image_size",
    "patients",
    "slices",
    "difficulty",
    "test_share",
    "window",
)
# parameters that say which runs stand in one place: their accuracies are pooled and compared
PLACE_OF_RUN = ("dataset", "split", "sizes_of", "teacher", "image_size")
# parameters of which the runs of one place each have their own: within one, models are compared
OF_ONE_DRAW = ("teacher_seed", "fold")
# parameters of drawn images: on a set of real ones they do not tell runs apart
OF_PHANTOMS = ("patients", "slices", "difficulty", "test_share")
PHANTOM = "phantom_"  # how the names of drawn sets begin
# parameters of what no record holds: the widths of the ladder in notebook 03
OF_NO_RECORD = ("widths",)
# what is left as it is does not tell runs apart: a new parameter makes no record another one's
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}


def collect_runs(plan: Plan, root: Path, folder: Path) -> Records:
    """Write the tables of every finished run of a plan to ``folder/<table>.csv.gz``.

    The same runs give the same bytes. Runs of the plan that are recorded there already and not
    finished in ``root``, as those of another machine, stay; damaged ones are named.

    ``runs`` has one row per run: run, part, notebook, parameters (JSON), seconds, finished, kdnb
    (the version; empty where an older record does not tell it). Every other table starts with the
    column ``run``. Answers are kept as one row per model, with the numbers of all images in one
    text.

    Raises:
        UserError: If no run is finished.
    """
    done = _finished_specs(plan, root)
    if not done:
        raise UserError(
            f"no run of plan '{plan.name}' is finished in '{root}': kdnb sweep run does that"
        )
    tables = {"runs": pd.DataFrame([_row(spec) for spec in done])}
    for notebook, names in RECORDED.items():
        specs = [spec for spec in done if Path(spec.notebook).stem == notebook]
        if not specs:
            continue
        for name in names:
            having = [spec for spec in specs if name not in OF_MASKS or _has(spec, name)]
            if having:
                tables[name] = pd.concat([_table(spec, name) for spec in having], ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    recorded = _tables(folder, dtype=str)  # as text, so that no number is written in another way
    for name, table in _with_recorded(tables, recorded, plan).items():
        text = table.to_csv(index=False, lineterminator="\n")
        with atomic_path(folder / f"{name}.csv.gz") as path:
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return _tables(folder)


def _finished_specs(plan: Plan, root: Path) -> list[SweepSpec]:
    """The runs of a plan that are done; damaged ones are named and left out."""
    done = []
    for spec in plan.specs(root):
        if not spec.run.ended:
            continue
        try:
            check_files(spec.run.folder, "loading")
        except DamagedRun as error:
            say(str(error))
            continue
        done.append(spec)
    return done


def _row(spec: SweepSpec) -> dict[str, Any]:
    """The row of ``runs`` of a finished run."""
    made = spec.run.json("done.json")
    chosen = {name: value for name, value in spec.parameters.items() if name not in PLACES}
    return {
        "run": spec.run.id,
        "part": spec.part,
        "notebook": Path(spec.notebook).stem,
        "parameters": json.dumps(chosen, sort_keys=True),
        "seconds": made["seconds"],
        "finished": made["finished"],
        "kdnb": spec.run.json("env.json")["kdnb"],
    }


def _has(spec: SweepSpec, name: str) -> bool:
    """Whether a finished run wrote a table."""
    return spec.run.path(f"results/{name}.csv").is_file()


def _table(spec: SweepSpec, name: str) -> pd.DataFrame:
    """A table of a finished run, with the run in front."""
    table = read_table(spec.run.path(f"results/{name}.csv"))
    if name == "03_answers":
        values = [" ".join(map(str, table[model])) for model in table.columns]
        table = pd.DataFrame({"model": table.columns, "values": values})
    table.insert(0, "run", spec.run.id)
    return table


def _with_recorded(new: Records, old: Records, plan: Plan) -> Records:
    """The new tables with the plan's other runs from the old ones, in the plan's order."""
    planned = _planned(plan)
    new_runs = new["runs"]
    old_runs = old.get("runs", new_runs.head(0))
    absent = planned.keys() - set(_keys(new_runs))  # of the new ones
    old_keys = _keys(old_runs)
    left = old_runs.loc[[key in absent for key in old_keys]]
    dropped = old_runs.loc[[key not in planned for key in old_keys], "run"]
    if len(dropped):
        say(f"{len(dropped)} recorded runs are not of the plan, and go: {', '.join(dropped)}")

    place_of_key = {key: place for place, key in enumerate(planned)}
    runs = pd.concat([new_runs, left])
    place_of_run = {}
    for run, key in zip(runs["run"], _keys(runs), strict=True):
        place_of_run[run] = place_of_key.get(key)

    together = {}
    for name in dict.fromkeys([*new, *old]):
        sources = [new[name]] if name in new else []
        if name in old:
            sources.append(old[name][old[name]["run"].isin(left["run"])])
        together[name] = pd.concat(sources).sort_values(
            "run", key=lambda run: run.map(place_of_run), kind="stable"
        )
    return together


def load_collected(folder: Path, plan: Plan, *, partial: bool = False) -> Records:
    """What `collect_runs` wrote, if it is the whole plan's, of one version and unmixed images.

    Args:
        folder: Of the collected tables.
        plan: What should be there.
        partial: Accept that runs are missing.

    Raises:
        UserError: Naming the runs that are missing, are not of the plan, lack rows, mix versions,
            image sizes of one part, images of one split or number formats of one seed and place,
            or rows of which no run is known.
    """
    if not (folder / "runs.csv.gz").is_file():
        raise UserError(f"'{folder}' holds no collected runs: kdnb figures --collect writes them")
    tables = _tables(folder)
    tables["runs"] = _with_parts(tables["runs"], plan)
    problems = {
        "are not of the plan": _unplanned(tables, plan),
        "are missing (--partial does without)": [] if partial else missing(tables, plan),
        "have rows but no provenance": _unknown(tables),
        "have no row in a table that their notebook always writes": without_rows(tables),
        "mix versions of kdnb": _mixed_versions(tables),
        "mix image sizes of one part": _mixed_sizes(tables),
        "have the same parameters and other images": _mixed_images(tables),
        "mix number formats where they are compared": _mixed_formats(tables),
    }
    found = []
    for problem, runs in problems.items():
        if runs:
            found.append(f"{len(runs)} runs {problem}: {'; '.join(runs)}")
    if found:
        raise UserError(f"the results in '{folder}' are refused. {'. '.join(found)}")
    return tables


def _with_parts(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The runs with the plan's names of their parts: a name may have changed since."""
    part_of_key = {}
    for part in plan.parts:
        for parameters in part.runs:
            part_of_key[run_key(part.notebook.stem, parameters)] = part.name
    named = pd.Series(_keys(runs), index=runs.index).map(part_of_key)
    return runs.assign(part=named.fillna(runs["part"]))


def missing(records: Records, plan: Plan) -> list[str]:
    """Runs of the plan that the record does not hold: ``part (what varies)``."""
    known = set(_keys(records["runs"]))
    return [name for key, name in _planned(plan).items() if key not in known]


def _unplanned(records: Records, plan: Plan) -> list[str]:
    """Runs of the record that the plan does not name."""
    planned = _planned(plan)
    runs = records["runs"]
    return [run for run, key in zip(runs["run"], _keys(runs), strict=True) if key not in planned]


def _unknown(records: Records) -> list[str]:
    """Runs that rows of any table name, and the table ``runs`` does not."""
    named = set()
    for table in records.values():
        named.update(table["run"])
    return sorted(named - set(records["runs"]["run"]))


def without_rows(records: Records) -> list[str]:
    """``run: table`` where a run has no row in a table that its notebook always writes.

    A table of masks is needed where another run of the set and split has it: without, that run was
    made without the masks, and may have seen other images.
    """
    runs = records["runs"]
    parameters = runs.set_index("run")["parameters"].map(json.loads)
    place_of = {run: (of_run["dataset"], of_run["split"]) for run, of_run in parameters.items()}
    having = {name: set(table["run"]) for name, table in records.items() if "run" in table}
    masked = {(name, place_of.get(run)) for name in OF_MASKS for run in having.get(name, ())}
    found = []
    for run, notebook in runs[["run", "notebook"]].itertuples(index=False):
        for name in RECORDED.get(notebook, ()):
            is_needed = name not in OF_MASKS or (name, place_of[run]) in masked
            if is_needed and run not in having.get(name, ()):
                found.append(f"{run}: {name}")
    return found


def _mixed_versions(records: Records) -> list[str]:
    """Runs of several versions: their own, and those of the networks that they trained."""
    runs = records["runs"]
    told = [runs[["run", "kdnb"]]] if "kdnb" in runs else []
    if "03_trainings" in records:
        told.append(records["03_trainings"][["run", "kdnb"]])
    return _mixed(pd.concat(told), "kdnb") if told else []


def _mixed_sizes(records: Records) -> list[str]:
    """Runs of one part of the plan with different image sizes; costs are meant to have several."""
    runs = records["runs"]
    runs = runs[runs["notebook"] != "06_efficiency"]
    sizes = runs.assign(size=[json.loads(text).get("image_size") for text in runs["parameters"]])
    found = []
    for _, of_part in sizes.groupby("part", sort=False):
        found += _mixed(of_part, "size")
    return found


def _mixed_images(records: Records) -> list[str]:
    """Runs of one set and split whose images or parts differ.

    So it is where the split by patient was made with the origins of the images, and without.
    """
    if "03_trainings" not in records:
        return []
    parameters = records["runs"].set_index("run")["parameters"].map(json.loads)
    images = records["03_trainings"].drop_duplicates("run")[["run", "data"]]
    images = images[images["run"].isin(parameters.index)]
    drawn = []
    for run in images["run"]:
        of_run = DEFAULTS | parameters[run]
        is_drawn = of_run["dataset"].startswith(PHANTOM)
        names = [name for name in DRAWN_BY if is_drawn or name not in OF_PHANTOMS]
        drawn.append(json.dumps([of_run[name] for name in names]))
    found = []
    for _, same in images.groupby(drawn):
        found += _mixed(same, "data")
    return found


def _mixed_formats(records: Records) -> list[str]:
    """Runs whose students are compared, or whose teachers, and were trained in different formats.

    Models are compared within a place, a seed and a fold; another seed may have another format.
    """
    if "03_trainings" not in records:
        return []
    parameters = records["runs"].set_index("run")["parameters"].map(json.loads)
    trainings = records["03_trainings"]
    trainings = trainings[trainings["run"].isin(parameters.index)]
    compared = []
    for run, alpha in zip(trainings["run"], trainings["alpha"], strict=True):
        of_run = DEFAULTS | parameters[run]
        together = [of_run[name] for name in (*PLACE_OF_RUN, *OF_ONE_DRAW)]
        is_teacher = pd.isna(alpha)
        compared.append(str([*together, is_teacher]))
    found = []
    for _, same in trainings.groupby(compared):
        found += _mixed(same, "precision")
    return found


def _mixed(table: pd.DataFrame, column: str) -> list[str]:
    """``run: value`` for all runs if there is more than one value."""
    pairs = table.dropna(subset=[column]).drop_duplicates(["run", column])
    if pairs[column].nunique() < 2:
        return []
    return [f"{run}: {value}" for run, value in zip(pairs["run"], pairs[column], strict=True)]


def _planned(plan: Plan) -> dict[str, str]:
    """The runs of a plan in order: key -> ``part (what varies)``."""
    names = {}
    for part in plan.parts:
        for parameters in part.runs:
            varied = " ".join(f"{name}={parameters[name]}" for name in part.varied)
            names[run_key(part.notebook.stem, parameters)] = f"{part.name} ({varied})"
    return names


def _keys(runs: pd.DataFrame) -> list[str]:
    """The key of every row of ``runs``."""
    return [run_key(run.notebook, json.loads(run.parameters)) for run in runs.itertuples()]


def run_key(notebook: str, parameters: Mapping[str, Any]) -> str:
    """What tells a run apart on any machine: notebook, and parameters that are not the default."""
    drawn = parameters.get("dataset", DEFAULTS["dataset"]).startswith(PHANTOM)
    left_out = (*PLACES, *OF_NO_RECORD)
    if not drawn:
        left_out += OF_PHANTOMS
    chosen = {}
    for name, value in parameters.items():
        if name not in left_out and value != DEFAULTS.get(name):
            chosen[name] = value
    return f"{notebook} {json.dumps(chosen, sort_keys=True)}"


def _tables(folder: Path, dtype: type | None = None) -> dict[str, pd.DataFrame]:
    """The recorded tables by name, without empty ones, whose runs the plan has dropped.

    Args:
        folder: Of the collected tables.
        dtype: Of every column; None: as pandas finds it.
    """
    types = {"run": str} if dtype is None else dtype  # an id may look like a number
    tables = {}
    for path in sorted(folder.glob("*.csv.gz")):
        table = read_table(path, types=types)
        if len(table):
            tables[path.name.removesuffix(".csv.gz")] = table
    return tables
