from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from math import nan

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from kdnb.core.errors import UserError
from kdnb.core.runs import Run
from kdnb.core.settings import Settings
from kdnb.data.transforms import Batch, batches
from kdnb.training.fit import Schedule, fit, label_loss, labels, predict, save_logits, saved_logits
from kdnb.training.students import make_student
from kdnb.training.train_teacher import train_teacher

# the package gives two functions the names of their modules
fit_module = import_module("kdnb.training.fit")
train_teacher_module = import_module("kdnb.training.train_teacher")
CPU = torch.device("cpu")
PLAN = Schedule(epochs=3, batch_size=16, learning_rate=2e-3, views=2, seed=0)


def train(study, folder, stop_after=None):
    """Train a quarter-width student in ``folder``.

    Optionally break off in the epoch after ``stop_after``.
    """
    folder.mkdir(exist_ok=True)
    epochs = {"seen": 0}

    def loss(logits, batch):
        epochs["seen"] += logits.requires_grad
        if stop_after is not None and epochs["seen"] > stop_after * 2:
            raise KeyboardInterrupt
        return label_loss(logits, batch)

    model = make_student(4, seed=0, width=0.25)
    return model, fit(model, study.image_set, loss, PLAN, Run("student", "x", folder), CPU)


def test_learns_and_leaves_a_history(study, tmp_path, capsys):
    model, history = train(study, tmp_path / "a")
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert len(pd.read_csv(tmp_path / "a" / "history.csv")) == 3
    assert not model.training
    assert capsys.readouterr().out.count("student epoch") == 3  # one line per epoch in a log


@pytest.mark.parametrize(
    ("losses", "best"), [((0.5, 0.2, 0.9), 1), ((nan, 0.7, 0.8), 1), ((0.4, nan, 0.4), 2)]
)
def test_the_weights_of_the_best_validation_loss_are_kept(
    study, tmp_path, monkeypatch, losses, best
):
    weights = []

    def validate(model, *_):
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"val_loss": losses[len(weights) - 1], "val_accuracy": 0.5}

    monkeypatch.setattr(fit_module, "_validate", validate)
    model, _ = train(study, tmp_path / "a")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[best][name]), f"epoch {best + 1} was the best"
    assert not torch.equal(weights[0]["classifier.weight"], weights[1]["classifier.weight"])


def test_a_training_without_a_finite_loss_is_refused(study, tmp_path, monkeypatch):
    found = {"val_loss": nan, "val_accuracy": 0.25}
    monkeypatch.setattr(fit_module, "_validate", lambda *_: found)
    with pytest.raises(UserError, match="student training diverged .* lower learning_rate, got"):
        train(study, tmp_path / "a")


@pytest.mark.parametrize("good", [0, 1])
def test_a_training_that_has_diverged_ends_at_once(study, tmp_path, capsys, good):
    """Weights that are no numbers never become any again; an epoch before them is kept."""
    steps = 0

    def loss(logits, batch):
        nonlocal steps
        steps += logits.requires_grad
        return label_loss(logits, batch) * (nan if steps > 2 * good else 1.0)

    model = make_student(4, seed=0, width=0.25)
    run = Run("student", "x", tmp_path)
    if not good:
        with pytest.raises(UserError, match="student training diverged .* lower learning_rate"):
            fit(model, study.image_set, loss, PLAN, run, CPU)
    else:
        history = fit(model, study.image_set, loss, PLAN, run, CPU)
        assert len(history) == 2
        assert all(weight.isfinite().all() for weight in model.parameters())
    assert f"diverged in epoch {good + 1}" in capsys.readouterr().out
    if good:  # killed now, before the run is done, it ends in the same way
        again = fit(make_student(4, seed=0, width=0.25), study.image_set, loss, PLAN, run, CPU)
        assert again["epoch"].tolist() == history["epoch"].tolist()


def test_a_mixed_image_has_both_labels_by_their_shares():
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
    batch = Batch(
        images=torch.zeros(2, 3, 8, 8),
        targets=torch.tensor([0, 1]),
        rows=torch.tensor([5, 6]),
        view=0,
        share=torch.tensor([0.75, 0.5]),
        partner_targets=torch.tensor([2, 1]),
    )
    assert torch.equal(labels(batch, 3), torch.tensor([[0.75, 0, 0.25], [0, 1, 0]]))
    own = cross_entropy(logits, batch.targets, reduction="none")
    other = cross_entropy(logits, batch.partner_targets, reduction="none")
    expected = (batch.share * own + (1 - batch.share) * other).mean()
    torch.testing.assert_close(label_loss(logits, batch), expected)


def test_pretrained_layers_move_less(study, tmp_path):
    moved = {}
    for rate in (1.0, 0.01):
        plan = replace(PLAN, epochs=1, pretrained_rate=rate, weight_decay=0.0)
        model = make_student(4, seed=0, width=0.25)
        before = model.block1.conv.weight.detach().clone()
        folder = tmp_path / f"{rate}"
        folder.mkdir()
        run = Run("teacher", "x", folder)
        pretrained = ["block1.conv.weight"]
        fit(model, study.image_set, label_loss, plan, run, CPU, pretrained=pretrained)
        moved[rate] = (model.block1.conv.weight - before).abs().mean().item()
    assert 0 < moved[0.01] < 0.1 * moved[1.0]


