"""The layer stepper without a browser: maps, words, traits, messages, the static twin."""

import json
from dataclasses import replace
from itertools import product
from threading import Thread
from time import sleep

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.statistics import softmax
from kdnb.data.transforms import to_tensor
from kdnb.feature_maps.ablation import channel_means
from kdnb.feature_maps.cam import cams
from kdnb.feature_maps.ledger import decision_ledger
from kdnb.feature_maps.maps import average_maps
from kdnb.feature_maps.receptive_field import receptive_fields
from kdnb.training.students import FiveConv
from kdnb.training.teachers import make_teacher
from kdnb.widgets import layer_maps as layers
from kdnb.widgets import stepper_numbers as render
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.stepper import LayerStepper, exported_state, static_stepper
from kdnb.widgets.stepper_messages import ablated, arithmetic, effects, occluded
from kdnb.widgets.stepper_numbers import StepperState, stepper_panel

CLASSES, N = ("round", "square", "none"), 5
STATES = [
    StepperState(image, layer, kind, target, versus, scale)
    for image, layer, kind, scale in product((0, 4), (1, 5), layers.MAP_KINDS, render.SCALES)
    for target, versus in ((0, -1), (2, 1))
]


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3)).astype(np.uint8)
    student, teacher = FiveConv(3, 0.25), FiveConv(3, 0.5)
    return {
        "student": student,
        "teacher": teacher,
        "images": to_tensor(pixels),
        "pixels": pixels,
        "targets": [0, 1, 2, 0, 1],
        "classes": CLASSES,
        "titles": [f"case {i}" for i in range(N)],
    }


@pytest.fixture(scope="module")
def data(inputs):
    return stepper_data(**inputs)


def test_maps_are_those_of_the_package(inputs, data):
    for model in data.models:
        expected = average_maps(inputs[model.name], inputs["images"])
        assert model.taps == tuple(expected)
        for kind, t in product(layers.MAP_KINDS, range(len(CLASSES))):
            made = (
                expected
                if kind == "average"
                else cams(model.network, inputs["images"], torch.full((N,), t), kind)
            )
            for tap, maps in zip(model.taps, model.maps, strict=True):
                scale = max(1e-9, float(made[tap].abs().max()))
                np.testing.assert_allclose(
                    maps[:, data.row(kind, t)], made[tap].numpy(), atol=1e-4 * scale
                )


def test_bars_are_the_decision_ledger(inputs, data):
    state = StepperState(image=3, target=1)
    for m, pane in enumerate(stepper_panel(data, state).panes):
        ledger = decision_ledger(data.models[m].network, inputs["images"][3:4], [1])
        for bar, account in zip(pane.bars, ledger.accounts.values(), strict=True):
            wanted = account.supporting[0], account.opposing[0], account.bias[0], ledger.logits[0]
            np.testing.assert_allclose(bar, wanted, atol=1e-5)
            assert abs(bar.supporting + bar.opposing + bar.bias - bar.logit) <= 1e-4 * max(
                1, abs(bar.logit)
            )


def test_a_minus_b_is_minus_b_minus_a(data):
    for kind in layers.MAP_KINDS:
        there, back = (
            stepper_panel(data, StepperState(2, 3, kind, a, b)).panes[0]
            for a, b in ((0, 2), (2, 0))
        )
        sign = -1 if layers.MAP_KINDS[kind].per_class else 1  # a map without a class stays
        assert np.array_equal(there.raw, sign * back.raw)
        assert [x.logit for x in there.bars] == [-x.logit for x in back.bars]
        assert there.bars[2].supporting == pytest.approx(-back.bars[2].opposing)


def test_a_network_without_a_ledger_is_shown_without_bars(inputs):
    teacher = make_teacher(3, name="efficientnet_b0")
    shown = stepper_data(**inputs | {"teacher": teacher})
    pane = stepper_panel(shown, StepperState(kind="evidence")).panes[1]
    assert pane.bars == () and "logit" not in pane.sentence and "SiLU" in shown.models[1].refusal


