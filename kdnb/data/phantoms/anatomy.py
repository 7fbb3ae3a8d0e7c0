"""What the phantoms draw: heads with tumours or dementia, fundus photographs (notebook 01).

The order of the random draws decides the pixels: a draw that moves changes every image. Difficulty
moves the ranges of the draws, not their order, so at 0 nothing changes.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

__all__ = ["draw_fundus", "draw_head", "edge", "grid", "paint"]

# Ranges of uniform draws. Lengths are in half image widths, those named _r in shares of the head's
# radius, angles in radians, cups in discs.
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
# what the ranges become at difficulty 1: small, faint lesions, and scanners that differ
HARDEST = {
    "glioma": (0.05, 0.12),
    "meningioma": (0.05, 0.11),
    "pituitary": (0.045, 0.075),
    "bright": (0.45, 0.65),
    "bias": (0.1, 0.45),
    "noise": (0.03, 0.09),
    "gain": (0.6, 1.4),
    "haze": (0.1, 0.3),
    "wide_cup": (0.42, 0.58),
    "blur": (0.004, 0.008),
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


def _sample(rng: np.random.Generator, ranges: dict[str, tuple[float, float]]) -> SimpleNamespace:
    """One uniform draw per named range, in the order of the dict."""
    return SimpleNamespace(**{name: rng.uniform(low, high) for name, (low, high) in ranges.items()})


def _harder(
    ranges: dict[str, tuple[float, float]], difficulty: float
) -> dict[str, tuple[float, float]]:
    """The ranges on their way to `HARDEST`; at difficulty 0 they are as given."""
    moved = {}
    for name, (low, high) in ranges.items():
        hardest_low, hardest_high = HARDEST.get(name, (low, high))
        moved[name] = (
            low + difficulty * (hardest_low - low),
            high + difficulty * (hardest_high - high),
        )
    return moved


def grid(size: int) -> list[np.ndarray]:
    """Pixel centres x (to the right) and y (downwards) in [-1, 1], each (S, S) float32."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    return list(np.meshgrid(axis, axis))


def _turn(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates in axes that are rotated by `angle` (radians)."""
    cosine = math.cos(angle)
    sine = math.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def edge(distance: np.ndarray, width: float = 0.04) -> np.ndarray:
    """Coverage in [0, 1]: 1 where the signed distance is negative, a ramp around zero."""
    return np.clip(0.5 - distance / width, 0.0, 1.0)


def paint(image: np.ndarray, value: float | tuple | np.ndarray, cover: np.ndarray) -> None:
    """Blend `value` in place into the image, (S, S) or (S, S, 3), by the coverage (S, S)."""
    if image.ndim == 3:
        cover = cover[..., None]
    image += (np.asarray(value, image.dtype) - image) * cover


def _texture(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise (S, S) float32 of mean 0: cells x cells normal draws, alike at any size."""
    field = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))


def _head(
    anatomy: SimpleNamespace,
    of_patient: np.random.Generator,
    of_slice: np.random.Generator,
    level: float,
    size: int,
) -> SimpleNamespace:
    """Healthy head: image and CSF cover (S, S), axes u and v, radius r (1 at the scalp)."""
    jitter = _sample(of_slice, HEAD_SLICE)
    x, y = grid(size)
    width = anatomy.width * (1 - 0.04 * level**2)
    height = min(width * anatomy.aspect, 0.92)
    u, v = _turn(x - anatomy.x - jitter.x, y - anatomy.y - jitter.y, anatomy.tilt + jitter.tilt)
    u = u / width
    v = v / height
    warp = _texture(of_patient, 5, size)
    cortex = _texture(of_patient, 14, size)
    folds = _texture(of_patient, 18, size)
    cortex = cortex + 0.25 * _texture(of_slice, 14, size)
    folds = folds + 0.25 * _texture(of_slice, 18, size)
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
        p, q = _turn(u - side * 0.11, v, -side * anatomy.lobe_tilt)  # part towards the back
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
        distance = distance + 0.28 * (1 - alike) * _texture(of_patient, 9, size)
        value += (1 - alike) * (0.1 * _texture(of_slice, 20, size) - 0.08)
        paint(value, 0.2, (1 - alike) * edge(distance - tumour.core, 0.25))
    elif name == "meningioma" and difficulty:
        border += 0.4 * alike
        distance = distance + 0.28 * alike * _texture(of_patient, 9, size)
    cover = edge(distance - 1, border) * edge(head.r - head.inner)
    paint(head.image, value, cover)
    return cover > 0.3


def _lookalike(
    head: SimpleNamespace, rng: np.random.Generator, level: float, difficulty: float
) -> None:
    """Paint a bright vessel into the head, as often as it is difficult: whatever its class."""
    vessel = _sample(rng, LOOKALIKE)
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
        index: Number of the slice.
        level: Its height in [-1, 1].
        size: Side of the image, px.
        difficulty: In [0, 1]: how far what defines the class fades.

    Returns:
        Image (S, S, 3) float, 0 black and 1 white, and mask (S, S) bool: tumour, or ventricles and
        sulci.
    """
    of_numbers, of_patient, of_slice, of_difficulty = rngs
    anatomy = _sample(of_numbers, _harder(HEAD, difficulty))
    tumour = _sample(of_numbers, _harder(TUMOUR, difficulty))
    if name in GRADES:
        to_middle = 0.6 * difficulty * (1.5 - GRADES[name])  # grades come closer to each other
        anatomy.ventricle *= 0.75 + 0.45 * (GRADES[name] + to_middle)
        anatomy.sulcus = 0.05 + 0.1 * (GRADES[name] + to_middle) + 0.4 * (anatomy.sulcus - 0.1)
    head = _head(anatomy, of_patient, of_slice, level, size)
    noise = anatomy.noise * _texture(of_slice, 96, size)
    if name in GRADES:
        mask = head.csf > 0.5
    elif difficulty:
        _lookalike(head, of_difficulty, level, difficulty)
    if name in TUMOUR:
        grow = 1 - 0.28 * abs(level)
        mask = _tumour(name, head, tumour, grow, of_patient, of_slice, difficulty)
    elif name not in GRADES:
        mask = np.zeros((size, size), bool)
    across, _ = _turn(*grid(size), anatomy.bias_at)
    bias = 1 + anatomy.bias * across
    grey = abs(head.image * bias * (anatomy.gain * head.gain) + noise)
    return np.repeat(grey[..., None], 3, axis=2), mask


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
    ragged = 0.02 * _texture(of_patient, 24, len(image))
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
    anatomy = _sample(of_numbers, _harder(EYE, difficulty))
    jitter = _sample(of_slice, EYE_SLICE)
    x, y = grid(size)
    u, v = _turn((-1) ** index * x - jitter.x, y - jitter.y, jitter.tilt)
    shade = 1 - 0.3 * (x**2 + y**2) + 0.04 * _texture(of_patient, 8, size)
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
    noise = 0.025 * _texture(of_slice, 96, size)
    return image * field[..., None] + noise[..., None], mask
