"""The words and pictures of notebook 05 on made-up numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from kdnb.xai.answer import (
    cheat_sentence,
    faithfulness_sentence,
    published_verdicts,
    reasons_sentence,
    score_overview,
    verdict_sentence,
    verdicts_to_show,
)
from kdnb.xai.plots import verdict_grid
from kdnb.xai.shortcuts import TrapMaps
from kdnb.xai.trap_plots import trap_grid
from kdnb.xai.verdicts import TESTS


def verdicts(**rows):
    keys = [("KD student", name.replace("_", " ")) for name in rows]
    index = pd.MultiIndex.from_tuples(keys, names=["model", "explanation"])
    return pd.DataFrame(list(rows.values()), index=index, columns=list(TESTS), dtype=float)


PASSED = verdicts(occlusion=[1, 1, 1, 1, 0], centre=[1, 1, 1, 1, 1], SHAP_deep=[0, 1, 1, 1, 0])
NOTHING = PASSED * np.nan


def test_the_explanation_that_passes_most_is_named_and_no_baseline():
    said = verdict_sentence(PASSED)
    assert said.startswith("Of 2 explanations of the KD student, occlusion passes most: 4 of 5")
    assert said.endswith("None passes “stable”.")
    both = verdict_sentence(verdicts(occlusion=[1] * 5, SHAP_deep=[1] * 5))
    assert "occlusion and Deep SHAP pass most: all 5 tests." in both
    none = verdict_sentence(verdicts(occlusion=[0] * 5))
    pair = verdicts(**{"class evidence, middle": [1] * 5, "HiResCAM, middle": [1] * 5})
    assert "positive part" in verdict_sentence(pair) and "positive part" not in both
    assert none.startswith("No explanation") and "cannot tell" in verdict_sentence(NOTHING)


def test_where_nothing_is_known_the_published_verdicts_are_shown():
    own = verdicts_to_show(PASSED)
    assert own.own and "centre" not in own.table.index.unique("explanation")
    other = verdicts_to_show(NOTHING)
    assert not other.own and other.table.equals(published_verdicts())
    assert "centre" not in other.table.index.unique("explanation")
    assert "No verdict here" in other.said and "published" in other.said
    picture = verdict_grid(other.table, TESTS)
    assert "of the KD student passes" in picture.alt


def test_published_verdicts_are_passed_where_every_seed_passes(tmp_path, monkeypatch):
    folder = tmp_path / "figures" / "results"
    folder.mkdir(parents=True)
    monkeypatch.setattr("kdnb.xai.answer.project_root", lambda: tmp_path)
    assert published_verdicts().empty, "not published yet"
    rows = []
    for run, stable in (("a", 1), ("b", 0)):
        for explanation in ("occlusion", "centre"):
            tests = dict.fromkeys(TESTS, 1) | {"stable": stable}
            place = {"dataset": "brain_tumor", "run": run, "model": "KD student"}
            rows.append(place | {"explanation": explanation} | tests)
    pd.DataFrame(rows).to_csv(folder / "verdicts.csv", index=False)
    (row,) = published_verdicts().reset_index().to_dict("records")
    assert row["explanation"] == "occlusion" and row["seeds"] == 2
    assert row["stable"] == 0 and row["passed"] == len(TESTS) - 1


def test_a_grid_of_verdicts_has_a_sign_in_every_cell_and_leaves_models_without_any_out():
    unknown = NOTHING.rename(index={"KD student": "teacher"}, level="model")
    own = PASSED.drop(index="centre", level="explanation")
    picture = verdict_grid(pd.concat([own, unknown]), TESTS)
    assert len(picture.figure.axes) == 1
    signs = [text.get_text() for text in picture.figure.axes[0].texts]
    assert len(signs) == 10 and signs[5:] == ["✓", "✓", "✓", "✓", "✗"], "in the order of all"
    assert "Deep SHAP of the KD student passes names what matters" in picture.alt


def test_the_cheat_is_revealed_or_not():
    marked = pd.DataFrame(
        {"difference": [0.4, 0.1], "low": [0.3, 0.0], "high": [0.5, 0.2], "reveals": [1.0, 0.0]},
        index=["SHAP deep", "Grad-CAM"],
    )
    said = cheat_sentence(marked)
    assert said.startswith("In a test on drawn images with a tag (phantoms, not the images")
    assert "of 2 explanations 1 reveals" in said
    assert "Deep SHAP most clearly: 40 [30, 50] percentage points more" in said
    assert "no explanation is shown to reveal" in cheat_sentence(marked.assign(reveals=0.0))


def test_it_is_said_by_which_scores_maps_of_nothing_are_beaten():
    index = pd.MultiIndex.from_product([["KD student"], ["occlusion", "Grad-CAM", "SHAP deep"]])
    above = pd.DataFrame(
        {
            "energy in mask": [1.0, 1.0, 1.0],
            "insertion, mean colour": [-0.1, -0.2, 0.1],
            "insertion, blur": [0.1, 0.1, 0.1],
            "ROAD": [0.1, 0.0, np.nan],
        },
        index=index,
    )
    assert faithfulness_sentence(above) == (
        "Of 2 explanations, so many beat every map of nothing: none by insertion, mean colour; "
        "2 by insertion, blur; 1 by ROAD. By all of these: none."
    )
    assert "too few patients" in faithfulness_sentence(above * np.nan)


def test_nearer_farther_and_open_are_said():
    question = pd.DataFrame(
        {"difference": [0.2, 0.0], "low": [0.1, -0.1], "high": [0.3, 0.1]},
        index=["Spearman with the teacher: Grad-CAM", "Spearman with the teacher: occlusion"],
    )
    nearer = reasons_sentence(question)
    assert nearer.startswith(
        "Of 2 kinds of map, distillation brings 1 nearer to the teacher's and takes 0 farther; "
        "1 stays open (corrected for 2 comparisons). Nearer: Grad-CAM (last layer). The largest"
    )
    turned = question.assign(difference=-question["difference"], low=-0.3, high=[-0.1, 0.1])
    assert "takes 1 farther; 1 stays open" in reasons_sentence(turned)
    assert "Farther: Grad-CAM (last layer). The" in reasons_sentence(turned)
    both = question.assign(difference=[0.2, -0.2], low=[0.1, -0.3], high=[0.3, -0.1])
    assert "0 stay open (corrected" in reasons_sentence(both)
    assert "Nearer: Grad-CAM (last layer). Farther: occlusion. The" in reasons_sentence(both)
    assert "not shown to change" in reasons_sentence(question.assign(low=-1.0))
    assert "cannot tell" in reasons_sentence(question.assign(low=np.nan, high=np.nan))


def test_the_overview_holds_four_explanations_against_the_hardest_baseline():
    rows = {}
    for name, value in {"Grad-CAM": 0.6, "centre": 0.3, "random": 0.1}.items():
        rows["KD student", name, "ROAD"] = {"value": value}
        rows["KD student", name, "deletion, blur"] = {"value": value}
        rows["KD student", name, "peak in mask"] = {"value": np.nan}
    scores = pd.DataFrame(rows).T.rename_axis(["model", "explanation", "metric"])
    found = score_overview(scores)
    assert found.index.tolist() == ["ROAD", "deletion, blur"], "what is not known is left out"
    assert found.loc["ROAD", "best baseline"] == 0.3
    assert found.loc["deletion, blur", "best baseline"] == 0.1, "small is good"
    assert found.loc["ROAD", "Grad-CAM (last layer)"] == 0.6


def test_a_trap_is_outlined_and_the_peak_of_each_map_is_marked():
    trap = np.zeros((2, 8, 8), bool)
    trap[:, 0, 0] = True
    on = np.where(trap, 1.0, 0.1)
    off = np.zeros((2, 8, 8))
    off[:, 5, 6] = 2.0
    found = TrapMaps(
        pixels=np.zeros((2, 8, 8, 3), np.uint8),
        traps=trap,
        maps={"cheating": on, "honest": off, "silent": np.zeros((2, 8, 8))},
        titles=("a", "b"),
    )
    picture = trap_grid(found, "tag")
    assert "cheating: the peak lies on the tag in 2; honest: the peak lies on the tag in 0" in (
        picture.alt
    )
    honest = picture.figure.axes[2]
    assert honest.lines[0].get_xydata().tolist() == [[6, 5]]
    near = np.zeros((2, 8, 8))
    near[:, 1, 1] = 1.0
    of_near = trap_grid(replace(found, maps={"near": near}), "tag").figure.axes[1]
    assert of_near.get_xlabel() == "peak one pixel beside it\n0% of the red on the tag"
    assert honest.get_xlabel() == "peak elsewhere\n0% of the red on the tag"
    assert "silent of image 1" in picture.alt and picture.pixels
