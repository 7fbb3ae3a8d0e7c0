"""Do maps find what somebody has drawn? Every layer's maps against masks, image by image (05).

On phantoms the mask is what defines the class; on the brain set it is the tumour. Images without a
mask do not enter. What these grades say is in `kdnb.xai.tumour_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from kdnb.core.errors import UserError
from kdnb.core.method_names import method_name
from kdnb.core.model_names import TEACHER
from kdnb.core.progress import tell
from kdnb.core.protocols import ImagesOfStudy
from kdnb.core.runs import Run, atomic_path, get_or_make
from kdnb.core.statistics import Groups
from kdnb.feature_maps.cam import eigencam, evidence, gradcam, hirescam, layercam
from kdnb.feature_maps.maps import average_map, to_size
from kdnb.feature_maps.mask_metrics import LOCALISATION, energy_in_mask
from kdnb.training.taps import gradients_at_taps
from kdnb.xai.attribution import Context
from kdnb.xai.baselines import BASELINES
from kdnb.xai.evaluation import COSTLY, is_quick_look, model_of
from kdnb.xai.methods import explain

__all__ = [
    "BEST",
    "BRIGHTNESS",
    "COMPARED_MAPS",
    "DRAWN",
    "INPUT",
    "LAYER_MAPS",
    "MASKS",
    "MEAN_MASK",
    "Localisation",
    "dilated",
    "localise",
    "masked_rows",
]

LAYER_MAPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # activations, gradients → maps
    "average map": lambda activations, _gradients: average_map(activations),
    "Grad-CAM": gradcam,
    "HiResCAM": hirescam,
    "LayerCAM": layercam,
    "Eigen-CAM": eigencam,
    "class evidence": evidence,
}
COMPARED_MAPS = ("average map", "HiResCAM", "LayerCAM")  # of them, in the figure and the sentence
# the mask itself, as coarse as the layer's grid: what a map that drew the tumour would get;
# one cell alone can hold a larger share of its energy
BEST = "best possible"
MEAN_MASK = "mean training mask"
BRIGHTNESS = "brightness"
INPUT = "input"  # in place of a tap, where a map comes from no layer
DRAWN = "as drawn"
WIDENED = "dilated"
MASKS = (DRAWN, WIDENED)
DILATION = 0.05  # of the image's side
AT_ONCE = 32  # images per pass
GRADED = 400  # masked test images
QUICK_GRADED = 120  # in a quick look

Grades = dict[tuple[str, str, str, str], np.ndarray]  # explanation, tap, mask, metric → (n,)


@dataclass(frozen=True)
class Localisation:
    """How well the maps of one network find the masks of N images.

    Attributes:
        images: One row per image: image_id, label, area (the mask's share of the image), answer
            (the class that the network names) and right.
        groups: (N,) patient or family of each image, what intervals resample.
        grades: Index (explanation, tap, mask, metric), one column per image; NaN where it is not
            known or was not computed. The class explained is the true one.
        inside: Index tap, one column per image: share of the evidence for the network's *answer*
            (HiResCAM) that lies inside the mask; NaN where nothing speaks for it.
        seen: Whether the split lets images of the same patients into the training part.
    """

    images: pd.DataFrame
    groups: Groups | np.ndarray
    grades: pd.DataFrame
    inside: pd.DataFrame
    seen: bool


def masked_rows(study: ImagesOfStudy, count: int) -> np.ndarray:
    """Up to ``count`` rows of the test images with a mask, the classes in turn, drawn by the seed.

    A mask of the whole image tells of no place, so it does not count. Of several images of one
    origin (turned, mirrored) only the first drawn is taken: they are no new evidence.
    """
    table = study.image_set.table
    rows = study.sample(len(table))
    rows = rows[study.image_set.has_mask[rows]]
    origin = table.get("origin", pd.Series("", index=table.index))
    name = origin.where(origin != "", table["image_id"]).iloc[rows]
    rows = rows[~name.duplicated().to_numpy()]
    chosen = []
    for row in rows:
        if len(chosen) == count:
            break
        if not study.image_set.masks[row].all():
            chosen.append(row)
    return np.array(chosen, np.int64)


def dilated(masks: np.ndarray, share: float = DILATION) -> np.ndarray:
    """Masks (N, S, S) bool with a margin of a share of the side around them.

    >>> dilated(np.eye(3, dtype=bool)[None], 0.34).astype(int).tolist()
    [[[1, 1, 0], [1, 1, 1], [0, 1, 1]]]
    """
    margin = share * masks.shape[1]
    return np.stack([distance_transform_edt(~mask) <= margin for mask in masks])


def localise(
    study: ImagesOfStudy, kind: str, run: Run, *, count: int = 0, costly: int = 0
) -> Localisation:
    """Grade every layer's maps of one network, computed now or found.

    Beside them stand what a reader must compare with: brightness, edges, the centre, noise, where
    the class's tumours lie in training, and `BEST`: the mask itself, as coarse as the layer's grid.
    That is what a map that drew the tumour would get, and no bound: one cell alone can hold a
    larger share of its energy.

    Args:
        study: Images and settings.
        kind: "teacher", "KD student" or "label-only student".
        run: The network's run.
        count: Images at most, see `masked_rows`; 0 for `GRADED`, in a quick look `QUICK_GRADED`.
        costly: On how many of them integrated gradients, SHAP and occlusion are computed as well.

    Raises:
        UserError: If no test image has a mask.
    """
    most = QUICK_GRADED if is_quick_look(study.settings) else GRADED
    rows = masked_rows(study, count or most)
    if not len(rows):
        raise UserError(
            "no test image has a mask, so no map can be graded by one: take a set with masks "
            "(phantoms, figshare_brain, or brain_tumor with split patients)"
        )
    what = {"maps": "layers", "noise": "of each image"}
    cheap = _kept(study, run, rows, what, partial(_layers, study, kind, run, rows))
    grades = [cheap["grades"]]
    some = rows[:costly]
    methods = [name for name in COSTLY if kind != TEACHER or name != "SHAP deep"]
    for name in methods if costly else []:
        drawn = {"samples": study.settings.shap_samples, "seed": study.settings.seed}
        compute = partial(_costly, study, kind, run, some, name)
        grades.append(_kept(study, run, some, {"maps": name, **drawn}, compute)["grades"])
    table = study.image_set.table.iloc[rows]
    images = table[["image_id", "label"]].reset_index(drop=True)
    classes = np.array(study.image_set.classes, dtype=object)
    images["area"] = study.image_set.masks[rows].mean(axis=(1, 2))
    images["answer"] = classes[cheap["answers"]]
    images["right"] = cheap["answers"] == table["target"].to_numpy()
    return Localisation(
        images=images,
        groups=study.groups(rows),
        grades=pd.concat(grades).reindex(columns=range(len(rows))),
        inside=cheap["inside"],
        seen=not study.are_unseen(rows),
    )


def _kept(
    study: ImagesOfStudy,
    run: Run,
    rows: np.ndarray,
    what: Mapping[str, object],
    compute: Callable[[], dict[str, pd.DataFrame | np.ndarray]],
) -> dict[str, pd.DataFrame | np.ndarray]:
    """What `compute` gives for some rows of a network's run, kept as a run of its own."""

    def make(made: Run) -> None:
        found = compute()
        for name in ("grades", "inside"):
            if name in found:
                found[name].to_csv(made.path(f"{name}.csv"), float_format="%.6g")
        if "answers" in found:
            with atomic_path(made.path("answers.npy")) as path, path.open("wb") as file:
                np.save(file, found["answers"])

    done = get_or_make(
        "localisation",
        {**what, "rows": rows.tolist(), "dilation": DILATION, "ties": "shared"},
        make,
        root=study.settings.runs,
        upstream=[study.image_set.hash, run.id],
    )
    levels = {"grades": [0, 1, 2, 3], "inside": [0]}
    found = {}
    for name, index in levels.items():
        if done.path(f"{name}.csv").is_file():
            table = pd.read_csv(done.path(f"{name}.csv"), index_col=index)
            found[name] = table.set_axis(range(table.shape[1]), axis=1)
    if done.path("answers.npy").is_file():
        found["answers"] = np.load(done.path("answers.npy"))
    return found


def _layers(
    study: ImagesOfStudy, kind: str, run: Run, rows: np.ndarray
) -> dict[str, pd.DataFrame | np.ndarray]:
    """Grades of the maps that cost one pass forward and one back, and of what explains nothing.

    Beside them the network's answers, and the share of their evidence that lies inside.
    """
    model = model_of(study, kind, run)
    grades = []
    inside = []
    answers = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        images = study.images(some)
        targets = study.targets(some)
        masks = _both(study, some)
        logits, pairs = gradients_at_taps(model, images, targets)
        answer = logits.argmax(1).cpu()
        inside.append(_evidence_inside(model, images, answer, masks[DRAWN]))
        answers.append(answer.numpy())
        grades.append(_frame(_layer_grades(pairs, masks)))
    of_layers = pd.concat(grades, axis=1).set_axis(range(len(rows)), axis=1)
    of_nothing = _frame(_baseline_grades(study, model, rows))
    return {
        "grades": pd.concat([of_layers, of_nothing]),
        "inside": pd.concat(inside, axis=1),
        "answers": np.concatenate(answers),
    }


def _layer_grades(
    pairs: Mapping[str, tuple[Tensor, Tensor]], masks: Mapping[str, np.ndarray]
) -> Grades:
    """Grades of every layer's maps, and of the mask itself on each layer's grid."""
    size = masks[DRAWN].shape[-2:]
    grades: Grades = {}
    for tap, (activations, gradients) in pairs.items():
        for name, compute in LAYER_MAPS.items():
            maps = to_size(compute(activations, gradients), size).float().cpu().numpy()
            grades |= _graded(name, tap, maps, masks)
        for mask, values in masks.items():
            coarse = adaptive_avg_pool2d(torch.as_tensor(values).float(), activations.shape[2:])
            maps = to_size(coarse, size).numpy()
            grades |= _graded(BEST, tap, maps, {mask: values})
    return grades


def _baseline_grades(study: ImagesOfStudy, model: nn.Module, rows: np.ndarray) -> Grades:
    """Grades of what knows nothing of the network, on all images at once: each has its own noise.

    The mean mask is that of an image's class.
    """
    images = study.images(rows)
    targets = study.targets(rows)
    masks = _both(study, rows)
    usual = _mean_masks(study)[targets.numpy()]
    grades = _graded(BRIGHTNESS, INPUT, images.mean(dim=1).cpu().numpy(), masks)
    grades |= _graded(MEAN_MASK, INPUT, usual, masks)
    for name, baseline in BASELINES.items():
        grades |= _graded(name, INPUT, baseline(model, images, targets), masks)
    return grades


def _graded(name: str, tap: str, maps: np.ndarray, masks: Mapping[str, np.ndarray]) -> Grades:
    """Every grade of maps (n, S, S) by every mask."""
    grades: Grades = {}
    for mask, values in masks.items():
        for metric, grade in LOCALISATION.items():
            grades[name, tap, mask, metric] = grade(maps, values)
    return grades


def _evidence_inside(
    model: nn.Module, images: Tensor, answer: Tensor, masks: np.ndarray
) -> pd.DataFrame:
    """By tap, one column per image: share of the evidence for the answer that lies inside."""
    _, pairs = gradients_at_taps(model, images, answer)
    shares = {}
    for tap, (activations, gradients) in pairs.items():
        maps = to_size(hirescam(activations, gradients), masks.shape[-2:])
        shares[tap] = energy_in_mask(maps.float().cpu().numpy(), masks)
    return pd.DataFrame(shares).T.rename_axis("tap")


def _costly(
    study: ImagesOfStudy, kind: str, run: Run, rows: np.ndarray, method: str
) -> dict[str, pd.DataFrame]:
    """Grades of one method that asks the network many times; NaN where it is refused."""
    tell(f"localising with {method_name(method)}, the {kind}: {len(rows)} images")
    masks = _both(study, rows)
    context = Context(
        background=study.background,
        samples=study.settings.shap_samples,
        seed=study.settings.seed,
    )
    model = model_of(study, kind, run)
    try:
        maps = explain(method, model, study.images(rows), study.targets(rows), context).maps
    except UserError as refusal:
        tell(str(refusal))
        nothing = np.zeros(masks[DRAWN].shape)
        grades = _graded(method, INPUT, nothing, masks)
        return {"grades": _frame(grades) * np.nan}
    return {"grades": _frame(_graded(method, INPUT, maps, masks))}


def _both(study: ImagesOfStudy, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Masks (n, S, S) bool of some rows, as drawn and with a margin."""
    masks = study.image_set.masks[rows]
    return {DRAWN: masks, WIDENED: dilated(masks)}


def _mean_masks(study: ImagesOfStudy) -> np.ndarray:
    """(K, S, S) float64: the mean mask of each class's training images that have one.

    Of a class without any, the mean over all classes; without any at all, nothing: zeros.
    """
    train = study.image_set.rows("train")
    train = train[study.image_set.has_mask[train]]
    targets = study.image_set.table["target"].to_numpy()[train]
    size = study.image_set.size
    sums = np.zeros((len(study.image_set.classes), size, size))
    for start in range(0, len(train), AT_ONCE):
        block = slice(start, start + AT_ONCE)
        np.add.at(sums, targets[block], study.image_set.masks[train[block]])
    counts = np.bincount(targets, minlength=len(sums))
    means = sums / np.maximum(counts, 1)[:, None, None]
    means[counts == 0] = sums.sum(axis=0) / max(len(train), 1)
    return means


def _frame(grades: Grades) -> pd.DataFrame:
    """The grades as a table with one column per image."""
    names = ["explanation", "tap", "mask", "metric"]
    index = pd.MultiIndex.from_tuples(list(grades), names=names)
    return pd.DataFrame(np.stack(list(grades.values())), index=index)
