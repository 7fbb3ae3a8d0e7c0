"""The explanation explorer without a browser: maps, refusals, traits, messages, the static twin."""

from dataclasses import replace
from threading import Event

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from kdnb.core.errors import UserError
from kdnb.core.number_text import number
from kdnb.core.statistics import softmax
from kdnb.data.transforms import to_tensor
from kdnb.feature_maps.mask_metrics import energy_in_mask
from kdnb.training.students import FiveConv
from kdnb.training.teachers import make_teacher
from kdnb.widgets.explanation_panel import (
    ABOUT,
    CUT,
    Choice,
    ExplorerState,
    explorer_data,
    explorer_panel,
    first_states,
)
from kdnb.widgets.explorer import ExplanationExplorer, explorer_table, static_explorer
from kdnb.widgets.stepper_numbers import palette
from kdnb.xai.attribution import Context
from kdnb.xai.map_agreement import AGREEMENTS
from kdnb.xai.methods import METHODS, explain

CLASSES, N, TARGETS = ("round", "square", "none"), 3, [0, 1, 2]


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3)).astype(np.uint8)
    masks = np.zeros((N, 32, 32), bool)
    masks[:2, 8:20, 4:16] = True
    models = {
        "student": FiveConv(3, 0.25).eval(),
        "twin": FiveConv(3, 0.5).eval(),
        "teacher": make_teacher(3).eval(),
    }
    images = to_tensor(pixels)
    return {
        "models": models,
        "images": images,
        "pixels": pixels,
        "targets": TARGETS,
        "classes": CLASSES,
        "titles": [f"case {i}" for i in range(N)],
        "context": Context(images, samples=10, tap=2),
        "masks": masks,
    }


@pytest.fixture(scope="module")
def data(inputs):
    return explorer_data(**inputs)


def state(a, b=("evidence", "student"), image=0, **others):
    return ExplorerState(image, Choice(*a), Choice(*b), **others)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "SHAP partition"])
def test_both_sides_show_what_the_package_explains(inputs, data, method):
    shown = explorer_panel(data, state((method, "student", 2), (method, "twin"), image=1))
    for view, name, target in zip(shown.views, ("student", "twin"), (2, 1), strict=True):
        given = (
            inputs["models"][name],
            inputs["images"][1:2],
            torch.tensor([target]),
            inputs["context"],
        )
        found = explain(method, *given)
        np.testing.assert_array_equal(view.raw, found.maps[0])
        with torch.no_grad():
            p = softmax(inputs["models"][name](inputs["images"][1:2]).double().numpy())[0]
        energy = energy_in_mask(found.maps, inputs["masks"][1:2])[0]
        shown_target = target if ABOUT[method].per_class else TARGETS[1]
        wanted = [
            p[shown_target],
            found.maps.min(),
            found.maps.max(),
            found.delta[0],
            found.repeatability[0],
            energy,
        ]
        np.testing.assert_allclose(list(view.numbers.values()), wanted, atol=1e-6)
    for measure, alike in AGREEMENTS.items():
        expected = alike(*(view.raw[None] for view in shown.views))[0]
        np.testing.assert_allclose(shown.agreement[measure], expected)
        assert np.isnan(expected) or f"{measure} {expected:z.2f}" in shown.sentence


def test_colours_have_zero_in_the_middle_of_a_signed_map_and_at_the_start_of_an_amount(data):
    signed, amount = explorer_panel(
        data, state(("SHAP deep", "student"), ("layercam", "student"))
    ).views
    limit = np.quantile(np.abs(signed.raw), CUT)
    assert (signed.low, signed.high) == pytest.approx((-limit, limit))
    assert amount.low == 0 < amount.high
    assert amount.high == amount.raw.max() and amount.indices.max() == 255
    for raw, index in zip(signed.raw.ravel(), signed.indices.ravel(), strict=True):
        assert index == 128 or (index > 128) == (raw > 0)
    assert signed.indices.min() == 1 and signed.indices.max() == 255, (
        "what lies beyond the ends has the ends' colours"
    )
    assert palette(True)[128].tolist() == [247, 247, 247]


