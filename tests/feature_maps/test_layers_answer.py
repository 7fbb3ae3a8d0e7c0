"""The words of notebook 04 on made-up numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdnb.feature_maps.answer import decided_sentence, layers_answer, map_answer

PROBES = pd.DataFrame(
    {
        "model": "KD student",
        "tap": ["conv1", "conv2", "conv3"],
        "accuracy": [0.5, 0.7, 0.9],
        "low": [0.4, 0.6, 0.8],
        "high": [0.6, 0.8, 0.95],
        "untrained": [0.5, 0.5, 0.6],
        "above_untrained_low": [-0.1, 0.1, 0.2],
        "chance": 0.3,
    }
)
EARLY = pd.DataFrame({"layer": [1, 2, 2, 3]})


def test_the_first_layer_that_beats_the_untrained_network_is_named():
    said = layers_answer(PROBES, EARLY)
    assert "From layer 2 of 3 (conv2) on" in said and "70% [60%, 80%]" in said
    assert said.endswith("75% of the 4 images are decided at layer 2 or before.")


def test_a_layer_that_later_ones_do_not_follow_is_not_said_to_be_the_start():
    said = layers_answer(PROBES.assign(above_untrained_low=[-0.1, 0.1, -0.1]), EARLY)
    assert said.startswith("At layer 2 of 3 (conv2), but not at the last one, training has made")


def test_a_layer_at_chance_is_not_where_the_class_can_be_read():
    worse_than_chance = PROBES.assign(low=[0.28, 0.25, 0.8], above_untrained_low=0.1)
    said = layers_answer(worse_than_chance, EARLY)
    assert said.startswith("From layer 3 of 3 (conv3) on")


def test_a_layer_that_its_follower_falls_behind_is_no_start():
    said = layers_answer(PROBES.assign(above_untrained_low=[0.1, -0.1, 0.1]), EARLY)
    assert said.startswith("From layer 3 of 3 (conv3) on")


def test_no_layer_and_no_interval_are_said():
    assert "At no layer" in layers_answer(PROBES.assign(above_untrained_low=-0.1), EARLY)
    blind = layers_answer(PROBES.assign(low=np.nan), EARLY)
    assert "so few patients cannot tell" in blind and "nan" not in blind
    undecided = pd.DataFrame({"layer": [4, 4, 1]})
    assert "even the last probe" in layers_answer(PROBES, undecided)
    half = layers_answer(PROBES, pd.DataFrame({"layer": [4, 4, 1, 3]}))
    assert "even the last probe" not in half, "half are not most"
    assert "50% of the 4 images are decided at layer 3 or before" in half


def test_the_map_is_said_to_be_blind_to_the_class():
    switch = pd.DataFrame({"Grad-CAM": [0.5, -0.2]}, index=["conv1", "conv2"])
    assert "at the last layer their correlation is -0.20" in map_answer(switch, None, 0)
    inside = pd.DataFrame(
        {"average map": [0.2, 0.1], "the mask's share": [0.03, 0.03]}, index=["conv1", "conv2"]
    )
    said = map_answer(switch * np.nan, inside, 2)
    assert "nan" not in said and said.endswith(
        "On 2 images with a mask, the map of conv1 lies most on what defines the class: 20% of "
        "it, where that fills 3.0% of the image. Chosen among the layers on so few images, that is "
        "no test: notebook 05 has one."
    )


def test_layer_1_and_a_half_that_is_decided_nowhere():
    first = decided_sentence(np.array([1, 1, 3]), 3, "them")
    assert first == "67% of them are decided at layer 1."
    half = decided_sentence(np.array([2, 4]), 3, "them")
    assert half == "50% of them are decided at layer 3 or before."
    most = decided_sentence(np.array([2, 4, 4]), 3, "them")
    assert most == "On most of them even the last probe names another class than the network."
