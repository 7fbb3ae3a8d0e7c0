"""The split of a data set where none is named, and why (every notebook)."""

from __future__ import annotations

from kdnb.core.settings import Settings
from kdnb.data.registry import at_hand, registered

__all__ = ["resolve_split", "split_note"]

ELSEWHERE = "grouped"  # the default of every set for which the registry names no other


def resolve_split(settings: Settings) -> Settings:
    """The settings with a split that has a name: their own, or the default of their data set.

    The default is ``grouped``; for a set that tells its publisher's folds, or comes from one that
    does and is at hand, it is ``patients``. With ``sizes_of`` it is ``grouped``, which may have
    another split's sizes.
    """
    if settings.split:
        return settings
    split = ELSEWHERE if settings.sizes_of else _default(settings.dataset)
    return settings.model_copy(update={"split": split})


def split_note(settings: Settings) -> list[str]:
    """One line that says why this is the default split, for a set with a default of its own.

    Args:
        settings: With a split that has a name; of any other than the default nothing is said.
    """
    entry = registered().get(settings.dataset, {})
    if "split" not in entry or settings.split != _default(settings.dataset):
        return []
    split = f"split '{settings.split}', the default here"
    if settings.split == ELSEWHERE:
        return [f"{split} as long as nothing tells which images are of one patient"]
    teller = f"'{entry['origins']}'" if "origins" in entry else "the publisher"
    return [f"{split}: {teller} tells folds that keep patients apart"]


def _default(dataset: str) -> str:
    """What the registry names for a set, if what the split needs is there; else `ELSEWHERE`."""
    entry = registered().get(dataset, {})
    if "origins" in entry and not at_hand(entry["origins"]):
        return ELSEWHERE
    return entry.get("split", ELSEWHERE)