def direct(model, images, tap, channels):
    """Probabilities (N, K) with channels set to their means in a whole forward pass."""
    mean = channel_means(model, images)[tap]

    def cut(_module, _inputs, output):
        output = output.clone()
        output[:, channels] = mean[channels][:, None, None]
        return output

    handle = model.get_submodule(model.taps[tap]).register_forward_hook(cut)
    with torch.no_grad():
        logits = model.eval()(images)
    handle.remove()
    return softmax(logits.double().numpy())


def test_ablation_equals_a_whole_forward_pass(inputs, data):
    for m, layer, channels in (0, 2, [3]), (1, 4, [0, 5, 6]), (0, 5, [1, 2]):
        model = data.models[m]
        wanted = direct(model.network, inputs["images"], model.taps[layer - 1], channels)[4]
        found = softmax(ablated(data, 4, m, layer, channels))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        if len(channels) == 1:
            found = softmax(effects(data, 4, m, layer)[channels[0]])
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(UserError, match="channels of this layer go from 0 to 7, got"):
        ablated(data, 0, 0, 1, [99])


def test_a_covered_patch_changes_what_a_forward_pass_of_the_covered_image_says(inputs, data):
    top, left, bottom, right = render.patch((2, 7), 32)
    covered = inputs["images"][1:2].clone()
    covered[:, :, top:bottom, left:right] = covered.mean((2, 3), keepdim=True)
    (logits, evidence), _ = occluded(data, 1, [(2, 7), (0, 0)])
    for m, model in enumerate(data.models):
        with torch.no_grad():
            np.testing.assert_allclose(logits[m], model.network(covered)[0], atol=1e-5)
        ledger = decision_ledger(model.network, covered, [2])
        np.testing.assert_allclose(
            evidence[m][:, 2], [a.evidence[0] for a in ledger.accounts.values()], atol=1e-5
        )


def test_a_pointed_cell_sees_its_receptive_field(data):
    fields = receptive_fields(data.models[0].network, 32)
    for layer in range(1, 6):
        pane = stepper_panel(data, StepperState(layer=layer, point=(17, 30))).panes[0]
        row = fields.iloc[layer - 1]
        centre = row.start + pane.cell[0] * row.jump
        top, _, bottom, right = pane.sees
        assert top == max(0, centre - (row.field - 1) / 2)
        assert bottom == min(32, centre + (row.field + 1) / 2)
        assert top <= 17 < bottom and right == 32
        assert f"cell at row {pane.cell[0] + 1}, column {pane.cell[1] + 1}" in pane.sentence


def test_filters_name_the_wrong_the_disagreeing_and_the_unsure(data):
    answers, sure = (
        [m.probabilities.argmax(1) for m in data.models],
        data.models[0].probabilities.max(1),
    )
    kept = layers.filters(data)
    assert kept["all"] == list(range(N))
    assert kept["wrong"] == [i for i in range(N) if answers[0][i] != data.targets[i]]
    assert kept["disagree"] == [i for i in range(N) if answers[0][i] != answers[1][i]]
    assert kept["unsure"] == [i for i in range(N) if sure[i] < layers.UNSURE]
    assert layers.filters(replace(data, targets=(-1,) * N))["wrong"] == []  # nobody knows


def test_a_class_that_nobody_knows_is_not_named(inputs):
    data = stepper_data(**inputs | {"targets": [-1] * N})
    assert "true class" not in static_stepper(data).alt
    guessed = stepper_panel(data, StepperState(quiz="revealed", guess=1)).sentence.splitlines()[0]
    said = CLASSES[data.models[0].probabilities[0].argmax()]
    assert guessed == f"you said {CLASSES[1]}; the student says {said}"


def test_numbers_of_the_whole_image_say_so_while_something_is_covered_or_cut(data):
    whole, covered, cut = [
        stepper_panel(data, StepperState(layer=2, kind="evidence", **changes)).sentence
        for changes in ({}, {"occluded": (1, 1)}, {"ablated": (3,)})
    ]
    assert "covered" not in whole
    assert covered.count("; nothing covered or cut: p(") == 2, "once for each network"
    assert cut == covered


