"""An analysis's tables can be computed again from the networks, its words hold their numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.number_text import number, plus
from kdnb.core.runs import Run
from kdnb.core.statistics import softmax
from kdnb.feature_maps import layer_tables
from kdnb.feature_maps.ablation import channel_means
from kdnb.feature_maps.cam import cams
from kdnb.feature_maps.layer_analysis import (
    FITTED,
    KS,
    SCORED,
    LayerAnalysis,
    analyse_layers,
    find_layer_analysis,
)
from kdnb.feature_maps.layer_report import class_report, image_report
from kdnb.feature_maps.layer_tables import ledger_table
from kdnb.feature_maps.ledger import decision_ledger
from kdnb.feature_maps.maps import to_size
from kdnb.feature_maps.mask_metrics import energy_in_mask
from kdnb.feature_maps.probes import early_decisions, fit_probes
from kdnb.feature_maps.receptive_field import receptive_fields
from kdnb.training.taps import features
from kdnb.widgets.image_page import analysed_stepper_data, write_image_page
from kdnb.widgets.stepper_numbers import StepperState, stepper_panel

TAPS = [f"conv{i}" for i in range(1, 6)]


@pytest.fixture(scope="module")
def reading(study):
    return analyse_layers(study)


@pytest.fixture(scope="module")
def one(study, reading):
    rows = study.sample(1)
    return image_report(reading, study.images(rows), target=int(study.targets(rows)[0]))


def stepper_data_of(study, reading, rows):
    """What the stepper shows of some images of the study, each titled by its row."""
    return analysed_stepper_data(
        reading,
        study.student_model,
        study.teacher_model,
        study.images(rows),
        study.image_set.pixels[rows],
        study.targets(rows),
        [str(row) for row in rows],
    )


def test_it_is_measured_once(study, reading):
    assert analyse_layers(study).run.reused and analyse_layers(study).run.id == reading.run.id
    assert find_layer_analysis(study.settings, study.student.id[:6]).run.id == reading.run.id


def test_every_network_has_its_rows(reading):
    probes, cka = reading.table("probes"), reading.table("cka")
    assert probes.groupby("model").size().to_dict() == {
        "KD student": 5,
        "label-only student": 5,
        "teacher": 5,
    }
    # the untrained student has the student's taps, not the teacher's
    assert probes["untrained"].notna().sum() == 10
    assert probes[["accuracy", "control"]].stack().between(0, 1).all()
    assert len(cka) == 3 * 25 and cka["cka"].max() <= 1 + 1e-6
    same = cka[(cka["model"] == "label-only student") & (cka["tap"] == cka["other_tap"])].set_index(
        "tap"
    )["cka"]
    assert same["conv1"] > 0.5  # both start from the same weights


def test_the_ledger_adds_up_over_all_test_images(study, reading):
    table = reading.table("ledger")
    assert table["largest_residual"].max() <= 1e-4
    assert table["images"].min() == len(study.sample(SCORED))
    np.testing.assert_allclose(
        table["supporting"] + table["opposing"] + table["bias"], table["logit"], atol=1e-3
    )
    rows = study.sample(SCORED)
    model, images = study.student_model, study.images(rows)
    again = (
        decision_ledger(model, images, model(images).argmax(1))
        .table()
        .groupby("tap")["bias"]
        .mean()
    )
    own = table[table["model"] == "KD student"].set_index("tap")["bias"]
    np.testing.assert_allclose(own, again, rtol=1e-4, atol=1e-6)


def test_folded_probes_are_those_of_scikit_learn(study, reading):
    train, test, model = study.sample(FITTED, "train"), study.sample(SCORED), study.student_model
    probes = fit_probes(features(model, study.images(train)), study.targets(train).numpy())
    decoded, seen = reading.decoded(model, study.images(test)), features(model, study.images(test))
    for layer, tap in enumerate(TAPS):
        np.testing.assert_allclose(
            decoded[layer], probes[tap].predict_proba(seen[tap].astype(float)), atol=1e-5
        )
    final = model(study.images(test)).argmax(1).numpy()
    assert reading.early["layer"].tolist() == early_decisions(decoded.argmax(2), final).tolist()
    accuracy = reading.table("probes").query("model == 'KD student'")["accuracy"]
    right = (decoded.argmax(2) == study.targets(test).numpy()).mean(1)
    np.testing.assert_allclose(accuracy, right, atol=1e-6)


def test_ablation_and_channels_name_what_is_there(study, reading):
    ablation, channels = reading.table("ablation"), reading.table("channels")
    assert ablation["tap"].unique().tolist() == TAPS and set(ablation["k"]) == set(KS)
    assert ablation[["ranked", "random"]].abs().max().max() <= 1
    ranked = channels.groupby(["class", "tap"])["contribution"]
    assert ranked.apply(lambda c: c.is_monotonic_decreasing).all() and (ranked.size() == 10).all()
    assert set(channels["class"]) <= set(study.image_set.classes)


def test_the_report_of_an_image_accounts_for_its_logit(study, one):
    table = one.table.set_index("tap")
    assert table.index.tolist() == TAPS
    np.testing.assert_allclose(
        table["supporting"] + table["opposing"] + table["bias"], table["logit"], atol=1e-4
    )
    assert table["field"].tolist() == receptive_fields(study.student_model, 32)["field"].tolist()


def test_the_drop_is_that_of_a_whole_forward_pass(study, reading, one):
    image, train = study.images(study.sample(1)), study.images(study.sample(FITTED, "train"))
    mean = channel_means(study.student_model, train)
    strongest = [int(c) for c in one.table.set_index("tap").loc["conv3", "strongest"].split()]

    def cut(_module, _inputs, output):
        output = output.clone()
        output[:, strongest] = mean["conv3"][strongest][:, None, None]
        return output

    with torch.no_grad():
        before = softmax(study.student_model(image).double().numpy())[0]
        handle = study.student_model.block3.relu.register_forward_hook(cut)
        after = softmax(study.student_model(image).double().numpy())[0]
        handle.remove()
    k = int(before.argmax())
    assert one.table.set_index("tap").loc["conv3", "drop"] == pytest.approx(
        before[k] - after[k], abs=1e-5
    )


def test_the_words_hold_the_numbers_of_the_table(one):
    assert len(one.sentences) == 6 and "The teacher says" in one.sentences[0]
    for row, words in zip(one.table.to_dict("records"), one.sentences[1:], strict=True):
        shown = [plus(row["logit"]), plus(row["bias"]), number(row["opposing"]), plus(-row["drop"])]
        shown += [
            row["tap"],
            row["cells"],
            row["probe_says"],
            row["strongest"],
            f"{row['probe_accuracy']:.0%}",
        ]
        assert all(text in words for text in shown)


def test_the_report_holds_the_numbers_of_the_stepper(study, reading, one):
    data = stepper_data_of(study, reading, study.sample(1))
    answer = int(data.models[0].logits[0].argmax())
    for layer, row in enumerate(one.table.to_dict("records"), start=1):
        pane = stepper_panel(data, StepperState(layer=layer, target=answer)).panes[0]
        assert (row["peak_row"], row["peak_column"]) == tuple(place + 1 for place in pane.peak)
        bars = pane.bars[layer - 1]._asdict()
        np.testing.assert_allclose([row[name] for name in bars], list(bars.values()), rtol=1e-5)
        order = np.argsort(-data.models[0].contributions[layer - 1][0, answer], kind="stable")
        assert row["strongest"] == " ".join(map(str, order[:5]))


def test_a_class_may_be_called_0_and_half_of_its_images_decided_nowhere(tmp_path):
    made = LayerAnalysis(Run("reading", "x", tmp_path))
    made.__dict__["facts"] = {"classes": ["0", "None", "gone"]}
    early = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "class": ["0", "0", "None", "None"],
            "predicted": ["0", "None", "None", "None"],
            "layer": [1, 2, 3, 3],
        }
    )
    early.to_csv(tmp_path / "early.csv", index=False)
    channels = pd.DataFrame(
        {"class": ["0", "None"] * 2, "tap": ["a", "a", "b", "b"], "channel": 0, "contribution": 1.0}
    )
    channels.to_csv(tmp_path / "channels.csv", index=False)
    said = {name: class_report(made, name)[1] for name in made.facts["classes"]}
    assert said["gone"] == "gone: no test images"
    assert said["0"].startswith(
        "0: 2 test images, the student is right on 50%. 100% of them are decided at layer 2 or"
    )
    assert said["None"].startswith(
        "None: 2 test images, the student is right on 100%. On most of them even the last probe"
    )


def test_a_class_is_read_over_its_test_images(study, reading):
    name = study.image_set.classes[0]
    channels, words = class_report(reading, name)
    assert set(channels["class"]) == {name} and words.startswith(f"{name}: ")
    with pytest.raises(UserError, match=f"class must be one of {name}.*, got 'toothache'"):
        class_report(reading, "toothache")


def test_the_stepper_knows_what_the_reading_knows(study, reading):
    rows = study.sample(3)
    data = stepper_data_of(study, reading, rows)
    probes = reading.table("probes")
    for m, name in zip(data.models, ("KD student", "teacher"), strict=True):
        assert m.readings["probe"].tolist() == probes[probes["model"] == name]["accuracy"].tolist()
        assert m.readings["CKA"].between(-1, 1 + 1e-6).all()
    early = reading.early.set_index("image_id")["layer"]
    assert data.early == tuple(early[study.image_set.table["image_id"].iloc[rows]])
    assert data.provenance["student"] == study.student.id


@pytest.mark.slow
def test_an_image_file_becomes_a_page(study, reading, tmp_path):
    Image.fromarray(study.image_set.pixels[0]).resize((90, 70)).save(tmp_path / "scan.png")
    report = write_image_page(
        reading, tmp_path / "scan.png", tmp_path / "page" / "scan.html", study.settings
    )
    page = (tmp_path / "page" / "scan.html").read_text()
    assert all(sentence.replace("'", "&#x27;") in page for sentence in report.sentences)
    assert "kdnb-stepper" in page
    assert "http://" not in page and "https://" not in page  # nothing is loaded
    for name, content, message in (
        ("no.png", None, "No such file"),
        ("bad.png", b"tea", "not an image"),
        ("/dev/zero", None, "is a device, not a file"),
    ):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"cannot be read as an image .*{message}"):
            write_image_page(reading, tmp_path / name, tmp_path / "x.html", study.settings)


def test_unknown_and_lost_runs_are_said(study, reading, tmp_path, monkeypatch):
    for wanted in "", "zzzz":
        with pytest.raises(
            UserError,
            match=f"run must be the id of a student read in notebook 04.*{study.student.id}",
        ):
            find_layer_analysis(study.settings, wanted)
    empty = study.settings.model_copy(update={"runs_dir": str(tmp_path)})
    with pytest.raises(UserError, match="none: run notebook 04 first"):
        find_layer_analysis(empty, "ab")
    (tmp_path / "reading").mkdir()
    lost = type(reading)(Run("reading", reading.run.id, tmp_path / "reading" / reading.run.id))
    lost.__dict__["facts"] = reading.facts
    with pytest.raises(UserError, match="the student's run .* is gone"):
        lost.networks(torch.device("cpu"))


def test_networks_without_an_exact_ledger_are_left_out(study, monkeypatch):
    def refuse(*_):
        raise UserError("the ledger is not exact")

    monkeypatch.setattr(layer_tables, "decision_ledger", refuse)
    models = {
        "KD student": study.student_model,
        "label-only student": study.label_only_model,
        "teacher": study.teacher_model,
    }
    assert len(ledger_table(study, models, study.sample(2))) == 0


def test_the_report_says_how_much_evidence_lies_inside_the_outline(study, reading, one):
    rows = study.sample(1)
    image = study.images(rows)
    masks = study.masks(rows)
    report = image_report(reading, image, mask=masks[0])
    answer = study.student_model(image).argmax(1)
    for tap, maps in cams(study.student_model, image, answer, "hirescam").items():
        found = energy_in_mask(to_size(maps, masks.shape[1]).cpu().numpy(), masks)
        inside = report.table.set_index("tap").loc[tap, "inside"]
        assert inside == pytest.approx(found[0], nan_ok=True)
    assert f"which covers {masks[0].mean():.1%} of the image." in report.sentences[1]
    assert one.table["inside"].isna().all() and "outline" not in " ".join(one.sentences)
    everything = image_report(reading, image, mask=np.ones_like(masks[0]))
    assert "outline" not in " ".join(everything.sentences)
