from __future__ import annotations

import pytest

from kdnb.efficiency.claims import check_claims, claims, verdict

ABOUT = {"value": 4.0, "accepted": [3.1, 5.2]}
BELOW = {"value": 0.5, "below": True}


@pytest.mark.parametrize(
    ("claim", "measured", "said"),
    [
        (BELOW, (0.3, 0.3, 0.3), "holds"),
        (BELOW, (0.5, 0.5, 0.5), "does not hold"),
        (BELOW, (0.5, 0.4, 0.6), "undecided"),
        (ABOUT, (4.7, 4.5, 5.0), "holds"),
        (ABOUT, (6.0, 5.3, 7.0), "more than claimed"),
        (ABOUT, (2.0, 1.9, 3.0), "less than claimed"),
        (ABOUT, (5.0, 4.0, 6.0), "undecided"),
        (ABOUT | {"reason": "another machine"}, (4.0, 4.0, 4.0), "not comparable: another machine"),
    ],
)
def test_verdict_follows_from_the_interval(claim, measured, said):
    assert verdict(claim, measured) == said


def test_table_has_every_claim_with_its_source():
    measured = {
        claims()[0]["measure"]: (0.342, 0.342, 0.342),
        claims()[2]["measure"]: (6.0, 5.5, 6.5),
    }
    table = check_claims(measured)
    assert len(table) == len(claims()) and table["source"].ne("").all()
    assert table["verdict"].tolist()[:3] == ["holds", "not measured", "more than claimed"]
    assert table["here"].tolist()[:3] == ["0.342", "", "6 [5.5, 6.5]"]
    assert table["claimed"].tolist()[:3] == ["below 0.5", "below 0.5", "about 4"]


def test_each_claim_can_be_judged():
    assert all({"reason", "below", "accepted"} & set(claim) for claim in claims())