def test_the_explained_class_follows_the_image(inputs, data):
    predicted = data.models[0].probabilities.argmax(1)
    assert (predicted != data.targets).any()
    for image, truth in enumerate(data.targets):
        for follows, target in ((-1, truth), (-2, predicted[image])):
            found = stepper_panel(data, StepperState(image, 2, "evidence", follows))
            wanted = stepper_panel(data, StepperState(image, 2, "evidence", int(target)))
            assert found.sentence == wanted.sentence
            np.testing.assert_array_equal(found.panes[0].raw, wanted.panes[0].raw)
    assert LayerStepper(data).target == -1
    unknown = stepper_data(**inputs | {"targets": [-1] * N})
    assert LayerStepper(unknown).target == -2
    for follows in (-1, -2):  # where nobody knows the class, the predicted one stands for it
        (pane, _) = stepper_panel(unknown, StepperState(1, target=follows)).panes
        assert f"p({CLASSES[predicted[1]]})" in pane.sentence


def test_channels_are_ranked_by_what_is_asked(data):
    by = {"contribution": data.models[0].contributions[1][3, 1], "mean": data.models[0].means[1][3]}
    assert by["contribution"].sum() == pytest.approx(
        data.models[0].maps[1][3, data.row("evidence", 1)].sum(), abs=1e-5
    )
    assert not np.array_equal(*(render.ranked(v) for v in by.values()))
    assert (np.diff(by["mean"][render.ranked(by["mean"])]) <= 0).all()


def test_a_guess_hides_the_answer_until_it_is_revealed(inputs):
    masks = np.zeros((N, 32, 32), bool)
    masks[:, 10:20, 10:20] = True
    data = stepper_data(**inputs, masks=masks)
    asking = stepper_panel(data, StepperState(quiz="asking"))
    assert asking.sentence == render.ASKING and "p(" not in asking.sentence
    states = (
        StepperState(quiz="revealed", guess=g, point=p) for g, p in ((0, (12, 12)), (2, (0, 0)))
    )
    said = [stepper_panel(data, state).sentence for state in states]
    assert said[0].startswith("you said round: right; the student says")
    assert "lies inside" in said[0]
    assert said[1].startswith("you said none: it is round") and "lies outside" in said[1]
    assert "you said" not in stepper_panel(data, StepperState(quiz="revealed")).sentence, (
        "nobody has guessed"
    )


def test_the_picture_outlines_the_mask_but_not_while_one_guesses(inputs):
    masks = np.zeros((N, 32, 32), bool)
    masks[0, 10:20, 4:8] = True  # the other images have none
    data = stepper_data(**inputs, masks=masks)

    def lines(state):
        figure = static_stepper(data, state).figure
        found = [ax.collections for ax in figure.axes]
        plt.close(figure)
        return found

    drawn = lines(StepperState(image=0))
    assert drawn and all(len(of_axes) == 1 for of_axes in drawn)
    bounds = drawn[0][0].get_paths()[0].get_extents()
    assert bounds.extents == pytest.approx([4 / 32, 10 / 32, 8 / 32, 20 / 32])
    assert not any(map(len, lines(StepperState(image=0, quiz="asking"))))
    assert not any(map(len, lines(StepperState(image=1))))


def test_the_picture_tells_no_class_while_one_guesses(data):
    picture = static_stepper(data, StepperState(image=2, kind="evidence", quiz="asking"))
    written = [text.get_text() for text in picture.figure.findobj(plt.Text)]
    told = " ".join([picture.alt, *written])
    assert not any(name in told for name in data.classes) and "p(" not in told
    assert "bias" not in told and data.titles[2] not in told
    plt.close(picture.figure)


