"""Every explanation of every model graded, verdicts, agreement with the teacher, the KD question (notebook 05).

Every explanation of every model is computed and graded once, in a run of its own; what is here reads these runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import nn

from kdnb.distillation import control_runs, load_student
from kdnb.errors import UserError
from kdnb.explanations import Context, explain
from kdnb.faithfulness import AGREEMENTS, BASELINES, METRICS, Explainer, grade
from kdnb.feature_maps import gram_cka, grams
from kdnb.metrics import FEW, Interval, seed_interval, share_interval
from kdnb.progress import say
from kdnb.reading.measured import COMPARED
from kdnb.runs import Run, atomic_path, get_or_make
from kdnb.study import Study
from kdnb.training import load_teacher, saved_logits

__all__ = ["EXPLANATIONS", "STUDENTS", "agreement", "agreement_table", "explainer", "explanations", "graded",
           "interval", "kd_question", "likeness", "quality", "scores", "trained", "verdicts"]  # fmt: skip

EXPLANATIONS: dict[str, tuple[str, int]] = {  # name -> method, number of the tap
    "average map, first layer": ("average map", 0), "average map, middle": ("average map", 2),
    "average map, last": ("average map", -1), "Grad-CAM": ("gradcam", -1), "HiResCAM, middle": ("hirescam", 2),
    "LayerCAM, middle": ("layercam", 2), "Eigen-CAM, middle": ("eigencam", 2),
    "class evidence, middle": ("evidence", 2), "integrated gradients": ("integrated gradients", -1),
    "SHAP deep": ("SHAP deep", -1), "SHAP gradient": ("SHAP gradient", -1), "SHAP partition": ("SHAP partition", -1),
    "occlusion": ("occlusion", -1),
}  # fmt: skip
TEACHER, STUDENTS = "teacher", ("KD student", "label-only student")
TIMED = {  # method in notebook 06's table of costs -> the explanation whose grade stands for it
    "average_map": "average map, middle", "gradcam": "Grad-CAM", "hirescam": "HiResCAM, middle",
    "layercam": "LayerCAM, middle", "eigencam": "Eigen-CAM, middle", "evidence": "class evidence, middle",
    "shap_gradient": "SHAP gradient", "shap_deep": "SHAP deep",
}  # fmt: skip
STEPS = 8  # of deletion and insertion
CHECKED = 24  # images at most for the tests that need new explanations: the class switch, random weights, noise


def trained(study: Study) -> dict[str, list[Run]]:
    """The teacher, and as many KD and label-only students as the settings have ``student_seeds``."""
    runs = control_runs(study.settings.model_copy(update={"controls": []}), study.image_set, study.device)
    return {TEACHER: [study.teacher], STUDENTS[0]: runs["teacher"], STUDENTS[1]: runs["labels alone"]}


def explanations(kind: str) -> list[str]:
    """Names of all explanations and baselines of a kind of model; Deep SHAP is exact on students only."""
    return [name for name in EXPLANATIONS if (kind, name) != (TEACHER, "SHAP deep")] + list(BASELINES)


def explainer(study: Study, name: str) -> Explainer:
    """The explanation or baseline of that name, with the study's background, samples and seed."""
    if name in BASELINES:
        return BASELINES[name]
    method, tap = EXPLANATIONS[name]
    context = Context(study.background, study.settings.shap_samples, study.settings.seed, tap)
    return lambda model, images, targets: explain(method, model, images, targets, context).maps.astype(np.float32)


def _rows(study: Study) -> np.ndarray:
    return study.sample(study.settings.graded_images)


