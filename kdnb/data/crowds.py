"""Copies where very many images look alike: joined without a list of every pair (notebook 01).

Frames of a film, slices of a volume and oversampled classes make crowds, in which the pairs that
look the same are as many as the square of the images. Families need only enough of them to be
joined: what is in one family already is not compared again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kdnb.core.progress import track

__all__ = ["Alike", "distinct", "join", "merged"]

BLOCK = 128  # rows compared with all others at a time: bounds the memory
ROUNDING = 1e-5  # of a correlation in float32


class Alike(NamedTuple):
    """One condition of two images being alike: rows (M, D) and others (M, D) correlate above."""

    rows: np.ndarray
    others: np.ndarray
    threshold: float


def distinct(thumbs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each different thumbnail (M,), and which of these each row is (N,).

    >>> distinct(np.float32([[1, 0], [0, 1], [1, 0]]))[1].tolist()
    [0, 1, 0]
    """
    as_bytes = np.ascontiguousarray(thumbs).view(np.dtype((np.void, thumbs[:1].nbytes)))
    _, first, inverse = np.unique(as_bytes.ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse.ravel()]


def merged(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Labels (M,) int from 0 after the components of the pairs (P, 2) of rows became one each.

    >>> merged(np.array([0, 1, 2, 3]), np.array([[0, 2]])).tolist()
    [0, 1, 0, 2]
    """
    if not len(pairs):
        return labels
    start, end = labels[pairs].T
    count = labels.max() + 1
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    return component[labels]


def join(
    conditions: Sequence[Alike],
    basis: np.ndarray,
    labels: np.ndarray,
    title: str,
    *,
    symmetric: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Join rows that meet all conditions, and compare none that are joined already.

    Every pair that would join two components is found. What correlates too little even if all that
    a projection leaves out is alike (Cauchy and Schwarz) is not compared in full.

    Args:
        conditions: The first is looked at in the projection.
        basis: (D, A) orthonormal columns.
        labels: (M,) int from 0, the component of each row so far.
        title: For the progress.
        symmetric: Whether a pair meets the conditions as soon as the turned pair does.

    Returns:
        The labels afterwards, and the pairs (P, 2) of rows that were found, each between two
        components at the time.
    """
    first = conditions[0]
    here, rest_here = _projected(first.rows, basis)
    there, rest_there = _projected(first.others, basis)
    order = np.lexsort((labels, -np.bincount(labels)[labels]))  # the largest component first
    found = [np.empty((0, 2), np.int64)]
    starts = _starts(len(order))
    for start, end in track(list(zip(starts, starts[1:], strict=False)), title):
        if labels.max() == 0:
            break
        block = order[start:end]
        columns = order[start:] if symmetric else order
        own = labels[block]
        if (own == own[0]).all():
            columns = columns[labels[columns] != own[0]]
        most = here[block] @ there[columns].T + rest_here[block, None] * rest_there[columns]
        near = (most > first.threshold - ROUNDING) & (own[:, None] != labels[columns])
        pairs = _verified(conditions, block, columns, near)
        found.append(pairs)
        labels = merged(labels, pairs)
    return labels, np.concatenate(found)


def _projected(rows: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (M, D) in the basis (M, A), and the length of what that leaves out (M,)."""
    inside = rows @ basis
    rest = np.einsum("nd,nd->n", rows, rows) - np.einsum("nd,nd->n", inside, inside)
    return inside, np.sqrt(np.clip(rest, 0, None))


def _verified(
    conditions: Sequence[Alike], block: np.ndarray, columns: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """The pairs (P, 2) of block and columns that are near (B, C) and meet all conditions."""
    of_block = near.any(axis=1)
    of_columns = near.any(axis=0)
    rows = block[of_block]
    others = columns[of_columns]
    hits = near[of_block][:, of_columns]
    for one in conditions:
        if not hits.any():
            return np.empty((0, 2), np.int64)
        hits &= one.rows[rows] @ one.others[others].T > one.threshold
    i, j = hits.nonzero()
    return np.column_stack([rows[i], others[j]])


def _starts(count: int) -> list[int]:
    """Where blocks start and end. The first are small: where all are alike, one joins the rest."""
    starts = [0]
    while starts[-1] < count:
        starts.append(min(count, starts[-1] + min(BLOCK, max(1, starts[-1]))))
    return starts
