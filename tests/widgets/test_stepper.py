"""The layer stepper without a browser: maps, colours, words, the widget's traits and messages, the static twin."""

import json
from dataclasses import replace
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kdnb.data.batches import to_tensor
from kdnb.errors import UserError
from kdnb.explanations import grad_cam
from kdnb.feature_maps import average_maps
from kdnb.models import FiveConv
from kdnb.widgets import LayerStepper, StepperState, panel, render, static, stepper_data

CLASSES, N = ("round", "square", "none"), 5
STATES = [StepperState(i, layer, kind, t, scale) for i, layer, kind, t, scale
          in product((0, 4), (1, 3, 5), render.KINDS, (0, 2), render.SCALES)]  # fmt: skip


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3)).astype(np.uint8)
    student, teacher = FiveConv(3, 0.25), FiveConv(3, 0.5)
    return {"student": student, "teacher": teacher, "images": to_tensor(pixels), "pixels": pixels,
            "targets": [0, 1, 2, 0, 1], "classes": CLASSES, "titles": [f"case {i}" for i in range(N)]}  # fmt: skip


@pytest.fixture(scope="module")
def data(inputs):
    return stepper_data(**inputs)


def test_maps_are_those_of_the_package(inputs, data):
    for model in data.models:
        expected = average_maps(inputs[model.name], inputs["images"])
        assert model.taps == tuple(expected)
        for t in range(len(CLASSES)):
            cams = grad_cam(inputs[model.name], inputs["images"], torch.full((N,), t))
            for tap, maps in zip(model.taps, model.maps, strict=True):
                np.testing.assert_allclose(maps[:, data.row("average", t)], expected[tap], rtol=1e-5, atol=1e-7)
                np.testing.assert_allclose(maps[:, data.row("gradcam", t)], cams[tap], rtol=1e-4, atol=1e-7)


def test_evidence_at_the_last_tap_adds_up_to_the_logit_without_its_bias(inputs, data):
    student = inputs["student"].eval()
    with torch.no_grad():
        logits = (student(inputs["images"]) - student.classifier.bias).numpy()
    for t in range(len(CLASSES)):
        evidence = data.models[0].maps[-1][:, data.row("evidence", t)].sum((1, 2))
        np.testing.assert_allclose(evidence, logits[:, t], atol=1e-4)