def graded(study: Study, kind: str, run: Run, name: str) -> Mapping[str, np.ndarray]:
    """Maps and all metrics of one explanation of one model, computed now or found, see `kdnb.faithfulness.grade`.

    All NaN where the explanation is refused, because it breaks its own axiom.

    Args:
        study: Images and settings.
        kind: "teacher", "KD student" or "label-only student".
        run: The model's run.
        name: One of ``EXPLANATIONS`` or ``BASELINES``.
    """
    rows, s = _rows(study), study.settings
    checked = min(max(1, len(rows) // 4), CHECKED)

    def make(made: Run) -> None:
        masks = None if study.image_set.masks is None else study.image_set.masks[rows]
        given = explainer(study, name), _model(study, kind, run), study.images(rows), study.targets(rows), masks
        try:
            found = grade(*given, steps=STEPS, checked=checked)
        except UserError as refusal:
            say(f"  {refusal}")
            found = {"maps": np.full((len(rows), *given[2].shape[2:]), np.nan)}
            found |= {metric: np.full(len(rows), np.nan) for metric in METRICS}
        with atomic_path(made.path("grades.npz")) as path, path.open("wb") as file:
            np.savez(file, **found)

    parameters = {"explanation": name, "how": EXPLANATIONS.get(name), "rows": rows.tolist(), "steps": STEPS,
                  "checked": checked, "samples": s.shap_samples, "seed": s.seed}  # fmt: skip
    done = get_or_make("grades", parameters, make, root=s.runs, upstream=[study.image_set.hash, run.id])
    return np.load(done.path("grades.npz"))


def _model(study: Study, kind: str, run: Run) -> nn.Module:
    load_model = load_teacher if kind == TEACHER else load_student
    return load_model(run, len(study.image_set.classes), study.device)


def scores(study: Study) -> pd.DataFrame:
    """Every metric of every explanation of every model.

    Returns:
        Index (model, explanation, metric); ``value`` with its 95 % interval over seeds and groups (low, high), and on
        how many images it is known.
    """
    found, groups = {}, study.groups(_rows(study))
    for kind, runs in trained(study).items():
        for name in explanations(kind):
            say(f"  grading the {kind}: {name}")
            seeds = [graded(study, kind, run, name) for run in runs]
            for metric in METRICS:
                values = np.stack([seed[metric] for seed in seeds])
                value, low, high = interval(values, groups, share=metric == "peak in mask")
                known = int((~np.isnan(values).any(0)).sum())
                found[kind, name, metric] = {"value": value, "low": low, "high": high, "images": known}
    return pd.DataFrame(found).T.astype({"images": int}).rename_axis(["model", "explanation", "metric"])


def interval(values: np.ndarray, groups: np.ndarray, *, share: bool) -> Interval:
    """Mean of values (S, N) with its interval over seeds and groups; images that a seed does not know are left out.

    A mean over fewer than ``FEW`` groups has no interval: their bootstrap would be far too narrow.
    """
    known = ~np.isnan(values).any(axis=0)
    if known.any() and len(np.unique(groups[known])) < 2 and (values.shape[1] > 1 or len(values) == 1):
        return Interval((float(values[:, known].mean()), np.nan, np.nan))  # one patient, or one seed, has no spread
    if share or not known.any():
        return share_interval(values, groups)
    if np.ptp(values[:, known]) < 1e-6:  # the same by construction, as a class-blind map under another class
        return Interval((float(values[:, known].mean()),) * 3)
    if values.shape[1] > 1 and len(np.unique(groups[known])) < FEW:
        return Interval((float(values[:, known].mean()), np.nan, np.nan))
    return seed_interval(values[:, known], groups[known])


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """What each explanation of `scores` passes, with its interval on the right side of the line.

    - points at the lesion: more energy in the mask than any baseline;
    - names what matters: ROAD, and insertion with either fill, better than any baseline;
    - knows the class, knows the weights: the map changes with them (rank correlation below 0.5);
    - stable: it does not change with invisible noise (above 0.5).

    Returns:
        Index (model, explanation), one column of 1 (passed), 0 (not passed) or NaN (not known) each, and ``passed``.
    """
    value, low, high = (table[c].unstack("metric") for c in ("value", "low", "high"))
    control = value.index.get_level_values("explanation").isin(BASELINES)
    best = value[control].groupby(level="model").max().reindex(value.index, level="model")
    order = [f"insertion, {fill}" for fill in ("mean colour", "blur")] + ["ROAD"]
    tests = {
        "points at the lesion": (low > best)["energy in mask"], "names what matters": (low > best)[order].all(axis=1),
        "knows the class": high["class switch"] < 0.5, "knows the weights": high["randomisation"] < 0.5,
        "stable": low["stability"] > 0.5,
    }  # fmt: skip
    needed = dict(zip(tests, ("energy in mask", "ROAD", "class switch", "randomisation", "stability"), strict=True))
    passed = pd.DataFrame({name: ok.astype(float).where(value[needed[name]].notna()) for name, ok in tests.items()})
    passed = passed.assign(passed=passed.sum(axis=1).astype(int))
    return passed.reindex(table.index.droplevel("metric").unique())


def quality(table: pd.DataFrame) -> pd.DataFrame:
    """One quality of each method that notebook 06 times: energy in the mask, or ROAD where nobody drew a mask.

    Maps of a layer are those of the middle one, Grad-CAM that of the last, as it is defined.

    Args:
        table: Of `scores`.

    Returns:
        Index (method, model: "teacher" or "student") as in notebook 06; the quality, named after its metric, with its
        95 % interval (low, high).
    """
    metric = "energy in mask" if table["value"].xs("energy in mask", level="metric").notna().any() else "ROAD"
    known = table.xs(metric, level="metric")[["value", "low", "high"]].rename(columns={"value": metric})
    kinds = {"teacher": TEACHER, "student": STUDENTS[0]}
    found = {(method, model): known.loc[(kind, name)] for method, name in TIMED.items()
             for model, kind in kinds.items() if (kind, name) in known.index}  # fmt: skip
    return pd.DataFrame(found).T.dropna(subset=[metric]).rename_axis(["method", "model"])


def likeness(study: Study) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Debiased CKA of every tap of the students with the teacher's tap of like depth, on the images of notebook 04.

    Computed once and kept.

    Returns:
        "CKA with the teacher: …" → one number per seed of the KD students (S,) and of the label-only students (S,), as
        `kd_question` takes them; empty where there are fewer than the 4 test images that CKA needs.
    """
    runs, rows = trained(study), study.sample(COMPARED)
    if len(rows) < 4:
        return {}

    def make(made: Run) -> None:
        batch = max(64, 2**20 // study.settings.image_size**2)  # small images at once: each is then seen once
        theirs, found = grams(study.teacher_model, study.images(rows), batch=batch), {}
        for kind in STUDENTS:
            for run in runs[kind]:
                say(f"  comparing layers: {kind}")
                cka = gram_cka(grams(_model(study, kind, run), study.images(rows), batch=batch), theirs)
                pairs = zip(cka.index, cka.columns, strict=True)
                found[kind, run.id] = {f"{ours}, {its}": cka.loc[ours, its] for ours, its in pairs}
        table = pd.DataFrame(found).T.rename_axis(["student", "run"])
        table.to_csv(made.path("cka.csv"), float_format="%.6g")

    upstream = [study.image_set.hash, *(run.id for kind in runs.values() for run in kind)]
    done = get_or_make("likeness", {"rows": rows.tolist()}, make, root=study.settings.runs, upstream=upstream)
    table = pd.read_csv(done.path("cka.csv"), index_col=[0, 1])
    return {f"CKA with the teacher: {taps}": tuple(table.loc[kind, taps].to_numpy() for kind in STUDENTS)
            for taps in table}  # fmt: skip


def agreement(study: Study) -> dict[tuple[str, str, str], np.ndarray]:
    """(student, explanation, measure) → (S, N): how alike the maps of teacher and student are, seed by seed."""
    models, found = trained(study), {}
    for name in [n for n in explanations(TEACHER) if n not in BASELINES]:
        theirs = graded(study, TEACHER, study.teacher, name)["maps"]
        for kind in STUDENTS:
            maps = [graded(study, kind, run, name)["maps"] for run in models[kind]]
            for measure, alike in AGREEMENTS.items():
                found[kind, name, measure] = np.stack([alike(theirs, ours) for ours in maps])
    return found


def agreement_table(study: Study, found: Mapping[tuple[str, str, str], np.ndarray]) -> pd.DataFrame:
    """`agreement` on images on which teacher and all students are right, and on which at least one is wrong.

    Returns:
        Index (student, explanation, measure), columns (cases, value · low · high).
    """
    place = np.searchsorted(study.image_set.rows("test"), _rows(study))  # in the test part
    answers = np.stack([saved_logits(run)[place].argmax(1) for runs in trained(study).values() for run in runs])
    right, groups = (answers == study.test_targets[place]).all(axis=0), study.test_groups[place]
    rows = {
        key: {(case, part): number for case, chosen in (("all right", right), ("one wrong", ~right))
              for part, number in zip(("value", "low", "high"),
                                      interval(values[:, chosen], groups[chosen], share=False), strict=True)}
        for key, values in found.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis(["student", "explanation", "measure"])


def kd_question(
    study: Study, found: Mapping[tuple[str, str, str], np.ndarray],
    more: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Does distillation change what the student gets right, or why? KD student minus label-only student.

    Args:
        study: The models.
        found: Of `agreement`.
        more: Further measures, name → (KD (S,), label-only (S,)): one number per seed, such as the CKA of a tap.

    Returns:
        Index ``measure``; columns KD student, label-only student, difference with its 95 % interval, paired over
        images and seeds (low, high), seeds.
    """
    runs, groups = trained(study), study.groups(_rows(study))
    right = [
        np.stack([saved_logits(r).argmax(1) == study.test_targets for r in runs[k]]).astype(float) for k in STUDENTS
    ]
    pairs = {"accuracy": (*right, study.test_groups)}
    for name, measure in dict.fromkeys(key[1:] for key in found):
        pairs[f"{measure} with the teacher: {name}"] = (*(found[k, name, measure] for k in STUDENTS), groups)
    for name, (ours, theirs) in (more or {}).items():
        pairs[name] = np.reshape(ours, (-1, 1)), np.reshape(theirs, (-1, 1)), np.zeros(1)
    rows = {}
    for name, (ours, theirs, of) in pairs.items():
        value, low, high = interval(ours - theirs, of, share=False)
        known = ~np.isnan(ours - theirs).any(axis=0)
        means = [float(part[:, known].mean()) if known.any() else np.nan for part in (ours, theirs)]
        rows[name] = {**dict(zip(STUDENTS, means, strict=True)), "difference": value, "low": low, "high": high,
                      "seeds": len(ours)}  # fmt: skip
    return pd.DataFrame(rows).T.astype({"seeds": int}).rename_axis("measure")