def test_an_export_shows_the_same_again(data, tmp_path):
    state = StepperState(
        2, 4, "evidence", 1, 2, "layers", 0.3, "teacher", point=(3, 4), occluded=(1, 1)
    )
    plain = {k: v for k, v in LayerStepper(data, state).get_state().items() if k in vars(state)}
    (tmp_path / "export.json").write_text(json.dumps({"state": plain, "image": "case 2"}))
    again = LayerStepper(data, exported_state(tmp_path / "export.json"))
    assert again.state == state and again.panel().sentence == stepper_panel(data, state).sentence
    for text in "{", "{}", '{"state": {"teapot": 1}}', '{"state": 3}':
        (tmp_path / "export.json").write_text(text)
        with pytest.raises(UserError, match="is no export of the layer stepper"):
            exported_state(tmp_path / "export.json")


def test_an_export_of_another_image_or_network_is_refused(data, tmp_path):
    path = tmp_path / "export.json"
    content = {"state": {"image": 2}, "image": data.titles[2], "student": "student/1"}
    path.write_text(json.dumps(content))
    assert exported_state(path, data).image == 2
    assert exported_state(path, replace(data, provenance={"student": "student/1"})).image == 2
    with pytest.raises(UserError, match="with the student 'student/1', and the student here is"):
        exported_state(path, replace(data, provenance={"student": "student/2"}))
    path.write_text(json.dumps(content | {"image": "another"}))
    with pytest.raises(UserError, match=f"shows 'another', and image 3 is '{data.titles[2]}'"):
        exported_state(path, data)
    path.write_text(json.dumps(content | {"state": {"image": 99}}))
    with pytest.raises(UserError, match="image must lie between 0"):
        exported_state(path, data)


def test_cut_channels_are_of_one_layer_and_of_the_whole_picture(data):
    widget = LayerStepper(data, StepperState(layer=4, ablated=(40, 41)))
    assert widget.state.ablated == (40, 41), "an exported state is shown as it was"
    for name, value in {"layer": 3, "image": 1, "shown": "teacher", "occluded": [2, 2]}.items():
        widget.ablated = [1]
        setattr(widget, name, value)
        assert widget.ablated == [], f"{name} shows other channels, or another picture"
        widget.panel()
    widget.ablated = [1, 2]
    assert widget.occluded == [], "channels are cut in the whole picture"
    widget.shown = "student"
    widget.layer = 1
    with pytest.raises(UserError, match=r"ablated must be channels from 0 to \d+, got \[600\]"):
        widget.ablated = [600]
    assert widget.ablated == []


def test_channels_that_are_cut_in_one_go_with_another_layer_stay_cut(data):
    widget = LayerStepper(data, StepperState(layer=2, ablated=(1,)))
    told = []

    def note(change):
        told.append((change.name, widget.layer, list(widget.ablated)))

    widget.observe(note, names=["layer", "ablated"])
    widget.set_state({"layer": 3, "ablated": [7]})
    assert (widget.layer, widget.ablated) == (3, [7])
    assert told == [("layer", 3, [7]), ("ablated", 3, [7])]
    with widget.hold_trait_notifications():
        widget.ablated = [1, 2]
        widget.image = 1
        with widget.hold_trait_notifications():
            widget.layer = 4
    assert (widget.layer, widget.image, widget.ablated) == (4, 1, [1, 2])
    widget.set_state({"layer": 5, "kind": "gradcam"})
    assert widget.ablated == [], "another layer alone ends the cut"


def test_evidence_at_the_last_tap_adds_up_to_the_logit_without_its_bias(inputs, data):
    student = inputs["student"].eval()
    with torch.no_grad():
        logits = (student(inputs["images"]) - student.classifier.bias).numpy()
    for t in range(len(CLASSES)):
        evidence = data.models[0].maps[-1][:, data.row("evidence", t)].sum((1, 2))
        np.testing.assert_allclose(evidence, logits[:, t], atol=1e-4)


