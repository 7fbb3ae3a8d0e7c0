"""What the phantoms draw (01_data): heads with tumours or grades of dementia, and fundus photographs."""

import math
from types import SimpleNamespace

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

__all__ = ["draw_fundus", "draw_head", "edge", "grid", "paint"]

# lengths in half image widths, names on _r in shares of the head's radius, angles in radians, cups in discs
HEAD = {"width": (0.68, 0.74), "aspect": (1.15, 1.22), "tilt": (-0.08, 0.08), "x": (-0.015, 0.015),
        "y": (-0.015, 0.015), "scalp": (0.5, 0.65), "skull_r": (0.08, 0.13), "grey": (0.34, 0.44),
        "white": (0.5, 0.62), "ventricle": (0.8, 1.2), "lobe_tilt": (0.1, 0.35), "sulcus": (0.1, 0.2),
        "bias": (0.02, 0.2), "bias_at": (0, 6.28), "noise": (0.015, 0.04), "gain": (0.85, 1.15)}  # fmt: skip
HEAD_SLICE = {"tilt": (-0.02, 0.02), "x": (-0.008, 0.008), "y": (-0.008, 0.008), "gain": (0.95, 1.05)}
TUMOUR = {"glioma": (0.22, 0.3), "meningioma": (0.19, 0.25), "pituitary": (0.125, 0.16), "side": (-1, 1),
          "angle": (-1, 0.5), "depth_r": (0.36, 0.5), "core": (0.4, 0.6), "bright": (0.78, 0.95)}  # fmt: skip
GRADES = {"NonDemented": 0, "VeryMildDemented": 1, "MildDemented": 2, "ModerateDemented": 3}
EYE = {"field": (0.8, 0.88), "red": (0.62, 0.82), "green": (0.28, 0.42), "blue": (0.1, 0.22),
       "x": (0.38, 0.46), "y": (-0.08, 0.08), "disc": (0.19, 0.23), "cup": (0.3, 0.45), "haze": (0.5, 0.75),
       "wide_cup": (0.7, 0.85), "bend": (0.8, 1.2), "vessel": (0.02, 0.03), "blur": (0.02, 0.03)}  # fmt: skip
EYE_SLICE = {"tilt": (-0.05, 0.05), "x": (-0.02, 0.02), "y": (-0.02, 0.02), "gain": (0.9, 1.1)}


def _sample(rng: np.random.Generator, ranges: dict[str, tuple[float, float]]) -> SimpleNamespace:
    """One uniform draw per named range, in the order of the dict."""
    return SimpleNamespace(**{name: rng.uniform(*span) for name, span in ranges.items()})


def grid(size: int) -> list[np.ndarray]:
    """Pixel centres x (to the right) and y (downwards) in [-1, 1], each (S, S) float32."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    return list(np.meshgrid(axis, axis))


def _turn(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates in axes that are rotated by `angle` (radians)."""
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)


def edge(distance: np.ndarray, width: float = 0.04) -> np.ndarray:
    """Coverage in [0, 1]: 1 where the signed distance is negative, a ramp of `width` around zero."""
    return np.clip(0.5 - distance / width, 0.0, 1.0)


def paint(image: np.ndarray, value: float | tuple | np.ndarray, cover: np.ndarray) -> None:
    """Blend `value` in place into the image, (S, S) or (S, S, 3), by the coverage (S, S)."""
    image += (np.asarray(value, image.dtype) - image) * (cover if image.ndim == 2 else cover[..., None])


