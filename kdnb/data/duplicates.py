"""Copies in a data set: near duplicates, mirrored and rescaled copies, families (notebook 01).

What is compared are `thumbnails`, grey and of 64 px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from sklearn.utils.extmath import randomized_svd

from kdnb.core.progress import track
from kdnb.data.crowds import Alike, distinct, join

__all__ = [
    "NEAR",
    "closest",
    "components",
    "correlations",
    "find_copies",
    "find_families",
    "is_crowded",
    "near_duplicates",
    "pair_correlation",
    "thumbnails",
]

NEAR = 0.999  # correlation of near duplicates
DETAIL = 0.991  # of the detail of rescaled copies
WHOLE = 0.995  # of the whole of rescaled copies
SAMPLE = 500  # images that stand for a set
CROWD_AXES = 256  # principal components in which crowds are compared
CROWD = 100  # images that look like one, on average: more are joined as crowds
ROWS = 512  # rows compared with all others at a time
ZOOMS = ((0.98, 1), (1.02, 1), (0.98, 3))  # and the order of the interpolation
VIEWS = 2 * (1 + len(ZOOMS))  # each also mirrored
BLOCK = 128  # pairs whose thumbnails are gathered at a time: they fit into the cache of a processor


def thumbnails(pixels: np.ndarray, side: int = 64) -> np.ndarray:
    """Grey thumbnails of pixels (N, S, S, 3) uint8: their dot product is Pearson's correlation.

    Grey by Rec. 601, resized with Pillow's bicubic filter to `side` px. (N, side * side) float32,
    each row of zero mean and unit norm; all 0 for an image of one grey.

    >>> thumbnails(np.zeros((2, 64, 64, 3), np.uint8), side=32).shape
    (2, 1024)
    """
    grey = np.empty((len(pixels), side * side), np.float32)
    for row, image in zip(grey, pixels, strict=True):
        small = Image.fromarray(image).convert("L").resize((side, side), Image.Resampling.BICUBIC)
        row[:] = np.asarray(small).ravel()
    return _standardise(grey)


def correlations(thumbs: np.ndarray, others: np.ndarray, flip_invariant: bool) -> np.ndarray:
    """(A, B) correlation of `thumbnails` (A, D) with others (B, D).

    With flip_invariant, the highest over the four mirror images of A.
    """
    image = _square(thumbs)
    views = [image]
    if flip_invariant:
        views += [image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1]]
    return np.max([view.reshape(thumbs.shape) @ others.T for view in views], axis=0)


def pair_correlation(rows: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(M,) dot products of rows[i] and others[j]."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK):
        i, j = pairs[start : start + BLOCK].T
        found[start : start + BLOCK] = np.einsum("nd,nd->n", rows[i], others[j])
    return found


def near_duplicates(
    thumbs: np.ndarray, threshold: float = NEAR, flip_invariant: bool = False
) -> np.ndarray:
    """Every pair of `thumbnails` (N, D) whose correlation exceeds the threshold.

    At side 64, 0.999 finds re-encoded and resized copies, not neighbouring slices. The search is
    exact. With flip_invariant, one of the two may be mirrored left-right.

    Returns:
        (M, 2) int64 rows i < j, ascending.
    """
    close = _finder(thumbs)
    found = [close(thumbs, threshold)]
    if flip_invariant:
        found.append(close(_mirror(thumbs), threshold))
    return _ordered(np.concatenate(found))


def closest(
    thumbs: np.ndarray, in_a: np.ndarray, in_b: np.ndarray, threshold: float = NEAR
) -> pd.DataFrame:
    """Near duplicates between two parts of a set, without a list of every pair.

    Args:
        thumbs: `thumbnails` (N, D).
        in_a: (N,) bool, the first part.
        in_b: (N,) bool, the second.
        threshold: Of the correlation.

    Returns:
        Columns b (a row of the second part that has any), a (the row of the first that is most
        like it) and count (how many there are).
    """
    first = np.flatnonzero(in_a)
    second = np.flatnonzero(in_b)
    found = [pd.DataFrame({"b": [], "a": [], "count": []}, dtype=np.int64)]
    for start in track(range(0, len(second) if len(first) else 0, ROWS), "comparing parts"):
        block = second[start : start + ROWS]
        alike = thumbs[block] @ thumbs[first].T
        count = (alike > threshold).sum(axis=1)
        rows = {"b": block, "a": first[alike.argmax(axis=1)], "count": count}
        found.append(pd.DataFrame(rows)[count > 0])
    return pd.concat(found, ignore_index=True)


def find_copies(thumbs: np.ndarray, detail: float = DETAIL, whole: float = WHOLE) -> np.ndarray:
    """Near duplicates that may also be mirrored left-right, rescaled by 2 % or re-encoded.

    Both the `thumbnails`, of side 64, and their detail between 0.85 and 1.5 px (a difference of
    Gaussians) must correlate above a threshold: detail tells neighbouring slices apart, the whole
    tells smooth images apart (but not all of those without any structure, such as hazy fundus
    images).

    Returns:
        (M, 2) int64 rows i < j, ascending.
    """
    close = _finder(_detail(thumbs))
    found = []
    for view, view_detail in track(_views(thumbs), "searching copies", VIEWS):
        pairs = close(view_detail, detail)
        found.append(pairs[pair_correlation(thumbs, view, pairs) > whole])
    return _ordered(np.concatenate(found))


def _views(thumbs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All images as they may have been rescaled and mirrored, and their detail.

    The first two are of no other size.
    """
    for variant in _rescaled(thumbs):
        fine = _detail(variant)
        yield variant, fine
        yield _mirror(variant), _mirror(fine)