def test_options_of_later_versions_enter_ids_where_they_are_used():
    assert "mixup" not in PLAN.parameters and "pretrained_rate" not in PLAN.parameters
    used = replace(PLAN, mixup=True, pretrained_rate=0.1).parameters
    assert used == PLAN.parameters | {"mixup": True, "pretrained_rate": 0.1}


def test_resumed_training_ends_bit_equal(study, tmp_path):
    model, _ = train(study, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(study, tmp_path / "broken", stop_after=1)
    resumed, history = train(study, tmp_path / "broken")
    assert len(history) == 3
    for a, b in zip(model.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("kept", "left"), [(1, 0.5), (0, 0.5), (1, 0.0)])
def test_damaged_checkpoint_is_said_and_the_one_before_is_used(study, tmp_path, capsys, kept, left):
    model, _ = train(study, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(study, tmp_path / "broken", stop_after=2)
    for name in ("checkpoint.pt", "previous.pt")[: 2 - kept]:
        content = (tmp_path / "broken" / name).read_bytes()
        (tmp_path / "broken" / name).write_bytes(content[: int(left * len(content))])
    capsys.readouterr()
    resumed, history = train(study, tmp_path / "broken")
    said = capsys.readouterr().out
    assert said.count("is damaged") == 2 - kept and ("resumed after epoch 1" in said) == bool(kept)
    assert len(history) == 3
    for a, b in zip(model.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_schedule_warms_up_and_ends_at_zero():
    rates = [PLAN.rate(p / 100) for p in range(101)]
    assert max(rates) == pytest.approx(2e-3) and rates[0] < 1e-5 and rates[-1] == pytest.approx(0)


def test_predict_does_not_depend_on_the_batch_size_and_restores_the_mode(study):
    model = make_student(4, width=0.25).train()
    rows = study.image_set.rows("test")
    a, b = (predict(model, study.image_set, rows, size, CPU) for size in (2, 50))
    assert model.training and abs(a - b).max() < 1e-5


def test_the_test_part_is_opened_once_and_after_training(study, tmp_path, monkeypatch):
    test_rows = set(study.image_set.rows("test"))
    opened = []

    def seen(image_set, rows, *given, **named):
        opened.append(bool(test_rows & set(rows)))
        return batches(image_set, rows, *given, **named)

    monkeypatch.setattr(fit_module, "batches", seen)
    model, _ = train(study, tmp_path / "a")
    assert opened and not any(opened), "training sees no test image"
    run = Run("student", "x", tmp_path / "a")
    save_logits(model, study.image_set, PLAN, run, CPU)
    assert sum(opened) == 1 and opened[-1]
    assert saved_logits(run).shape == (len(test_rows), 4)


def test_a_kill_after_the_last_epoch_repeats_no_training(study, tmp_path, monkeypatch):
    model, history = train(study, tmp_path / "a")
    run = Run("student", "x", tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_module, "predict", interrupted)
        save_logits(model, study.image_set, PLAN, run, CPU)
    monkeypatch.setattr(fit_module, "_train_epoch", interrupted)
    again, same = train(study, tmp_path / "a")
    pd.testing.assert_frame_equal(same, history)
    save_logits(again, study.image_set, PLAN, run, CPU)
    assert not list(run.folder.glob("*.pt"))
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_teacher_that_is_there_is_found_without_a_look_at_weights(study, monkeypatch):
    monkeypatch.setattr(train_teacher_module, "resolve_weights", interrupted)
    assert train_teacher(study.settings, study.image_set, CPU).reused


def test_offline_imagenet_falls_back_and_says_so(monkeypatch, capsys):
    from kdnb.training import imagenet_weights

    def gone(name):
        raise UserError("no network")

    monkeypatch.setattr(imagenet_weights, "imagenet_state", gone)
    assert imagenet_weights.resolve_weights("auto") == "none"
    assert "starts from scratch" in capsys.readouterr().out
    with pytest.raises(UserError):
        imagenet_weights.resolve_weights("imagenet")
    assert (
        imagenet_weights.resolve_weights(Settings.checked({"profile": "smoke"}).weights) == "none"
    )


def test_weights_are_named_without_fetching_them(tmp_path, monkeypatch):
    from kdnb.training import imagenet_weights

    def fetch(name):
        raise AssertionError("a name fetches weights")

    monkeypatch.setattr(imagenet_weights, "imagenet_state", fetch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert [imagenet_weights.resolve_weights_offline(w) for w in ("none", "imagenet", "auto")] == [
        "none",
        "imagenet",
        "none",
    ]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "densenet121-a639ec97.pth").touch()  # torchvision's own name
    assert imagenet_weights.resolve_weights_offline("auto") == "imagenet"
    assert imagenet_weights.resolve_weights_offline("auto", "resnet50") == "none"


def test_a_finished_run_keeps_no_checkpoint(study):
    assert not list(study.teacher.folder.glob("*.pt"))


def test_a_teacher_seed_gives_another_teacher_of_the_same_images(study):
    other = train_teacher(
        study.settings.model_copy(update={"teacher_seed": 1}), study.image_set, CPU
    )
    again = train_teacher(study.settings, study.image_set, CPU)
    assert again.id == study.teacher.id != other.id
    assert saved_logits(other).shape == saved_logits(again).shape
    assert abs(saved_logits(other) - saved_logits(again)).max() > 0.01
