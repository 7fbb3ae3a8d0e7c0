"""Phantom heads: healthy, with tumours, or in four grades of dementia (notebook 01)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from kdnb.data.phantoms.brush import edge, grid, harder, paint, sample, texture, turn

__all__ = ["draw_head"]

# Ranges of uniform draws. Lengths are in half image widths, those named _r in shares of the head's
# radius, angles in radians.
HEAD = {
    "width": (0.68, 0.74),
    "aspect": (1.15, 1.22),
    "tilt": (-0.08, 0.08),
    "x": (-0.015, 0.015),
    "y": (-0.015, 0.015),
    "scalp": (0.5, 0.65),
    "skull_r": (0.08, 0.13),
    "grey": (0.34, 0.44),
    "white": (0.5, 0.62),
    "ventricle": (0.8, 1.2),
    "lobe_tilt": (0.1, 0.35),
    "sulcus": (0.1, 0.2),
    "bias": (0.02, 0.2),
    "bias_at": (0, 6.28),
    "noise": (0.015, 0.04),
    "gain": (0.85, 1.15),
}
HEAD_SLICE = {
    "tilt": (-0.02, 0.02),
    "x": (-0.008, 0.008),
    "y": (-0.008, 0.008),
    "gain": (0.95, 1.05),
}
TUMOUR = {
    "glioma": (0.22, 0.3),
    "meningioma": (0.19, 0.25),
    "pituitary": (0.125, 0.16),
    "side": (-1, 1),
    "angle": (-1, 0.5),
    "depth_r": (0.36, 0.5),
    "core": (0.4, 0.6),
    "bright": (0.78, 0.95),
}
# what the ranges become at difficulty 1: small, faint tumours, and scanners that differ
HARDEST = {
    "glioma": (0.05, 0.12),
    "meningioma": (0.05, 0.11),
    "pituitary": (0.045, 0.075),
    "bright": (0.45, 0.65),
    "bias": (0.1, 0.45),
    "noise": (0.03, 0.09),
    "gain": (0.6, 1.4),
}
LOOKALIKE = {  # a vessel, seen end on: bright, round, and no tumour
    "there": (0, 1),
    "angle": (0, 6.28),
    "reach": (0.1, 0.75),
    "radius": (0.03, 0.06),
    "bright": (0.6, 0.9),
}
GRADES = {
    "NonDemented": 0,
    "VeryMildDemented": 1,
    "MildDemented": 2,
    "ModerateDemented": 3,
}


def _head(
    anatomy: SimpleNamespace,
    of_patient: np.random.Generator,
    of_slice: np.random.Generator,
    level: float,
    size: int,
) -> SimpleNamespace:
    """Healthy head: image and CSF cover (S, S), axes u and v, radius r (1 at the scalp)."""
    jitter = sample(of_slice, HEAD_SLICE)
    x, y = grid(size)
    width = anatomy.width * (1 - 0.04 * level**2)
    height = min(width * anatomy.aspect, 0.92)
    u, v = turn(x - anatomy.x - jitter.x, y - anatomy.y - jitter.y, anatomy.tilt + jitter.tilt)
    u = u / width
    v = v / height
    warp = texture(of_patient, 5, size)
    cortex = texture(of_patient, 14, size)
    folds = texture(of_patient, 18, size)
    cortex = cortex + 0.25 * texture(of_slice, 14, size)
    folds = folds + 0.25 * texture(of_slice, 18, size)
    r = np.hypot(u, v) * (1 + 0.015 * warp)
    inner = 1 - anatomy.skull_r
    inside = edge(r - inner)

    image = np.zeros((size, size), np.float32)
    paint(image, anatomy.scalp, edge(r - 1))
    paint(image, 0.06, edge(r - 1 + 0.5 * anatomy.skull_r))
    paint(image, anatomy.grey + 0.02 * cortex, inside)
    paint(image, anatomy.white + 0.02 * folds, edge(r - 0.78 * inner + 0.07 * cortex, 0.06))

    sulci = edge(abs(folds) - anatomy.sulcus, 0.12) * edge(0.66 * inner - r, 0.2)
    fissure = edge(abs(u + 0.015 * warp) - 0.012, 0.03) * edge(0.5 - abs(v), 0.2)
    csf = np.maximum(sulci, fissure) * inside
    wide = anatomy.ventricle * (1 - 0.2 * level**2)
    for side in (-1, 1):
        ganglia = np.hypot((u - side * 0.31) / 0.13, (v - 0.06) / 0.22) - 1
        paint(image, anatomy.grey, 0.7 * edge(ganglia, 0.4))
        p, q = turn(u - side * 0.11, v, -side * anatomy.lobe_tilt)  # part towards the back
        ventricle = np.hypot(p / (0.075 * wide), (q + 0.04) / (0.3 * wide**0.5)) - 1
        csf = np.maximum(csf, edge(ventricle, 0.35))
    paint(image, 0.16, 0.8 * csf)
    return SimpleNamespace(
        image=image, u=u, v=v, r=r, inner=inner, csf=csf, axes=(width, height), gain=jitter.gain
    )


def _tumour(
    name: str,
    head: SimpleNamespace,
    tumour: SimpleNamespace,
    grow: float,
    of_patient: np.random.Generator,
    of_slice: np.random.Generator,
    difficulty: float,
) -> np.ndarray:
    """Paint the tumour, `grow` times its full size, into the head; return its mask (S, S) bool.

    The harder, the more gliomas and meningiomas look alike.
    """
    size = len(head.image)
    width, height = head.axes
    radius = grow * getattr(tumour, name)
    if name == "pituitary":
        u = 0
        v = 0.46
    else:
        reach = tumour.depth_r if name == "glioma" else head.inner - 0.75 * radius / width
        u = math.copysign(reach, tumour.side) * math.cos(tumour.angle)
        v = reach * math.sin(tumour.angle)
    distance = np.hypot((head.u - u) * width, (head.v - v) * height) / radius
    value = np.full_like(distance, tumour.bright)
    border = 0.12
    alike = 0.5 * difficulty
    if name == "glioma":  # infiltrating: ragged outline, soft border, dark core in a bright rim
        border = 0.5 - 0.2 * alike
        distance = distance + 0.28 * (1 - alike) * texture(of_patient, 9, size)
        value += (1 - alike) * (0.1 * texture(of_slice, 20, size) - 0.08)
        paint(value, 0.2, (1 - alike) * edge(distance - tumour.core, 0.25))
    elif name == "meningioma" and difficulty:
        border += 0.4 * alike
        distance = distance + 0.28 * alike * texture(of_patient, 9, size)
    cover = edge(distance - 1, border) * edge(head.r - head.inner)
    paint(head.image, value, cover)
    return cover > 0.3


def _lookalike(
    head: SimpleNamespace, rng: np.random.Generator, level: float, difficulty: float
) -> None:
    """Paint a bright vessel into the head, as often as it is difficult: whatever its class."""
    vessel = sample(rng, LOOKALIKE)
    if vessel.there >= difficulty:
        return
    width, height = head.axes
    u = vessel.reach * math.cos(vessel.angle + 0.2 * level)
    v = vessel.reach * math.sin(vessel.angle + 0.2 * level)
    distance = np.hypot((head.u - u) * width, (head.v - v) * height)
    inside = edge(head.r - head.inner)
    paint(head.image, vessel.bright, edge(distance - vessel.radius) * inside)


def draw_head(
    name: str, rngs: tuple, index: int, level: float, size: int, difficulty: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Slice `index` of a head of class `name`; what does not define the class is alike in all.

    Args:
        name: A kind of tumour, a grade of dementia, or any other name for a healthy head.
        rngs: Generators of the patient's numbers, the patient's textures, the slice, and of what
            only difficult images have.
        index: Number of the slice; it changes nothing, all phantoms take it.
        level: Its height in [-1, 1].
        size: Side of the image, px.
        difficulty: In [0, 1]: how far what defines the class fades.

    Returns:
        Image (S, S, 3) float, 0 black and 1 white, and mask (S, S) bool: tumour, or ventricles and
        sulci.
    """
    of_numbers, of_patient, of_slice, of_difficulty = rngs
    anatomy = sample(of_numbers, harder(HEAD, HARDEST, difficulty))
    tumour = sample(of_numbers, harder(TUMOUR, HARDEST, difficulty))
    if name in GRADES:
        to_middle = 0.6 * difficulty * (1.5 - GRADES[name])  # grades come closer to each other
        anatomy.ventricle *= 0.75 + 0.45 * (GRADES[name] + to_middle)
        anatomy.sulcus = 0.05 + 0.1 * (GRADES[name] + to_middle) + 0.4 * (anatomy.sulcus - 0.1)
    head = _head(anatomy, of_patient, of_slice, level, size)
    noise = anatomy.noise * texture(of_slice, 96, size)
    if name in GRADES:
        mask = head.csf > 0.5
    elif difficulty:
        _lookalike(head, of_difficulty, level, difficulty)
    if name in TUMOUR:
        grow = 1 - 0.28 * abs(level)
        mask = _tumour(name, head, tumour, grow, of_patient, of_slice, difficulty)
    elif name not in GRADES:
        mask = np.zeros((size, size), bool)
    across, _ = turn(*grid(size), anatomy.bias_at)
    bias = 1 + anatomy.bias * across
    grey = abs(head.image * bias * (anatomy.gain * head.gain) + noise)
    return np.repeat(grey[..., None], 3, axis=2), mask
