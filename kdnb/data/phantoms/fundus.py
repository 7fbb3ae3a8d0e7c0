"""Phantom fundus photographs: normal, cataract, diabetic retinopathy, glaucoma (notebook 01)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

from kdnb.data.phantoms.brush import edge, grid, harder, paint, sample, texture, turn

__all__ = ["draw_fundus"]

# Ranges of uniform draws. Lengths are in half image widths, cups in discs.
EYE = {
    "field": (0.8, 0.88),
    "red": (0.62, 0.82),
    "green": (0.28, 0.42),
    "blue": (0.1, 0.22),
    "x": (0.38, 0.46),
    "y": (-0.08, 0.08),
    "disc": (0.19, 0.23),
    "cup": (0.3, 0.45),
    "haze": (0.5, 0.75),
    "wide_cup": (0.7, 0.85),
    "bend": (0.8, 1.2),
    "vessel": (0.02, 0.03),
    "blur": (0.02, 0.03),
}
EYE_SLICE = {"tilt": (-0.05, 0.05), "x": (-0.02, 0.02), "y": (-0.02, 0.02), "gain": (0.9, 1.1)}
# what the ranges become at difficulty 1: thin haze, little blur, a cup that is hardly wider
HARDEST = {
    "haze": (0.1, 0.3),
    "wide_cup": (0.42, 0.58),
    "blur": (0.004, 0.008),
}


def _spots(
    image: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    anatomy: SimpleNamespace,
    of_patient: np.random.Generator,
    difficulty: float,
) -> np.ndarray:
    """Paint dark haemorrhages and pale exudates beside the optic disc; their mask (S, S) bool.

    The harder, the fewer and the smaller.
    """
    draws = of_patient.uniform((0, 0.15, 0.045), (6.28, 0.65, 0.085), (14, 3))
    angle, reach, radius = draws.T[..., None, None]  # (14, 1, 1) each
    radius = radius * (1 - 0.4 * difficulty)
    dark = 9 - round(6 * difficulty)  # of the first nine
    pale = 5 - round(4 * difficulty)  # of the last five
    x = reach * np.cos(angle)
    y = reach * np.sin(angle)
    off_disc = np.hypot(x - anatomy.x, y - anatomy.y) > anatomy.disc + radius + 0.05
    radius = np.where(off_disc, radius, -1)  # none on the disc
    ragged = 0.02 * texture(of_patient, 24, len(image))
    covers = edge(np.hypot(u - x, v - y) - radius + ragged)  # (14, S, S)
    haemorrhages = covers[:dark].max(axis=0)
    exudates = covers[9 : 9 + pale].max(axis=0)
    paint(image, (0.3, 0.05, 0.04), 0.9 * haemorrhages)
    paint(image, (0.9, 0.8, 0.4), 0.9 * exudates)
    return np.maximum(haemorrhages, exudates) > 0.5


def _drusen(
    image: np.ndarray, u: np.ndarray, v: np.ndarray, rng: np.random.Generator, difficulty: float
) -> None:
    """Paint up to two small pale specks, as any ageing eye may have them, whatever its class."""
    for angle, reach, radius, there in rng.uniform(
        (0, 0.1, 0.02, 0), (6.28, 0.6, 0.035, 1), (2, 4)
    ):
        if there < difficulty:
            distance = np.hypot(u - reach * math.cos(angle), v - reach * math.sin(angle))
            paint(image, (0.9, 0.8, 0.4), 0.8 * edge(distance - radius))


def _vessels(
    image: np.ndarray,
    across: np.ndarray,
    along: np.ndarray,
    anatomy: SimpleNamespace,
    of_patient: np.random.Generator,
) -> None:
    """Paint three arcades that leave the disc downwards, and three upwards."""
    for number in range(6):
        bend = anatomy.bend * (1.5, 0.8, -0.5)[number // 2] + of_patient.uniform(-0.1, 0.1)
        distance = abs(across + bend * along**2) / np.hypot(1, 2 * bend * along)
        width = anatomy.vessel * (1.1 - 0.6 * abs(along))
        cover = edge(distance - width, 0.03) * edge((-1) ** number * along)
        paint(image, image * np.float32([0.62, 0.4, 0.5]), cover)


def draw_fundus(
    name: str, rngs: tuple, index: int, level: float, size: int, difficulty: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph of class `name`, the right eye if `index` is even, else the left.

    Arguments as of `draw_head`; `level` changes nothing.

    Returns:
        Image (S, S, 3) float, 0 black and 1 white, and mask (S, S) bool: hazy field, spots or wide
        cup.
    """
    of_numbers, of_patient, of_slice, of_difficulty = rngs
    anatomy = sample(of_numbers, harder(EYE, HARDEST, difficulty))
    jitter = sample(of_slice, EYE_SLICE)
    x, y = grid(size)
    u, v = turn((-1) ** index * x - jitter.x, y - jitter.y, jitter.tilt)
    shade = 1 - 0.3 * (x**2 + y**2) + 0.04 * texture(of_patient, 8, size)
    colour = np.array([anatomy.red, anatomy.green, anatomy.blue], np.float32)
    image = (jitter.gain * shade)[..., None] * colour
    macula = np.exp(-((u + 0.05) ** 2 + v**2) / 0.03)
    paint(image, 0.7 * image, macula)
    across = u - anatomy.x
    along = v - anatomy.y
    _vessels(image, across, along, anatomy, of_patient)
    distance = np.hypot(across, along / 1.08)  # from the middle of the disc
    cup = edge(distance - anatomy.disc * (anatomy.wide_cup if name == "glaucoma" else anatomy.cup))
    paint(image, (0.92, 0.68, 0.36), edge(distance - anatomy.disc, 0.05))
    paint(image, (1.0, 0.93, 0.72), cup)
    field = edge(np.hypot(x, y) - anatomy.field)
    if difficulty:
        _drusen(image, u, v, of_difficulty, difficulty)
    if name == "glaucoma":
        mask = cup > 0.5
    elif name == "cataract":
        blur = anatomy.blur * size
        image = gaussian_filter(image, (blur, blur, 0))
        paint(image, (0.66, 0.6, 0.5), np.full_like(field, anatomy.haze))
        mask = field > 0.5
    elif name == "diabetic_retinopathy":
        mask = _spots(image, u, v, anatomy, of_patient, difficulty)
    else:
        mask = np.zeros((size, size), bool)
    noise = 0.025 * texture(of_slice, 96, size)
    return image * field[..., None] + noise[..., None], mask
