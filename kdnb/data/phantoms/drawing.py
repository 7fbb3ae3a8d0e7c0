"""From a row of the phantom table to pixels and masks (notebooks 01, 05)."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from kdnb.core.errors import UserError
from kdnb.data.phantoms.brush import edge, grid, paint
from kdnb.data.phantoms.fundus import draw_fundus
from kdnb.data.phantoms.heads import draw_head
from kdnb.data.phantoms.plan import FAMILIES, PhantomPlan, check_number, classes, table

__all__ = ["Phantom", "render", "render_all"]

# colour of the mark of each class
TAGS = ((0.9, 0.6, 0.0), (0.35, 0.7, 0.9), (0.0, 0.6, 0.45), (0.8, 0.45, 0.65))


class Phantom(NamedTuple):
    """A drawn image of side S with the masks of all that lies in it.

    ``mask`` holds what defines the class: tumour, spots, cup, hazy field, or ventricles and sulci
    (in every grade); it is all False for notumor and normal, as are the others in a plan without
    distractors or without a shortcut.
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
    """Image (S, S, 3) float and mask of the row's slice, drawn as if its class were `label`."""
    level = 2 * row["slice"] / (plan.slices - 1) - 1 if plan.slices > 1 else 0.0
    patient = [FAMILIES.index(plan.family), plan.seed, int(row["patient"][1:])]
    of_numbers = np.random.default_rng([0, *patient])
    of_patient = np.random.default_rng([1, *patient])
    of_slice = np.random.default_rng([2, *patient, row["slice"]])
    of_difficulty = np.random.default_rng([4, *patient])
    rngs = (of_numbers, of_patient, of_slice, of_difficulty)
    draw = draw_fundus if plan.family == "fundus" else draw_head
    return draw(label, rngs, row["slice"], level, size, plan.difficulty)


def _blob(plan: PhantomPlan, row: dict, size: int) -> np.ndarray:
    """Cover (S, S) of the distractor, at a random place free of every class's lesion.

    So the place tells nothing about the class.
    """
    radius = 0.1
    x, y = grid(64)
    taken = np.any([_draw(plan, row, label, 64)[1] for label in classes(plan.family)], axis=0)
    taken |= np.maximum(abs(x), abs(y)) > 0.96  # the frame
    taken |= (x < -0.7) & (y > 0.3)  # the mark's corner
    free = np.flatnonzero(distance_transform_edt(~taken) / 32 > radius + 0.06)
    rng = np.random.default_rng([3, plan.seed, int(row["patient"][1:]), row["slice"]])
    place = rng.choice(free)
    across, down = grid(size)
    return edge(np.hypot(across - x.flat[place], down - y.flat[place]) - radius)


def _copy(kind: str, drawn: Phantom, zoom: float) -> Phantom:
    """The planted copy; the kinds "" and "exact" change nothing."""
    if kind == "jpeg":
        file = io.BytesIO()
        Image.fromarray(drawn.image).save(file, "JPEG", quality=95, subsampling=0)
        return drawn._replace(image=np.array(Image.open(file)))
    if kind == "flip":
        return Phantom(*(np.ascontiguousarray(plane[:, ::-1]) for plane in drawn))
    if kind == "rescale":
        return Phantom(*(_rescaled(plane, zoom) for plane in drawn))
    return drawn


def _rescaled(plane: np.ndarray, zoom: float) -> np.ndarray:
    """Rescaled about the middle; Pillow takes the nearest pixel for a bool mask."""
    size = len(plane)
    shift = size / 2 * (1 - zoom)
    transform = (zoom, 0, shift, 0, zoom, shift)
    image = Image.fromarray(plane)
    return np.array(image.transform((size, size), Image.AFFINE, transform, Image.BILINEAR))


def _mark(size: int) -> np.ndarray:
    """Cover (S, S) of the mark: a small square in the lower left corner."""
    x, y = grid(size)
    return edge(np.maximum(abs(x + 0.86), abs(y - 0.86)) - 0.08)


def render(plan: PhantomPlan, image_id: str, size: int) -> Phantom:
    """The image of a row of `table(plan)`; its anatomy is the same at any size.

    Args:
        plan: What to draw.
        image_id: From the plan's table.
        size: Side of the image, 32 to 1024 px.

    Raises:
        UserError: If the plan has no such image, or the size is out of range.
    """
    if image_id not in _rows(plan):
        raise UserError(
            f"phantom image_id {image_id!r} is not in this plan; take one from the plan's table"
        )
    check_number("size", size, 32, 1024)
    row = _rows(plan)[image_id]
    image, mask = _draw(plan, row, row["label"], size)
    distractor = np.zeros((size, size))
    if plan.distractor:
        distractor = _blob(plan, row, size)
        paint(image, 1.0, distractor)
    mark = np.zeros((size, size))
    if row["mark"]:
        mark = _mark(size)
        paint(image, TAGS[classes(plan.family).index(row["mark"])], mark)
    drawn = Phantom(
        image=(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8),
        mask=mask,
        distractor=distractor > 0.5,
        mark=mark > 0.5,
    )
    is_odd = int(row["patient"][1:]) % 2
    return _copy(row["copy_kind"], drawn, zoom=1.02 if is_odd else 0.98)


def render_all(plan: PhantomPlan, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images (N, size, size, 3) uint8 and masks (N, size, size) bool, in the table's order."""
    images = []
    masks = []
    for image_id in _rows(plan):
        drawn = render(plan, image_id, size)
        images.append(drawn.image)
        masks.append(drawn.mask)
    return np.stack(images), np.stack(masks)
