"""One name for each method, whichever table it comes from."""

from __future__ import annotations

from kdnb.core.method_names import ATTRIBUTIONS, LARGE, graded_name, method_name
from kdnb.efficiency.explanation_cost import explanation_methods
from kdnb.xai.evaluation import EXPLANATIONS
from kdnb.xai.methods import METHODS
from kdnb.xai.verdicts import TIMED


def test_costs_and_maps_and_grades_name_a_method_alike():
    of_maps = {method_name(key) for key in METHODS}
    of_costs = {method_name(key) for key in explanation_methods(None, None, None)}
    assert of_costs - {"forward"} == of_maps
    for key, (method, _) in EXPLANATIONS.items():
        assert graded_name(key).partition(" (")[0] == method_name(method)
    for key, graded in TIMED.items():
        assert graded_name(graded).partition(" (")[0] == method_name(key)
    assert len(set(map(graded_name, EXPLANATIONS))) == len(EXPLANATIONS)
    assert set(LARGE) <= set(METHODS) and set(ATTRIBUTIONS.values()) <= set(METHODS)


def test_the_layer_is_part_of_the_name_and_baselines_keep_theirs():
    assert graded_name("average map, last") == "average map (last layer)"
    assert method_name("average map, conv3") == "average map (conv3)"
    assert graded_name("random, blurred") == "random, blurred"
