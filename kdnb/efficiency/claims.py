"""The paper's claims about cost beside what is measured here; verdicts are computed (06)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from kdnb.core.intervals import Interval
from kdnb.core.settings import project_root
from kdnb.core.tables import read_table

__all__ = ["check_claims", "claims", "published_claim", "verdict"]

# value, and its 95 % interval; three times the same where it is counted
Measured = tuple[float, float, float]


def claims() -> list[dict[str, Any]]:
    """The entries of claims.toml; the file explains their fields."""
    text = files("kdnb.efficiency").joinpath("claims.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["claim"]


def verdict(claim: Mapping[str, Any], measured: Measured) -> str:
    """What the measured interval says about a claim; across its border it says nothing.

    >>> verdict({"value": 0.5, "below": True}, (0.34, 0.34, 0.34))
    'holds'
    >>> verdict({"value": 4.0, "accepted": [3.1, 5.2]}, (5.3, 5.0, 5.6))
    'undecided'
    """
    _, low, high = measured
    if "reason" in claim:
        return f"not comparable: {claim['reason']}"
    if "below" in claim:
        if high < claim["value"]:
            return "holds"
        return "does not hold" if low >= claim["value"] else "undecided"
    least, most = claim["accepted"]
    if least <= low and high <= most:
        return "holds"
    if low > most:
        return "more than claimed"
    if high < least:
        return "less than claimed"
    return "undecided"


def check_claims(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """One row per claim: text, source, the number claimed, the number measured here, the verdict.

    ``measured`` is the claim's ``measure`` → value and 95 % interval; what is missing gets "not
    measured".
    """
    rows = []
    for claim in claims():
        found = measured.get(claim["measure"])
        relation = "below" if "below" in claim else "about"
        row = {
            "claim": claim["text"],
            "source": claim["source"],
            "claimed": f"{relation} {claim['value']:g}",
            "measure": claim["measure"],
            "here": "" if found is None else _written(found),
            "verdict": "not measured" if found is None else verdict(claim, found),
        }
        rows.append(row)
    return pd.DataFrame(rows).set_index("claim")


def _written(measured: Measured) -> str:
    value, low, high = measured
    return f"{value:.3g}" if low == high else f"{Interval(measured):.3g}"


def published_claim(measure: str) -> str:
    """What ``figures/results`` says of one claim, at the paper's image size where it was measured.

    Args:
        measure: Of the claim, as claims.toml names it.
    """
    path = project_root() / "figures" / "results" / "claims.csv"
    rows = read_table(path).query("measure == @measure") if path.is_file() else pd.DataFrame()
    if rows.empty:
        return f"nothing is published of: {measure}"
    row = rows.loc[rows["size_px"].idxmax()]
    return f"published, at {row['size_px']} px: {measure} {row['here']}, {row['verdict']}"