def test_the_chunk_size_does_not_matter(inputs, data, monkeypatch):
    monkeypatch.setattr(render, "CHUNK", 2)
    for model, again in zip(data.models, stepper_data(**inputs).models, strict=True):
        for maps, other in zip(model.maps, again.maps, strict=True):
            np.testing.assert_allclose(maps, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_panel_shows_the_raw_map_in_its_range(data, state):
    for model, pane in zip(data.models, panel(data, state).panes, strict=True):
        raw = model.maps[state.layer - 1][state.image, data.row(state.kind, state.target)]
        numbers = pane.indices.astype(int)
        assert np.array_equal(pane.raw, raw)
        assert pane.low <= raw.min() and raw.max() <= pane.high and pane.low <= 0 <= pane.high
        assert (np.diff(numbers.ravel()[np.argsort(raw, axis=None)]) >= 0).all()
        if state.kind == "evidence":
            assert pane.low == -pane.high and ((numbers - 128) * np.sign(raw) >= 0).all()
            assert pane.peak is None or abs(raw[pane.peak]) == np.abs(raw).max()
        elif pane.peak:
            assert raw[pane.peak] == raw.max() and (state.scale != "map" or numbers[pane.peak] == 255)


def test_scales_widen_and_only_the_last_joins_the_models(data):
    for kind in render.KINDS:
        steps = [panel(data, StepperState(kind=kind, layer=2, scale=scale)).panes for scale in render.SCALES]
        for narrow, wide in zip(steps, steps[1:], strict=False):
            assert all(w.low <= n.low and n.high <= w.high for n, w in zip(narrow, wide, strict=True))
        assert steps[-1][0].high == steps[-1][1].high == max(p.high for p in steps[-2])


def test_the_sentence_names_layer_map_peak_and_probability(data):
    state = StepperState(image=1, layer=3, kind="evidence", target=2, shown="student")
    (pane,) = panel(data, state).panes
    value = pane.raw[pane.peak]
    assert panel(data, state).sentence == (
        f"student, layer 3 of 5 (conv3, 8 × 8), signed evidence for none, strongest {'+' * int(value > 0)}"
        f"{render.number(float(value))} at row {pane.peak[0] + 1}, column {pane.peak[1] + 1}; "
        f"p(none) {data.models[0].probabilities[1, 2]:.2f}")  # fmt: skip


def test_a_dead_layer_is_shown_without_dividing_by_zero(inputs):
    student = FiveConv(3, 0.25)
    nn.init.zeros_(student.block4.norm.weight)
    dead = stepper_data(**inputs | {"student": student, "teacher": None})
    with np.errstate(all="raise"):
        for kind, signed in ("average", False), ("gradcam", False), ("evidence", True):
            (pane,) = panel(dead, StepperState(layer=4, kind=kind)).panes
            assert (pane.low, pane.high, pane.peak) == (0, 0, None) and (pane.indices == 128 * signed).all()
            assert "the same value 0 everywhere" in pane.sentence


@given(st.floats(-1e9, 1e9, allow_subnormal=False))
def test_number_keeps_three_digits(value):
    assert float(render.number(value)) == pytest.approx(value, rel=0.00501, abs=1e-300)


def test_a_frozen_model_is_explained_and_left_as_it_was(inputs):
    student = FiveConv(3, 0.25).requires_grad_(False).train()
    frozen = stepper_data(**inputs | {"student": student})
    assert np.abs(frozen.models[0].maps[0][:, frozen.row("evidence")]).max() > 0
    assert student.training and all(p.grad is None for p in student.parameters()) and not inputs["images"].requires_grad


def _broken(**taps):
    model = FiveConv(3, 0.25)
    model.taps = taps or model.taps
    return model


def _nan():
    model = FiveConv(3, 0.25)
    nn.init.constant_(model.block5.norm.weight, float("nan"))
    return model


@pytest.mark.parametrize(("change", "message"), [
    ({"pixels": np.zeros((N, 16, 16, 3), np.uint8)}, "need pixels"),
    ({"pixels": np.zeros((N, 32, 32, 3))}, "float64"),
    ({"images": torch.zeros(0, 3, 32, 32)}, "at least 1"),
    ({"targets": [0]}, "5 targets"), ({"targets": [0, 1, 2, 3, 0]}, "from 0 to 2"), ({"titles": ["a"]}, "1 titles"),
    ({"classes": ("a", "b")}, "from 0 to 1"), ({"classes": (*CLASSES, "d")}, "3 outputs, but 4 class names"),
    ({"student": _broken(a="block1.relo")}, "no module 'block1.relo'"),
    ({"student": _broken(a="flatten")}, "is no map"),
    ({"student": _broken(a="block1.relu")}, "equally many taps, got a and conv1, conv2"),
    ({"student": _nan()}, "not finite"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(inputs, change, message):
    with pytest.raises(UserError, match=message) as caught:
        stepper_data(**inputs | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("image", N), ("image", -1), ("layer", 0), ("layer", 6), ("target", 3),
    ("opacity", 1.2), ("kind", "saliency"), ("scale", "own"), ("shown", "tutor")])  # fmt: skip
def test_a_state_that_the_data_do_not_hold_is_refused(data, name, value):
    with pytest.raises(UserError, match=name):
        panel(data, replace(StepperState(), **{name: value}))
    widget = LayerStepper(data)
    before = widget.state
    with pytest.raises(UserError, match=name):
        setattr(widget, name, value)
    assert widget.state == before


def test_the_widget_follows_its_traits(data):
    widget = LayerStepper(data, StepperState(kind="gradcam"))
    widget.layer, widget.image, widget.shown = 4, 2, "teacher"
    assert widget.panel().sentence == panel(data, StepperState(2, 4, "gradcam", shown="teacher")).sentence


def test_an_image_travels_as_a_message_and_is_not_saved(data, monkeypatch):
    widget, sent = LayerStepper(data), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append((content, buffers)))
    for question in {"ask": "image", "image": 3}, {"ask": "image", "image": 99}, {"ask": "tea"}:
        widget._answer(widget, question, [])
    ((content, (pixels, values)),) = sent
    expected = np.concatenate([maps[3].ravel() for model in data.models for maps in model.maps])
    assert content == {"image": 3} and pixels == data.pixels[3].tobytes()
    assert np.array_equal(np.frombuffer(values, np.float32), expected)
    saved = {name: value for name, value in widget.get_state().items() if name != "layout"}
    assert len(json.dumps(saved, default=str)) < 150_000


def test_the_static_twin_shows_the_same_numbers(data):
    state = StepperState(image=2, kind="evidence", target=1, scale="layers")
    picture = static(data, state)
    axes = np.array(picture.figure.axes).reshape(2, 6)
    for layer in range(1, 6):
        for row, pane in enumerate(panel(data, replace(state, layer=layer)).panes):
            assert np.array_equal(axes[row, layer].images[1].get_array(), render.palette(True)[pane.indices])
            assert axes[row, layer].get_xlabel() == f"{render.number(pane.low)} to {render.number(pane.high)}"
            assert pane.sentence in picture.alt
    plt.close(picture.figure)