def find_families(manifest: pd.DataFrame, thumbs: np.ndarray) -> tuple[pd.Series, list[str]]:
    """Family id per row: components over same bytes, same given family and what looks the same.

    Images look the same if they are near duplicates, mirrored or not, or rescaled `find_copies`.
    The latter are believed only where the set itself does not speak against them: if more than 1
    in 20 pairs (and more than one) join two classes or two known patients, as among hazy fundus
    images, none is used, and a note says so. Pairs of the same bytes say nothing of that. Where
    images look like more than ``CROWD`` others on average, the same is found without a list of
    every pair, and those pairs are counted that join something.

    Returns:
        The families, on the manifest's index, and notes.
    """
    if is_crowded(thumbs):
        pairs, notes = _crowd_pairs(manifest, thumbs)
    else:
        believed, notes = _believed(find_copies(thumbs), manifest)
        pairs = np.concatenate([near_duplicates(thumbs, flip_invariant=True), believed])
    return components(manifest, ["family", "sha256"], pairs), notes


def _believed(rescaled: np.ndarray, manifest: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Of the pairs (M, 2) of rescaled copies those to join, and a note where there are none."""
    known = manifest.reindex(columns=["label", "patient"], fill_value="").to_numpy(object)
    if "sha256" in manifest:  # pairs of the same bytes are joined in any case
        content = manifest["sha256"].to_numpy(object)
        rescaled = rescaled[content[rescaled[:, 0]] != content[rescaled[:, 1]]]
    a = known[rescaled[:, 0]]  # (M, 2): class and patient
    b = known[rescaled[:, 1]]
    wrong = ((a != b) & (a != "") & (b != "")).any(axis=1)
    if wrong.sum() <= max(len(rescaled) / 20, 1):
        return rescaled[~wrong], []
    note = (
        f"rescaled copies are not joined: {wrong.sum()} of {len(rescaled)} pairs are of two "
        "classes or patients"
    )
    return rescaled[:0], [note]


def is_crowded(thumbs: np.ndarray) -> bool:
    """Whether a sample of images has more than ``CROWD`` candidates of copies on average."""
    for rows, threshold in ((thumbs, NEAR), (_detail(thumbs), DETAIL)):
        basis = _basis(rows)
        live = rows[rows.any(axis=1)] @ basis
        sample = live[np.linspace(0, len(live) - 1, min(len(live), SAMPLE)).astype(int)]
        counts = KDTree(live).query_ball_point(sample, _radius(threshold), return_length=True)
        if len(counts) and counts.mean() > CROWD:
            return True
    return False


def _crowd_pairs(manifest: pd.DataFrame, thumbs: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Pairs (M, 2) that join the families of a crowded set, and notes."""
    first, place = distinct(thumbs)
    own = thumbs[first]
    basis = _basis(own, CROWD_AXES)
    labels = np.arange(len(own))
    same = np.column_stack([first[place], np.arange(len(thumbs))])
    near = [same[thumbs.any(axis=1)]]  # images of one grey are like nothing
    for view in (own, _mirror(own)):
        labels, pairs = join(
            [Alike(own, view, NEAR)], basis, labels, "comparing crowds", symmetric=True
        )
        near.append(first[pairs])
    fine = _detail(own)
    basis = _basis(fine, CROWD_AXES)
    rescaled = [np.empty((0, 2), np.int64)]
    for number, (view, view_detail) in enumerate(_views(own)):
        if labels.max() == 0:  # all is one family
            break
        conditions = [Alike(fine, view_detail, DETAIL), Alike(own, view, WHOLE)]
        labels, pairs = join(
            conditions, basis, labels, "comparing rescaled crowds", symmetric=number < 2
        )
        rescaled.append(first[pairs])
    believed, notes = _believed(_ordered(np.concatenate(rescaled)), manifest)
    return np.concatenate([*near, believed]), notes


def components(
    manifest: pd.DataFrame, columns: Sequence[str], pairs: np.ndarray | None = None
) -> pd.Series:
    """Connected components of rows that share a known value in a column, or are joined by a pair.

    Args:
        manifest: table with ``image_id``; columns that it lacks are passed over.
        columns: values are compared within a column, never between two; "" is unknown.
        pairs: (M, 2) positions of rows that belong together.

    Returns:
        Series of str on the manifest's index: the lowest image id of the row's component.

    >>> table = pd.DataFrame({"image_id": list("abcd"), "patient": ["1", "", "1", ""]})
    >>> table["family"] = ["", "f", "f", ""]
    >>> components(table, ["patient", "family"]).tolist()
    ['a', 'a', 'a', 'd']
    """
    links = [np.empty((0, 2), np.int64) if pairs is None else pairs]
    for column in columns:
        if column not in manifest:
            continue
        code, _ = pd.factorize(manifest[column].mask(manifest[column] == ""))
        known = np.flatnonzero(code >= 0)
        _, first = np.unique(code[known], return_index=True)
        links.append(np.column_stack([known, known[first][code[known]]]))
    start, end = np.concatenate(links).T
    size = len(manifest)
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return manifest["image_id"].groupby(component).transform("min")


def _ordered(pairs: np.ndarray) -> np.ndarray:
    """Every pair (M, 2) once, its smaller row first, ascending."""
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _standardise(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) of zero mean and unit norm; all 0 where there is no variation."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 1e-6)


def _side(thumbs: np.ndarray) -> int:
    return round(thumbs.shape[1] ** 0.5)


def _square(thumbs: np.ndarray) -> np.ndarray:
    """Thumbnails (N, D) as images (N, side, side)."""
    return thumbs.reshape(len(thumbs), _side(thumbs), -1)


def _mirror(thumbs: np.ndarray) -> np.ndarray:
    return _square(thumbs)[:, :, ::-1].reshape(thumbs.shape)


def _detail(thumbs: np.ndarray) -> np.ndarray:
    """Difference of Gaussians of 0.85 and 1.5 px, standardised: (N, D)."""
    eye = np.eye(_side(thumbs), dtype=np.float32)
    fine = gaussian_filter1d(eye, 0.85, axis=0)  # filters as matrices: six times faster
    coarse = gaussian_filter1d(eye, 1.5, axis=0)
    images = _square(thumbs)
    difference = fine @ images @ fine.T - coarse @ images @ coarse.T
    return _standardise(difference.reshape(thumbs.shape))


def _rescaled(thumbs: np.ndarray) -> Iterator[np.ndarray]:
    """All images, plain and at the zooms that undo or repeat a rescaling by 2 %."""
    side = _side(thumbs)
    yield thumbs
    for zoom, order in ZOOMS:
        scale = affine_transform(
            np.eye(side, dtype=np.float32),
            matrix=[zoom, 1],
            offset=[(1 - zoom) * (side - 1) / 2, 0],
            order=order,
            mode="nearest",
        )
        yield _standardise((scale @ _square(thumbs) @ scale.T).reshape(thumbs.shape))


def _finder(rows: np.ndarray) -> Callable[[np.ndarray, float], np.ndarray]:
    """A search for the pairs (i in rows, j in others), i != j, of a correlation above a threshold.

    Rows of zeros are left out. A projection to principal components never lengthens a distance: the
    radius search there misses nothing.
    """
    basis = _basis(rows)

    def indexed(some: np.ndarray) -> tuple[np.ndarray, KDTree]:
        live = np.flatnonzero(some.any(axis=1))
        return live, KDTree((some @ basis)[live])

    live, tree = indexed(rows)

    def close(others: np.ndarray, threshold: float) -> np.ndarray:
        other_live, other_tree = indexed(others)
        near = tree.sparse_distance_matrix(other_tree, _radius(threshold), output_type="ndarray")
        pairs = np.column_stack([live[near["i"]], other_live[near["j"]]])
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        return pairs[pair_correlation(rows, others, pairs) > threshold]

    return close


def _basis(rows: np.ndarray, axes: int = 24) -> np.ndarray:
    """(D, axes) the principal components of rows (N, D): orthonormal columns."""
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(int)]
    _, _, directions = randomized_svd(sample - sample.mean(axis=0), axes, random_state=0)
    return directions.T


def _radius(threshold: float) -> float:
    """Distance of two rows of unit norm that correlate at a threshold; a margin for rounding."""
    return (2 * (1 - threshold)) ** 0.5 + 1e-4