def test_the_chunk_size_does_not_matter(inputs, data, monkeypatch):
    monkeypatch.setattr(layers, "CHUNK", 2)
    for model, again in zip(data.models, stepper_data(**inputs).models, strict=True):
        for maps, other in zip(model.maps, again.maps, strict=True):
            np.testing.assert_allclose(maps, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_panel_shows_the_raw_map_in_its_range(data, state):
    for model, pane in zip(data.models, stepper_panel(data, state).panes, strict=True):
        raw = model.maps[state.layer - 1][state.image, data.row(state.kind, state.target)]
        if state.versus >= 0 and layers.MAP_KINDS[state.kind].per_class:
            raw = raw - model.maps[state.layer - 1][state.image, data.row(state.kind, state.versus)]
        numbers = pane.indices.astype(int)
        assert np.array_equal(pane.raw, raw)
        assert pane.low <= raw.min() and raw.max() <= pane.high and pane.low <= 0 <= pane.high
        assert (np.diff(numbers.ravel()[np.argsort(raw, axis=None)]) >= 0).all()
        if render.signed(state):
            assert pane.low == -pane.high and ((numbers - 128) * np.sign(raw) >= 0).all()
            assert pane.peak is None or abs(raw[pane.peak]) == np.abs(raw).max()
        elif pane.peak:
            assert raw[pane.peak] == raw.max()
            assert state.scale != "map" or numbers[pane.peak] == 255


def test_scales_widen_and_only_the_last_joins_the_models(data):
    for kind in layers.MAP_KINDS:
        steps = [
            stepper_panel(data, StepperState(kind=kind, layer=2, scale=scale)).panes
            for scale in render.SCALES
        ]
        for narrow, wide in zip(steps, steps[1:], strict=False):
            assert all(
                w.low <= n.low and n.high <= w.high for n, w in zip(narrow, wide, strict=True)
            )
        assert steps[-1][0].high == steps[-1][1].high == max(p.high for p in steps[-2])


def test_the_sentence_names_layer_map_peak_and_probability(data):
    state = StepperState(image=1, layer=3, kind="evidence", target=2, shown="student")
    (pane,) = stepper_panel(data, state).panes
    value = pane.raw[pane.peak]
    sign = "+" if value > 0 else ""
    bar = pane.bars[2]
    ledger = (
        f"logit {render.plus(bar.logit)} = for {render.number(bar.supporting)}, "
        f"against {render.number(bar.opposing)}, bias {render.plus(bar.bias)}"
    )
    assert stepper_panel(data, state).sentence == (
        "student, layer 3 of 5 (conv3, 8 × 8), class evidence for none, strongest "
        f"{sign}{render.number(float(value))} "
        f"at row {pane.peak[0] + 1}, column {pane.peak[1] + 1}; "
        f"p(none) {data.models[0].probabilities[1, 2]:.2f}; {ledger}"
    )


def test_a_dead_layer_is_shown_without_dividing_by_zero(inputs):
    student = FiveConv(3, 0.25)
    nn.init.zeros_(student.block4.norm.weight)
    dead = stepper_data(**inputs | {"student": student, "teacher": None})
    with np.errstate(all="raise"):
        for kind, signed in ("average", False), ("gradcam", False), ("evidence", True):
            (pane,) = stepper_panel(dead, StepperState(layer=4, kind=kind)).panes
            assert (pane.low, pane.high, pane.peak) == (0, 0, None)
            assert (pane.indices == 128 * signed).all()
            assert "says nothing here: the same value 0 everywhere" in pane.sentence
    figure = static_stepper(dead, StepperState()).figure
    assert [text.get_text() for text in figure.axes[4].texts] == ["says nothing here"]
    assert not figure.axes[1].texts and len(figure.axes[4].images) == 1, "the image alone"


@given(st.floats(-1e9, 1e9, allow_subnormal=False))
def test_number_keeps_three_digits(value):
    assert float(render.number(value)) == pytest.approx(value, rel=0.00501, abs=1e-300)


def test_a_frozen_model_is_explained_and_left_as_it_was(inputs):
    student = FiveConv(3, 0.25).requires_grad_(False).train()
    frozen = stepper_data(**inputs | {"student": student})
    assert np.abs(frozen.models[0].maps[0][:, frozen.row("evidence")]).max() > 0
    assert student.training
    assert all(p.grad is None for p in student.parameters())
    assert not inputs["images"].requires_grad


def _broken(**taps):
    model = FiveConv(3, 0.25)
    model.taps = taps or model.taps
    return model


def _nan():
    model = FiveConv(3, 0.25)
    nn.init.constant_(model.block5.norm.weight, float("nan"))
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((N, 16, 16, 3), np.uint8)}, "need pixels"),
        ({"pixels": np.zeros((N, 32, 32, 3))}, "float64"),
        ({"images": torch.zeros(0, 3, 32, 32)}, "at least 1"),
        ({"targets": [0]}, "5 targets"),
        ({"targets": [0, 1, 2, 3, 0]}, "from 0 to 2"),
        ({"titles": ["a"]}, "1 titles"),
        ({"classes": ("a", "b")}, "from 0 to 1"),
        ({"classes": (*CLASSES, "d")}, "3 outputs, but 4 class names"),
        ({"student": _broken(a="block1.relo")}, "no module 'block1.relo'"),
        ({"student": _broken(a="flatten")}, "is no map"),
        ({"student": _broken(a="block1.relu")}, "equally many taps, got a and conv1, conv2"),
        ({"student": _nan()}, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(inputs, change, message):
    with pytest.raises(UserError, match=message) as caught:
        stepper_data(**inputs | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", N),
        ("image", -1),
        ("layer", 0),
        ("layer", 6),
        ("target", 3),
        ("target", -3),
        ("opacity", 1.2),
        ("kind", "saliency"),
        ("scale", "own"),
        ("shown", "tutor"),
        ("versus", 3),
        ("only", "right"),
        ("order", "size"),
        ("point", (1,)),
        ("point", (32, 0)),
        ("occluded", (8, 0)),
        ("quiz", "on"),
        ("guess", 3),
    ],
)
def test_a_state_that_the_data_do_not_hold_is_refused(data, name, value):
    with pytest.raises(UserError, match=name):
        stepper_panel(data, replace(StepperState(), **{name: value}))
    widget = LayerStepper(data)
    before = widget.state
    with pytest.raises(UserError, match=name):
        setattr(widget, name, value)
    assert widget.state == before
    sent = {"smooth": True, name: value}  # as the browser sends what goes together
    with pytest.raises(UserError, match=name) as caught:
        widget.set_state(sent)
    assert widget.state == before and not widget.smooth
    assert "\n" not in str(caught.value)