def test_given_maps_are_not_computed_again(inputs):
    images, targets = inputs["images"], torch.tensor(TARGETS)
    found = {
        "evidence": explain(
            "evidence", inputs["models"]["student"], images, targets, inputs["context"]
        )
    }
    given = explorer_data(**inputs, known={"student": found})
    assert set(given.known) == {("evidence", "student", i, t) for i, t in enumerate(TARGETS)}
    explorer_panel(given, state(("evidence", "student"), ("evidence", "student", 1), image=1))
    assert len(given.known) == 3, "the true class by number is the same map"
    found["evidence"].values[1] += 1
    np.testing.assert_array_equal(
        given.explained(0, Choice("evidence", "student")).values, found["evidence"].maps[0]
    )
    explorer_panel(given, state(("average map", "twin", 0), ("average map", "twin", 1)))
    assert len(given.known) == 4, "a map without a class is kept once"


def test_a_refused_map_is_a_sentence_with_its_number(data):
    shown = explorer_panel(data, state(("SHAP deep", "student"), ("SHAP deep", "teacher")))
    refused = shown.views[1]
    assert refused.raw is None
    assert refused.lines == ()
    assert np.isnan(list(shown.agreement.values())).all()
    assert "Deep SHAP is refused on" in refused.refusal and "miss the logit by" in refused.refusal
    assert refused.refusal in shown.sentence
    assert "A and B agree: unknown, a map is missing" in shown.sentence
    assert np.isfinite(refused.numbers["p"]) and np.isnan(refused.numbers["highest"])


class Blank(nn.Module):
    """Answers the same, whatever the image; its only tap holds one number everywhere."""

    taps = {"one": "tap", "two": "tap", "three": "tap"}

    def __init__(self, value):
        super().__init__()
        self.tap, self.value = nn.Identity(), nn.Parameter(torch.tensor(value))

    def forward(self, x):
        maps = self.tap(0 * x[:, :, ::4, ::4] + self.value)
        return maps.mean((2, 3)).nan_to_num()


def test_a_constant_map_says_so_and_agrees_with_nothing(inputs):
    flat = explorer_data(**inputs | {"models": {"blank": Blank(0.5), "zero": Blank(0.0)}})
    shown = explorer_panel(flat, state(("average map", "blank"), ("evidence", "zero")))
    constant, zero = shown.views
    assert ("values", "says nothing: 0.500 everywhere") in constant.lines
    assert (constant.low, constant.high) == (
        0,
        0.5,
    )
    assert (constant.indices == 255).all()
    assert (zero.indices == 128).all()
    assert ("values", "says nothing: 0 everywhere") in zero.lines
    assert np.isnan(list(shown.agreement.values())).all()
    assert "unknown, a map is constant" in shown.sentence
    figure = static_explorer(flat, [state(("average map", "blank"), ("evidence", "zero"))]).figure
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["says nothing here"]
    plt.close(figure)


def test_images_that_are_not_square_are_refused(inputs):
    wide = {"images": inputs["images"][:, :, :16], "pixels": inputs["pixels"][:, :16]}
    with pytest.raises(UserError, match="the widgets show square images, got 16 x "):
        explorer_data(**inputs | wide)


def test_a_map_that_is_not_finite_is_refused(inputs):
    broken = explorer_data(**inputs | {"models": {"broken": Blank(float("nan"))}})
    shown = explorer_panel(broken, state(("average map", "broken"), ("average map", "broken")))
    assert [v.raw for v in shown.views] == [
        None,
        None,
    ]
    assert "the map is not finite" in shown.sentence


