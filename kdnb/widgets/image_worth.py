"""What an answer about one image is worth: the student's accuracy, and whether it knew the image.

The page of ``kdnb explain`` says it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdnb.core.differences import paired_gain
from kdnb.core.errors import UserError
from kdnb.core.intervals import Difference, Interval, points
from kdnb.core.settings import Settings
from kdnb.core.statistics import share_interval
from kdnb.data.dataset import BASE
from kdnb.data.decode import FULL, decode
from kdnb.data.duplicates import NEAR, correlations, thumbnails
from kdnb.data.study_images import StudyImages
from kdnb.feature_maps.layer_analysis import LayerAnalysis
from kdnb.training.fit import saved_logits

__all__ = ["NOT_CLINICAL", "find_images", "seen_before", "student_worth"]

NOT_CLINICAL = "For study and teaching only: not for clinical use, and no diagnosis."
IN_PART = {
    "train": "the student learned from it, so that this page is no test of anything",
    "val": "it helped to choose the student's weights",
    "test": "the student did not learn from it",
    "unused": "the student did not learn from it",
}


def find_images(analysis: LayerAnalysis, settings: Settings) -> StudyImages | None:
    """The images that the student of an analysis was made with.

    None where they are not at hand, or are other ones by now: some were added, say.
    """
    known = Settings.model_fields.keys() & analysis.facts["settings"].keys()
    values = {name: analysis.facts["settings"][name] for name in known}
    try:
        images = StudyImages(Settings.checked({**values, "runs_dir": settings.runs_dir}))
        same = images.image_set.hash in analysis.run.json("spec.json")["upstream"]
    except UserError:
        return None
    return images if same else None


def student_worth(analysis: LayerAnalysis, images: StudyImages | None) -> str:
    """The student's test accuracy with its interval, beside what memory alone reaches."""
    run = analysis.trained("student")
    if images is None:
        accuracy = run.json("metrics.json")["test_accuracy"]
        return (
            f"On test images this student is right in {accuracy:.3f}. How sure that is, and what "
            "memory alone reaches, is not known here: its data set is not at hand."
        )
    correct = (saved_logits(run).argmax(1) == images.test_targets).astype(float)  # (N,)
    remembered = images.strongest_memory["predictions"] == images.test_targets
    accuracy = share_interval(correct[None], images.test_groups)
    above = paired_gain(correct - remembered, images.test_groups)
    counted = images.certainty.partition(":")[0]
    return _worth_said(accuracy, images.memory_alone, above, counted)


def _worth_said(accuracy: Interval, memory: float, above: Difference, counted: str) -> str:
    """The same in words.

    >>> gain = Difference((0.05, -0.02, 0.12))
    >>> _worth_said(Interval((0.9, 0.8, 0.95)), 0.85, gain, "40 test images")[-66:]
    'It is not shown to be more than memory: +5.0 [-2.0, +12.0] points.'
    """
    said = (
        f"On {counted} this student is right in {accuracy}, and memory alone, the class of the "
        f"most similar training image, in {memory:.3f}."
    )
    side = above.side()
    if side == "unknown":
        return f"{said} They are too few to say more."
    if side == "below":
        return f"{said} It is worse than memory: {points(above)}."
    if side != "above":
        return f"{said} It is not shown to be more than memory: {points(above)}."
    return said


def seen_before(images: StudyImages | None, data: bytes, ranges: Mapping[str, Any]) -> str:
    """Whether an image file is one of the data set's, or has a twin there, in words.

    Args:
        images: Those of the student; None where they are not at hand.
        data: The bytes of the image file.
        ranges: What is black and white in pixels of more than 8 bits.
    """
    if images is None:
        return "Whether the student knew this image is not known: its data set is not at hand."
    table = images.image_set.table
    same = np.flatnonzero(table["sha256"] == hashlib.sha256(data).hexdigest())
    if len(same):
        return _told(table.iloc[_first_learned(table, same)], "This image is in the data set")
    [small], _, _ = decode(data, [BASE], ranges or FULL)
    thumb = thumbnails(small[None])
    alike = correlations(thumb, images.thumbs, flip_invariant=True)[0]  # (N,)
    twins = np.flatnonzero(alike > NEAR)
    if len(twins):
        row = table.iloc[_first_learned(table, twins)]
        return _told(row, "This image has a twin in the data set, mirrored or not")
    learned = np.flatnonzero(table["part"] == "train")
    best = learned[alike[learned].argmax()]
    return (
        f"No image of the data set {images.settings.dataset} is the same, or a near copy "
        f"(correlation above {NEAR}). The most "
        f"similar one that the student learned from correlates {alike[best]:.3f} with it; its "
        f"class is {table['label'].iloc[best]}. On images of another source the answer may be "
        "worth less than said above."
    )


def _first_learned(table: Any, rows: np.ndarray) -> int:
    """Of some rows the one that matters most: a training image, else one of validation."""
    order = {"train": 0, "val": 1}
    return min(rows.tolist(), key=lambda row: order.get(table["part"].iloc[row], 2))


def _told(row: Any, begin: str) -> str:
    return f"{begin}, in the part '{row['part']}' ({row['label']}): {IN_PART[row['part']]}."