def test_the_widget_follows_its_traits(data):
    widget = LayerStepper(data, StepperState(kind="gradcam"))
    widget.layer, widget.image, widget.shown = 4, 2, "teacher"
    assert (
        widget.panel().sentence
        == stepper_panel(data, StepperState(2, 4, "gradcam", shown="teacher")).sentence
    )


def test_an_image_travels_as_a_message_and_is_not_saved(data, monkeypatch):
    widget, sent = LayerStepper(data), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append((content, buffers)))
    asked = {"ask": "image", "image": 3}
    unknown = (
        {"ask": "image", "image": 99},
        {"ask": "tea"},
        "tea",
        {"ask": "effects", "image": 0, "layer": 9},
    )
    for question in asked, *unknown:
        widget._answer(widget, question, [])
    ((content, (pixels, values, tiles)),) = sent
    kinds = product(("contributions", "means"), data.models)
    rows = [0, 1, 2, 3, 4, *range(8, 14)]  # no HiResCAM
    expected = [tap[3][rows].ravel() for m in data.models for tap in m.maps]
    expected += [tap[3].ravel() for kind, m in kinds for tap in getattr(m, kind)]
    assert content == {"to": asked, "inside": None} and pixels == data.pixels[3].tobytes()
    assert np.array_equal(np.frombuffer(values, np.float32), np.concatenate(expected))
    sizes = [
        m.means[i].shape[1] * min(24, t.shape[2]) ** 2
        for m in data.models
        for i, t in enumerate(m.maps)
    ]
    assert len(tiles) == sum(sizes) and max(tiles) == 255
    saved = {name: value for name, value in widget.get_state().items() if name != "layout"}
    assert len(json.dumps(saved, default=str)) < 150_000


