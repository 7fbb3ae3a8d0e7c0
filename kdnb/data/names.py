"""Names of classes and folders as people spell them, and which of them are the same (01_data)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

__all__ = ["UNKNOWN_WORDS", "class_key", "clean", "join_spellings", "key"]


UNKNOWN_WORDS = {  # of a patient or fold, in small letters
    "not known",
    "not available",
    "unknown",
    "unk",
    "missing",
    "unbekannt",
    "inconnu",
    "anonymous",
    "anonymised",
    "anonymized",
    "n/a",
    "#n/a",
    "n.a.",
    "na",
    "nan",
    "none",
    "null",
    "nil",
    "k.a.",
    "-",
    "--",
    "?",
    "??",
}


@cache
def key(name: str) -> str:
    """A name without case, spaces and punctuation.

    >>> key("No_Tumor 2")
    'notumor2'
    """
    return re.sub(r"[\W_]+", "", clean(name).casefold())


@cache
def class_key(name: str) -> str:
    """A class's name without case, spaces, "_", and "-" between its words.

    >>> class_key("No Tumor"), class_key("no_tumor"), class_key("HER2-"), class_key("grade -1")
    ('notumor', 'notumor', 'her2-', 'grade-1')
    """
    plain = clean(name).casefold()
    joined = re.sub(r"(?<=[^\W_])(-+[\s_]*|[\s_]+-+[\s_]+)(?=[^\W_])", "", plain)
    return re.sub(r"[\s_]+", "", joined) or name


def clean(name: str) -> str:
    """One spelling for accents, and no byte that UTF-8 cannot write."""
    return unicodedata.normalize("NFC", name).encode("utf-8", "backslashreplace").decode()


def join_spellings(labels: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The most frequent spelling of each class, and notes on what was joined.

    Args:
        labels: One for each image.

    >>> join_spellings(["Benign", "benign", "benign", "No tumor"])[0]
    {'Benign': 'benign', 'benign': 'benign', 'No tumor': 'No tumor'}
    """
    counts = Counter(labels)
    spellings: dict[str, list[str]] = {}
    for label in counts:
        spellings.setdefault(class_key(label), []).append(label)
    chosen = {}
    notes = []
    for same in spellings.values():
        best = min(same, key=lambda label: (-counts[label], label))
        chosen |= dict.fromkeys(same, best)
        others = ", ".join(f"'{label}' ({counts[label]:,})" for label in sorted(same))
        if len(same) > 1:
            notes.append(f"spellings taken as one class, '{best}': {others}")
    return chosen, notes