def test_an_image_without_a_mask_has_no_energy(inputs, data):
    none = explorer_panel(data, state(("evidence", "student"), image=2)).views[0]
    some = explorer_panel(data, state(("evidence", "student"), image=0)).views[0]
    share = inputs["masks"][0].mean()
    assert "energy in mask" not in dict(none.lines)
    assert (
        dict(some.lines)["energy in mask"]
        == f"{some.numbers['energy in mask']:.3f} (chance {share:.3f})"
    )
    unmasked = explorer_panel(
        explorer_data(**inputs | {"masks": None}), state(("evidence", "student"))
    ).views[0]
    assert np.isnan(unmasked.numbers["energy in mask"])
    assert "energy in mask" not in dict(unmasked.lines)


def test_data_that_do_not_belong_together_are_named(inputs):
    for change, message in [
        ({"models": {}}, "at least one model"),
        ({"targets": [0, 1, 7]}, r"from 0 to 2.*got targets \[0, 1, 7\]"),
        ({"pixels": inputs["pixels"][:1]}, "need pixels"),
        ({"masks": inputs["masks"][:1]}, "masks must be"),
    ]:
        with pytest.raises(UserError, match=message):
            explorer_data(**inputs | change)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image", 3, "image must lie between 0 and 2, got 3"),
        ("opacity", 1.5, "opacity must lie between 0 and 1"),
        ("a", ("x", "student", 0), "method of a must be one of average map, .*got 'x'"),
        (
            "b",
            ("evidence", "pupil", 0),
            "model of b must be one of student, twin, teacher, got 'pupil'",
        ),
        ("b", ("evidence", "twin", 3), "target of b must lie between -1 and 2, got 3"),
    ],
)
def test_the_widget_refuses_what_is_not_there(data, name, value, message):
    widget = ExplanationExplorer(data)
    before = widget.state
    with pytest.raises(UserError, match=message):
        setattr(widget, name, value)
    with pytest.raises(UserError, match=message):
        widget.set_state({name: value})
    assert widget.state == before
    with pytest.raises(UserError, match=message):
        explorer_panel(
            data, replace(widget.state, **{name: Choice(*value) if name in "ab" else value})
        )


def test_the_widget_answers_with_what_python_computes(inputs):
    fresh = explorer_data(**inputs)
    widget, sent = ExplanationExplorer(fresh), []
    assert widget.state == first_states(fresh)[0]
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    question = {
        "ask": "panel",
        "image": 1,
        "a": ["gradcam", "twin", 0],
        "b": ["SHAP deep", "teacher", -1],
    }
    widget._answer(widget, question, [])
    widget.worker.join()
    busy, (message, buffers) = [m["busy"] for m, _ in sent[:-1]], sent[-1]
    assert busy == ["computing Grad-CAM of the twin …", "computing SHAP deep of the teacher …"]
    shown = explorer_panel(fresh, state(("gradcam", "twin", 0), ("SHAP deep", "teacher"), image=1))
    assert message["to"] == question and message["sentence"] == shown.sentence
    assert message["views"][0]["high"] == number(shown.views[0].high)
    assert message["views"][1]["refusal"] == shown.views[1].refusal != ""
    assert buffers[0] == inputs["pixels"][1].tobytes()
    assert buffers[2] == shown.views[0].indices.tobytes()
    assert buffers[1] == inputs["masks"][1].tobytes() and len(buffers[3]) == 0
    widget._answer(widget, question, [])
    assert len(sent) == 4, "now it is known: no waiting"
    widget._answer(widget, {"ask": "other"}, [])
    assert len(sent) == 4
    widget.a = ("evidence", "twin", 2)  # as a list from the browser, as a tuple from Python
    widget.set_state({"b": ["occlusion", "student", -1], "image": 2})
    assert widget.state == state(("evidence", "twin", 2), ("occlusion", "student"), image=2)
    assert widget.panel().sentence == explorer_panel(fresh, widget.state).sentence


SLOW_QUESTION = {
    "ask": "panel",
    "image": 0,
    "a": ["SHAP gradient", "twin", 1],
    "b": ["evidence", "twin", 1],
}