def test_a_question_that_cannot_be_answered_is_refused_in_words(data, monkeypatch):
    widget, sent = LayerStepper(data), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append(content))
    widget._answer(
        widget, {"ask": "ablate", "image": 0, "model": 0, "layer": 1, "channels": [99]}, []
    )
    assert "go from 0 to 7" in sent[0]["refused"] and sent[0]["again"] is False


def test_a_question_that_fails_is_answered_too_and_the_log_has_the_error(data, monkeypatch):
    widget, sent = LayerStepper(data), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append(content))

    def fail(_data, _question):
        raise RuntimeError("out of memory\nand a long story")

    question = {"ask": "effects", "image": 0, "model": 0, "layer": 1}
    with monkeypatch.context() as broken:
        broken.setattr("kdnb.widgets.stepper.answer_message", fail)
        with pytest.raises(RuntimeError, match="a long story"):
            widget._answer(widget, question, [])
    reason = "this cannot be computed: RuntimeError: out of memory"
    assert sent == [{"to": question, "refused": reason, "again": True}]
    widget._answer(widget, question, [])
    assert sent[1] == {"to": question}, "it can be asked again"


def test_questions_are_answered_one_at_a_time(data, monkeypatch):
    """Two widgets share the networks of their data, and each message may have its thread."""
    widgets = [LayerStepper(data), LayerStepper(replace(data, early=(1,) * N))]
    at_work = []
    most = []

    def answer(_data, question):
        at_work.append(question)
        most.append(len(at_work))
        sleep(0.02)
        at_work.remove(question)

    monkeypatch.setattr("kdnb.widgets.stepper.answer_message", answer)
    asked = []
    for number in range(4):
        widget = widgets[number % 2]
        question = {"ask": "image", "image": number}
        asked.append(Thread(target=widget._answer, args=(widget, question, [])))
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_the_arithmetic_of_a_cell_is_answered(data, monkeypatch):
    widget, sent = LayerStepper(data), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append(content))
    asked = {"ask": "arithmetic", "image": 1, "model": 0, "layer": 2, "cell": [3, 4], "channel": 5}
    widget._answer(widget, asked, [])
    widget._answer(widget, asked | {"cell": [99, 0]}, [])
    found, refused = sent
    values = arithmetic(data, 1, 0, 2, [3, 4], 5)
    assert found["to"] == asked and found["sentence"] == values.sentence
    assert found["value"] == pytest.approx(found["steps"][-1][1], abs=1e-4)
    average = data.models[0].maps[1][1, data.row("average"), 3, 4]
    assert found["mean"] == pytest.approx(average, abs=1e-5)
    json.dumps(found)
    assert "16 × 16 cells" in refused["refused"]


def test_the_static_twin_shows_the_same_numbers(data):
    state = StepperState(image=2, kind="evidence", target=1, scale="layers")
    picture = static_stepper(data, state)
    axes = np.array(picture.figure.axes).reshape(2, 6)
    for layer in range(1, 6):
        for row, pane in enumerate(stepper_panel(data, replace(state, layer=layer)).panes):
            assert np.array_equal(
                axes[row, layer].images[1].get_array(), render.palette(True)[pane.indices]
            )
            limits, bars = axes[row, layer].get_xlabel().split("\n")
            assert limits == f"{render.number(pane.low)} to {render.number(pane.high)}"
            assert bars.endswith(f"bias {render.plus(pane.bars[layer - 1].bias)}")
            assert pane.sentence in picture.alt
    plt.close(picture.figure)