def _texture(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise (S, S) float32 of mean 0: cells x cells normal draws resized, so alike at any size."""
    field = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))


def _head(a: SimpleNamespace, shape, rng, level: float, size: int) -> SimpleNamespace:
    """Healthy head of anatomy `a`: image and CSF cover (S, S), axes u and v, radius r (1 at the scalp)."""
    jitter, (x, y) = _sample(rng, HEAD_SLICE), grid(size)
    width = a.width * (1 - 0.04 * level**2)
    axes = width, min(width * a.aspect, 0.92)
    u, v = _turn(x - a.x - jitter.x, y - a.y - jitter.y, a.tilt + jitter.tilt)
    u, v = u / axes[0], v / axes[1]
    warp, cortex, folds = (_texture(shape, cells, size) for cells in (5, 14, 18))
    cortex, folds = cortex + 0.25 * _texture(rng, 14, size), folds + 0.25 * _texture(rng, 18, size)
    r, inner = np.hypot(u, v) * (1 + 0.015 * warp), 1 - a.skull_r
    inside, image = edge(r - inner), np.zeros((size, size), np.float32)
    paint(image, a.scalp, edge(r - 1))
    paint(image, 0.06, edge(r - 1 + 0.5 * a.skull_r))
    paint(image, a.grey + 0.02 * cortex, inside)
    paint(image, a.white + 0.02 * folds, edge(r - 0.78 * inner + 0.07 * cortex, 0.06))
    sulci = edge(abs(folds) - a.sulcus, 0.12) * edge(0.66 * inner - r, 0.2)
    fissure = edge(abs(u + 0.015 * warp) - 0.012, 0.03) * edge(0.5 - abs(v), 0.2)
    csf, wide = np.maximum(sulci, fissure) * inside, a.ventricle * (1 - 0.2 * level**2)
    for side in (-1, 1):  # basal ganglia, and lateral ventricles that part towards the back
        paint(image, a.grey, 0.7 * edge(np.hypot((u - side * 0.31) / 0.13, (v - 0.06) / 0.22) - 1, 0.4))
        p, q = _turn(u - side * 0.11, v, -side * a.lobe_tilt)
        csf = np.maximum(csf, edge(np.hypot(p / (0.075 * wide), (q + 0.04) / (0.3 * wide**0.5)) - 1, 0.35))
    paint(image, 0.16, 0.8 * csf)
    return SimpleNamespace(image=image, u=u, v=v, r=r, inner=inner, csf=csf, axes=axes, gain=jitter.gain)


def _tumour(name: str, head: SimpleNamespace, t: SimpleNamespace, grow: float, shape, rng) -> np.ndarray:
    """Paint the named tumour, `grow` times its full size, into the head; return its mask (S, S) bool."""
    radius, size = grow * getattr(t, name), len(head.image)
    reach = t.depth_r if name == "glioma" else head.inner - 0.75 * radius / head.axes[0]  # at the skull
    u, v = math.copysign(reach, t.side) * math.cos(t.angle), reach * math.sin(t.angle)
    if name == "pituitary":
        u, v = 0, 0.46
    distance = np.hypot((head.u - u) * head.axes[0], (head.v - v) * head.axes[1]) / radius
    border, value = 0.12, np.full_like(distance, t.bright)
    if name == "glioma":  # infiltrating: ragged outline, wide soft border, dark core in a bright rim
        border, distance = 0.5, distance + 0.28 * _texture(shape, 9, size)
        value += 0.1 * _texture(rng, 20, size) - 0.08
        paint(value, 0.2, edge(distance - t.core, 0.25))
    cover = edge(distance - 1, border) * edge(head.r - head.inner)
    paint(head.image, value, cover)
    return cover > 0.3


def draw_head(name: str, rngs: tuple, index: int, level: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Slice `index` at height `level` in [-1, 1] of a head of class `name`; all else is alike in every class.

    `rngs` are the generators of the patient's numbers, the patient's textures, and the slice.
    Returns image (S, S, 3) float, 0 black and 1 white, and mask (S, S) bool: tumour, or ventricles and sulci.
    """
    anatomy, tumour = _sample(rngs[0], HEAD), _sample(rngs[0], TUMOUR)
    if name in GRADES:
        anatomy.ventricle *= 0.75 + 0.45 * GRADES[name]
        anatomy.sulcus = 0.05 + 0.1 * GRADES[name] + 0.4 * (anatomy.sulcus - 0.1)
    head, noise = _head(anatomy, *rngs[1:], level, size), anatomy.noise * _texture(rngs[2], 96, size)
    mask = head.csf > (0.5 if name in GRADES else np.inf)
    if name in TUMOUR:
        mask = _tumour(name, head, tumour, 1 - 0.28 * abs(level), *rngs[1:])
    bias = 1 + anatomy.bias * _turn(*grid(size), anatomy.bias_at)[0]
    return np.repeat(abs(head.image * bias * (anatomy.gain * head.gain) + noise)[..., None], 3, axis=2), mask


def _spots(image: np.ndarray, u: np.ndarray, v: np.ndarray, a: SimpleNamespace, shape) -> np.ndarray:
    """Paint dark haemorrhages and pale exudates beside the optic disc; return their mask (S, S) bool."""
    angle, reach, radius = shape.uniform((0, 0.15, 0.045), (6.28, 0.65, 0.085), (14, 3)).T[..., None, None]
    x, y = reach * np.cos(angle), reach * np.sin(angle)
    radius = np.where(np.hypot(x - a.x, y - a.y) > a.disc + radius + 0.05, radius, -1)  # none on the disc
    covers = edge(np.hypot(u - x, v - y) - radius + 0.02 * _texture(shape, 24, len(image)))  # (14, S, S)
    paint(image, (0.3, 0.05, 0.04), 0.9 * covers[:9].max(axis=0))
    paint(image, (0.9, 0.8, 0.4), 0.9 * covers[9:].max(axis=0))
    return covers.max(axis=0) > 0.5


def draw_fundus(name: str, rngs: tuple, index: int, level: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Photograph of class `name`, the right eye if `index` is even, else the left; otherwise as `draw_head`.

    Returns image (S, S, 3) float, 0 black and 1 white, and mask (S, S) bool: hazy field, spots or wide cup.
    """
    a, jitter, shape, (x, y) = _sample(rngs[0], EYE), _sample(rngs[2], EYE_SLICE), rngs[1], grid(size)
    u, v = _turn((-1) ** index * x - jitter.x, y - jitter.y, jitter.tilt)
    shade = 1 - 0.3 * (x**2 + y**2) + 0.04 * _texture(shape, 8, size)
    image = (jitter.gain * shade)[..., None] * np.array([a.red, a.green, a.blue], np.float32)
    paint(image, 0.7 * image, np.exp(-((u + 0.05) ** 2 + v**2) / 0.03))  # macula
    across, along = u - a.x, v - a.y
    for number in range(6):  # vessels: three arcades that leave the disc downwards, three upwards
        bend = a.bend * (1.5, 0.8, -0.5)[number // 2] + shape.uniform(-0.1, 0.1)
        curve = abs(across + bend * along**2) / np.hypot(1, 2 * bend * along)
        cover = edge(curve - a.vessel * (1.1 - 0.6 * abs(along)), 0.03) * edge((-1) ** number * along)
        paint(image, image * np.float32([0.62, 0.4, 0.5]), cover)
    distance = np.hypot(across, along / 1.08)
    field = edge(np.hypot(x, y) - a.field)
    wide = name == "glaucoma"
    cup = edge(distance - a.disc * (a.wide_cup if wide else a.cup))
    paint(image, (0.92, 0.68, 0.36), edge(distance - a.disc, 0.05))
    paint(image, (1.0, 0.93, 0.72), cup)
    mask = cup > (0.5 if wide else np.inf)
    if name == "cataract":
        image, mask = gaussian_filter(image, (a.blur * size, a.blur * size, 0)), field > 0.5
        paint(image, (0.66, 0.6, 0.5), np.full_like(field, a.haze))
    if name == "diabetic_retinopathy":
        mask = _spots(image, u, v, a, shape)
    return image * field[..., None] + 0.025 * _texture(rngs[2], 96, size)[..., None], mask
