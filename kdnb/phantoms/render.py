"""From a row of the phantom table to pixels and masks, with planted marks and copies (01_data, 05_xai)."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from kdnb.errors import UserError
from kdnb.phantoms.anatomy import draw_fundus, draw_head, edge, grid, paint
from kdnb.phantoms.plan import FAMILIES, PhantomPlan, check, classes, table

__all__ = ["Phantom", "render", "render_all"]

TAGS = (
    (0.9, 0.6, 0.0),
    (0.35, 0.7, 0.9),
    (0.0, 0.6, 0.45),
    (0.8, 0.45, 0.65),
)  # colour of the mark of each class


class Phantom(NamedTuple):
    """A drawn image of side S with the masks of all that lies in it.

    ``mask`` holds what defines the class: tumour, spots, cup, hazy field, or ventricles and sulci (in every grade); it
    is all False for notumor and normal, as are the others in a plan without distractors or without a shortcut.
    """

    image: np.ndarray  # (S, S, 3) uint8
    mask: np.ndarray  # (S, S) bool, like the others
    distractor: np.ndarray
    mark: np.ndarray  # the mark in the corner whose colour names a class


@lru_cache(maxsize=8)
def _rows(plan: PhantomPlan) -> dict[str, dict]:
    """Rows of the table by image_id."""
    return {row["image_id"]: row for row in table(plan).to_dict("records")}


def _draw(plan: PhantomPlan, row: dict, label: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (S, S, 3) float and mask of the row's patient and slice, drawn as if its class were `label`."""
    level = 2 * row["slice"] / (plan.slices - 1) - 1 if plan.slices > 1 else 0.0
    key = FAMILIES.index(plan.family), plan.seed, int(row["patient"][1:])
    rngs = tuple(
        np.random.default_rng(part) for part in ([0, *key], [1, *key], [2, *key, row["slice"]])
    )
    return (draw_fundus if plan.family == "fundus" else draw_head)(
        label, rngs, row["slice"], level, size
    )


def _blob(plan: PhantomPlan, row: dict, size: int) -> np.ndarray:
    """Cover (S, S) of the distractor, uniform over places free of every class's lesion: it tells nothing."""
    radius, (x, y) = 0.1, grid(64)
    taken = np.any([_draw(plan, row, label, 64)[1] for label in classes(plan.family)], axis=0)
    taken |= (np.maximum(abs(x), abs(y)) > 0.96) | (
        (x < -0.7) & (y > 0.3)
    )  # the frame, the mark's corner
    free = np.flatnonzero(distance_transform_edt(~taken) / 32 > radius + 0.06)
    place = np.random.default_rng([3, plan.seed, int(row["patient"][1:]), row["slice"]]).choice(
        free
    )
    return edge(np.hypot(grid(size)[0] - x.flat[place], grid(size)[1] - y.flat[place]) - radius)


def _copy(kind: str, planes: Phantom, zoom: float) -> Phantom:
    """The planted copy; the kinds "" and "exact" change nothing."""
    if kind == "jpeg":
        Image.fromarray(planes.image).save(file := io.BytesIO(), "JPEG", quality=95, subsampling=0)
        return planes._replace(image=np.array(Image.open(file)))
    if kind == "flip":
        return Phantom(*(np.ascontiguousarray(plane[:, ::-1]) for plane in planes))
    if kind == "rescale":  # Pillow takes the nearest pixel for the bool masks
        size, shift = len(planes.image), len(planes.image) / 2 * (1 - zoom)
        how = (size, size), Image.AFFINE, (zoom, 0, shift, 0, zoom, shift), Image.BILINEAR
        return Phantom(*(np.array(Image.fromarray(plane).transform(*how)) for plane in planes))
    return planes


def render(plan: PhantomPlan, image_id: str, size: int) -> Phantom:
    """The image of a row of `table(plan)`, drawn at a size from 32 to 1024 px; its anatomy is the same at any size."""
    if image_id not in _rows(plan):
        raise UserError(
            f"phantom image_id {image_id!r} is not in this plan; take one from the plan's table"
        )
    check("size", size, 32, 1024)
    row = _rows(plan)[image_id]
    image, mask = _draw(plan, row, row["label"], size)
    blob = _blob(plan, row, size) if plan.distractor else np.zeros((size, size))
    paint(image, 1.0, blob)
    tag = np.zeros((size, size))
    if row["mark"]:  # a small tag in the lower left corner
        x, y = grid(size)
        tag = edge(np.maximum(abs(x + 0.86), abs(y - 0.86)) - 0.08)
        paint(image, TAGS[classes(plan.family).index(row["mark"])], tag)
    drawn = Phantom(
        (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), mask, blob > 0.5, tag > 0.5
    )
    return _copy(row["copy_kind"], drawn, zoom=(0.98, 1.02)[int(row["patient"][1:]) % 2])


def render_all(plan: PhantomPlan, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images (N, size, size, 3) uint8 and masks (N, size, size) bool, in the order of the table."""
    drawn = [render(plan, image_id, size)[:2] for image_id in _rows(plan)]
    return tuple(np.stack(planes) for planes in zip(*drawn, strict=True))