def test_a_slow_map_can_be_stopped_and_asked_again(inputs):
    fresh = explorer_data(**inputs)
    widget, sent = ExplanationExplorer(fresh), []

    def send(content, buffers=None):
        sent.append(content)
        if "busy" in content:
            widget._answer(widget, {"ask": "stop"}, [])  # before the first pass of the model

    widget.send = send
    widget._answer(widget, SLOW_QUESTION, [])
    widget.worker.join()
    assert [set(content) - {"to"} for content in sent] == [{"busy"}, {"stopped"}]
    assert fresh.known == {}
    widget.send = lambda content, buffers=None: sent.append(content)
    widget._answer(widget, SLOW_QUESTION, [])
    widget.worker.join()
    assert sent[-1]["to"] == SLOW_QUESTION and "views" in sent[-1]
    (direct,) = explain(
        "SHAP gradient",
        inputs["models"]["twin"],
        inputs["images"][:1],
        torch.tensor([1]),
        inputs["context"],
    ).maps
    np.testing.assert_allclose(fresh.known["SHAP gradient", "twin", 0, 1].values, direct)


def test_two_views_of_one_explorer_are_stopped_together(inputs):
    """Both ask the same question; it is computed once, and each work can be stopped."""
    fresh = explorer_data(**inputs)
    widget, sent = ExplanationExplorer(fresh), []
    go_on = Event()

    def send(content, buffers=None):
        sent.append(content)
        if "busy" in content:
            assert go_on.wait(60)

    widget.send = send
    workers = []
    for asked in (SLOW_QUESTION, SLOW_QUESTION, SLOW_QUESTION | {"image": 1}, SLOW_QUESTION):
        widget._answer(widget, asked, [])
        workers.append(widget.worker)
    assert workers[0] is workers[1] and workers[2] is workers[3] is not workers[0]
    widget._answer(widget, {"ask": "stop"}, [])
    widget._answer(widget, SLOW_QUESTION, [])  # anew: the first one ends without an answer
    assert widget.worker not in workers
    widget._answer(widget, {"ask": "stop"}, [])
    go_on.set()
    for worker in {*workers, widget.worker}:
        worker.join()
    assert [content["stopped"] for content in sent if "stopped" in content] == ["Stopped."] * 3
    assert fresh.known == {} and not any("views" in content for content in sent)


def test_the_saved_state_holds_no_maps(data):
    widget = ExplanationExplorer(data)
    kept = widget.get_state(drop_defaults=False)
    own = {name: value for name, value in kept.items() if not name.startswith("_")}
    assert len(str(own)) < 10_000


def test_static_twin_and_table_show_the_same_numbers(data):
    states = [
        *first_states(data),
        state(("SHAP gradient", "twin"), ("gradcam", "teacher", 2), image=1),
    ]
    picture, table = static_explorer(data, states), explorer_table(data, states)
    texts = [
        (ax.get_title(), ax.get_xlabel(), "".join(t.get_text() for t in ax.texts))
        for ax in picture.figure.axes
    ]
    assert len(table) == 2 * len(states) == len(texts) and picture.pixels
    for i, one in enumerate(states):
        shown = explorer_panel(data, one)
        assert shown.sentence.replace("\n", ". ") in picture.alt
        for row, (side, view, choice) in enumerate(
            zip("AB", shown.views, (one.a, one.b), strict=True)
        ):
            title, below, over = texts[row * len(states) + i]
            assert title == f"{side}: {view.title}".replace(", ", "\n")
            assert all(f"{what}: {text}" in below for what, text in view.lines)
            assert view.refusal.split() == over.split()
            line = table.iloc[2 * i + row]
            assert (line["image"], line["side"], line["method"], line["model"]) == (
                data.titles[one.image],
                side,
                choice.method,
                choice.model,
            )
            np.testing.assert_array_equal(
                line[list(view.numbers)].astype(float), list(view.numbers.values())
            )
            np.testing.assert_array_equal(
                line[list(AGREEMENTS)].astype(float), list(shown.agreement.values())
            )
    plt.close(picture.figure)
