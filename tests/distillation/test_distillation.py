from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.core.statistics import softmax
from kdnb.data.transforms import batches
from kdnb.distillation.losses import (
    LOSSES,
    attention_loss,
    dkd_loss,
    kd_loss,
    soft_gradient,
    soft_loss,
    standardised_loss,
    usable_losses,
)
from kdnb.distillation.teacher_logits import (
    cache_logits,
    controlled_logits,
    train_teacher_or_control,
)
from kdnb.distillation.train_student import train_student
from kdnb.training.train_teacher import load_teacher


def reference(student, teacher, targets, alpha, temperature):
    """Independent: numpy, float64, sums written out."""

    def log_softmax(z):
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    hard = -log_softmax(student)[np.arange(len(targets)), targets].mean()
    log_s, log_t = log_softmax(student / temperature), log_softmax(teacher / temperature)
    soft = (np.exp(log_t) * (log_t - log_s)).sum(axis=1).mean()
    return alpha * hard + (1 - alpha) * temperature**2 * soft


def logits(classes=4, seed=0, batch=8):
    rng = np.random.default_rng(seed)
    return (
        3 * rng.normal(size=(batch, classes)),
        3 * rng.normal(size=(batch, classes)),
        rng.integers(classes, size=batch),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(0, 99), st.floats(0, 1), st.floats(0.5, 50))
def test_kd_loss_equals_the_reference(classes, seed, alpha, temperature):
    student, teacher, targets = logits(classes, seed)
    ours = kd_loss(
        torch.tensor(student), torch.tensor(teacher), torch.tensor(targets), alpha, temperature
    ).item()
    assert abs(ours - reference(student, teacher, targets, alpha, temperature)) <= 1e-6
    single = [torch.tensor(z, dtype=torch.float32) for z in (student, teacher)]
    assert kd_loss(*single, torch.tensor(targets), alpha, temperature).item() == pytest.approx(
        ours, rel=1e-4, abs=1e-4
    )


def test_ends_of_alpha():
    student, teacher, targets = map(torch.tensor, logits())
    cross = torch.nn.functional.cross_entropy(student, targets)
    assert kd_loss(student, teacher, targets, 1.0, 7.0) == cross
    assert kd_loss(student, teacher, targets, 0.0, 7.0) == soft_loss(student, teacher, 7.0)
    assert soft_loss(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-9)


def test_gradient_stays_the_same_size_when_the_temperature_grows():
    student, teacher, targets = map(torch.tensor, logits())
    lengths = [soft_gradient(kd_loss, student, teacher, targets, t) for t in (10.0, 20.0, 40.0)]
    assert max(lengths) < 1.2 * min(lengths)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 15.0])
@pytest.mark.parametrize("name", LOSSES)
def test_liveness(name, temperature):
    student, teacher, targets = map(torch.tensor, logits())
    gradient = soft_gradient(LOSSES[name], student, teacher, targets, temperature)
    assert gradient == 0.0 if name == "as_coded" else gradient > 0


def dkd_reference(student, teacher, targets, temperature):
    """Independent: numpy, float64, all written out (arXiv 2203.08679, equations 2 to 7)."""
    total = 0.0
    for s, t, y in zip(student / temperature, teacher / temperature, targets, strict=True):
        p_s, p_t = (np.exp(z) / np.exp(z).sum() for z in (s, t))
        others = np.arange(len(s)) != y
        b_s, b_t = (np.array([p[y], p[others].sum()]) for p in (p_s, p_t))
        hat_s, hat_t = (p[others] / p[others].sum() for p in (p_s, p_t))
        total += (b_t * np.log(b_t / b_s)).sum() + 8 * (hat_t * np.log(hat_t / hat_s)).sum()
    return temperature**2 * total / len(targets)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(0, 99), st.floats(0, 1), st.floats(0.8, 30))
def test_dkd_equals_the_reference(classes, seed, alpha, temperature):
    student, teacher, targets = logits(classes, seed)
    cross = torch.nn.functional.cross_entropy(torch.tensor(student), torch.tensor(targets)).item()
    expected = alpha * cross + (1 - alpha) * dkd_reference(student, teacher, targets, temperature)
    ours = dkd_loss(
        torch.tensor(student), torch.tensor(teacher), torch.tensor(targets), alpha, temperature
    ).item()
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["dkd", "standardised"])
def test_losses_that_two_classes_would_silence_are_refused(name):
    student, teacher, targets = map(torch.tensor, logits(classes=2))
    with pytest.raises(UserError, match=f"'{name}' needs at least 3 classes, got 2: use 'kd'"):
        LOSSES[name](student, teacher, targets, 0.5, 2.0)
    assert list(usable_losses(2)) == ["kd", "as_coded"] and usable_losses(3) == LOSSES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control": "shuffled", "loss": "attention"}, "'shuffled' changes cached answers"),
        ({"control": "smoothing", "loss": "standardised"}, "'smoothing' sets the size of logits"),
        ({"student": "as_coded", "width": 0.5}, "width is for student 'five_conv', got 0.5"),
        (
            {"student": "as_coded", "widths": [1.0, 0.5]},
            "width is for student 'five_conv', got 0.5",
        ),
        (
            {"controls": ["random", "shuffled"], "loss": "attention"},
            "'shuffled' changes cached answers",
        ),
        ({"loss": "attention", "temperatures": [1.0, 5.0]}, "'attention' has no temperature"),
        ({"mixup": True, "loss": "dkd"}, "'dkd' needs one class per image"),
        ({"mixup": True, "control": "smoothing"}, "'smoothing' goes by the class of an image"),
    ],
)
def test_combinations_without_a_meaning_are_refused(study, change, message):
    with pytest.raises(UserError, match=message):
        Settings.checked(dict(study.settings) | change)  # before anything is trained
    with pytest.raises(UserError, match=message):
        train_student(
            study.settings.model_copy(update=change), study.image_set, study.teacher, study.device
        )
    with pytest.raises(UserError, match="'shuffled' changes cached answers"):
        shuffled = study.settings.model_copy(update={"control": "shuffled"})
        train_student(shuffled, study.image_set, study.teacher, study.device, online=True)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 12), st.integers(0, 99), st.floats(0.8, 30), st.floats(0.1, 9), st.floats(-5, 5)
)
def test_standardised_loss_equals_the_reference_and_forgets_size_and_shift(
    classes, seed, temperature, size, shift
):
    student, teacher, targets = logits(classes, seed)
    scaled = [(z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True) for z in (student, teacher)]
    expected = reference(*scaled, targets, 0.0, temperature)
    tensors = [torch.tensor(x) for x in (student, teacher, targets)]
    assert standardised_loss(*tensors, 0.0, temperature).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )
    moved = standardised_loss(
        tensors[0], size * tensors[1] + shift, tensors[2], 0.0, temperature
    ).item()
    assert moved == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_attention_loss_equals_the_formula():
    generator = torch.Generator().manual_seed(0)
    ours = {
        "a": torch.rand(3, 5, 8, 8, generator=generator),
        "b": torch.rand(3, 6, 4, 4, generator=generator),
    }
    theirs = {
        "x": torch.rand(3, 7, 8, 8, generator=generator),
        "y": torch.rand(3, 2, 4, 4, generator=generator),
    }
    expected = 0.0
    for a, b in zip(ours.values(), theirs.values(), strict=True):
        for i in range(3):
            q = [(m[i] ** 2).sum(0).flatten().numpy() for m in (a, b)]
            q = [v / np.linalg.norm(v) for v in q]
            expected += ((q[0] - q[1]) ** 2).sum() / 3
    assert attention_loss(ours, theirs).item() == pytest.approx(expected, rel=1e-5)
    assert attention_loss(
        ours, {k: 3 * v.repeat(1, 2, 1, 1) for k, v in ours.items()}
    ).item() == pytest.approx(0, abs=1e-6)


def test_taps_are_matched_by_the_size_of_their_maps():
    a, b, x, y = (
        torch.rand(2, channels, side, side) for channels, side in ((3, 8), (3, 4), (9, 4), (9, 2))
    )
    assert (
        attention_loss({"a": a, "b": b}, {"x": x, "y": y}) == attention_loss({"b": b}, {"x": x}) > 0
    )
    with pytest.raises(
        UserError,
        match=r"no two taps have maps of one size: student {'a': \(2, 3, 8, 8\)}, teacher",
    ):
        attention_loss({"a": a}, {"x": x})


def test_no_gradient_reaches_the_teacher():
    student, teacher, targets = (torch.tensor(x) for x in logits())
    student.requires_grad_(), teacher.requires_grad_()
    kd_loss(student, teacher, targets, 0.5, 2.0).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.1}, "alpha must be a number in"),
        ({"temperature": 0.0}, "temperature must be a number above 0, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be a number above 0, got nan"),
        ({"teacher": torch.zeros(8, 3)}, r"one shape, got \(8, 4\) and \(8, 3\)"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_bad_arguments(name, change, message):
    student, teacher, targets = map(torch.tensor, logits())
    good = {
        "student": student,
        "teacher": teacher,
        "targets": targets,
        "alpha": 0.5,
        "temperature": 2.0,
    }
    with pytest.raises(UserError, match=message):
        LOSSES[name](**{**good, **change})


@pytest.mark.parametrize("mixup", [False, True])
def test_cached_logits_equal_the_teacher_online(study, mixup):
    settings = study.settings.model_copy(update={"mixup": mixup})
    cache = cache_logits(settings, study.image_set, study.teacher, study.device)
    stored = np.load(cache.path("logits.npy"))
    rows = study.image_set.rows("train")
    teacher = load_teacher(study.teacher, 4, study.device)
    for view in range(settings.views):
        shown = batches(study.image_set, rows, 4, seed=0, epoch=3, view=view, mixup=mixup)
        for batch in shown:
            with torch.inference_mode():
                online = teacher(batch.images)
            assert np.abs(stored[view, batch.rows] - online.numpy()).max() <= 1e-4
    assert np.isnan(stored[:, study.image_set.rows("test")]).all()
    assert not np.allclose(stored[0, rows], stored[1, rows])


def test_label_only_student_needs_no_teacher_and_temperature_changes_the_kd_student(study):
    control = train_student(study.settings, study.image_set, study.teacher, study.device, alpha=1.0)
    warmer = study.settings.model_copy(update={"temperature": 2.0})
    assert (
        train_student(warmer, study.image_set, study.teacher, study.device, alpha=1.0).id
        == control.id
    )
    assert (
        train_student(warmer, study.image_set, study.teacher, study.device).id != study.student.id
    )
    assert train_student(warmer, study.image_set, None, study.device, alpha=1.0).id == control.id
    with pytest.raises(UserError, match="alpha 0.7 needs a teacher"):
        train_student(warmer, study.image_set, None, study.device)
    spec = control.json("spec.json")
    assert spec["upstream"] == [study.image_set.hash] and spec["parameters"]["loss"] == "labels"


@pytest.mark.slow
def test_online_teacher_gives_the_same_student(study):
    online = train_student(
        study.settings, study.image_set, study.teacher, study.device, online=True
    )
    histories = [
        np.genfromtxt(r.path("history.csv"), delimiter=",", names=True)
        for r in (study.student, online)
    ]
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(*(h[name] for h in histories), rtol=1e-2, atol=1e-3)
    assert online.id != study.student.id


def weights(run):
    from safetensors.torch import load_file

    return load_file(run.path("model.safetensors"))


@pytest.mark.parametrize(("loss", "same"), [("as_coded", True), ("kd", False)])
def test_temperature_reaches_the_student_unless_the_loss_is_dead(study, loss, same):
    runs = []
    for temperature in (5.0, 15.0):
        chosen = study.settings.model_copy(
            update={"loss": loss, "temperature": temperature, "student_epochs": 1}
        )
        runs.append(train_student(chosen, study.image_set, study.teacher, study.device))
    a, b = map(weights, runs)
    assert runs[0].id != runs[1].id and all(torch.equal(a[k], b[k]) for k in a) == same


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"loss": "dkd"},
        {"loss": "standardised"},
        {"loss": "attention"},
        {"control": "shuffled"},
        {"control": "random"},
        {"control": "smoothing"},
        {"control": "early", "teacher_epochs": 8},
        {"student": "as_coded"},
        {"width": 0.25},
        {"mixup": True},
    ],
    ids=str,
)
def test_every_way_trains_a_student_of_its_own(study, change):
    chosen = study.settings.model_copy(update={**change, "student_epochs": 1})
    teacher = train_teacher_or_control(chosen, study.image_set, study.device)
    run = train_student(chosen, study.image_set, teacher, study.device)
    plain = train_student(
        study.settings.model_copy(update={"student_epochs": 1}),
        study.image_set,
        study.teacher,
        study.device,
    )
    assert run.id != plain.id and np.isfinite(np.load(run.path("logits.npz"))["test"]).all()
    a, b = weights(run), weights(plain)
    assert a.keys() != b.keys() or any(
        a[k].shape != b[k].shape or not torch.equal(a[k], b[k]) for k in a
    )


def test_shuffled_teacher_answers_for_another_image_of_the_class():
    rng = np.random.default_rng(0)
    answers, targets = rng.normal(size=(2, 40, 4)).astype(np.float32), rng.integers(0, 4, 40)
    answers[:, 30:] = np.nan
    mixed = controlled_logits(answers, targets, "shuffled", 4.0, seed=1)
    assert np.isnan(mixed[:, 30:]).all()
    assert (mixed[:, :30] != answers[:, :30]).any(axis=2).all(), "none keeps its own"
    for label in range(4):
        rows = np.flatnonzero(targets[:30] == label)
        assert sorted(map(tuple, mixed[0, rows])) == sorted(map(tuple, answers[0, rows]))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 15.0])
def test_smoothing_is_as_soft_as_the_teacher(temperature):
    rng = np.random.default_rng(0)
    answers, targets = 3 * rng.normal(size=(2, 40, 4)).astype(np.float32), rng.integers(0, 4, 40)
    smooth = controlled_logits(answers, targets, "smoothing", temperature)

    def entropy(z):
        p = softmax(z.reshape(-1, 4), temperature)
        return -(p * np.log(p)).sum(1).mean()

    assert entropy(smooth) == pytest.approx(entropy(answers), rel=1e-4)
    assert (smooth.argmax(2) == targets).all()
    sure = np.float32(1e4) * np.eye(4, dtype=np.float32)[targets][None]
    assert np.isfinite(controlled_logits(sure, targets, "smoothing", temperature)).all()


def test_a_teacher_of_other_images_is_refused(study):
    other = study.settings.model_copy(update={"split": "random"})
    from kdnb.data.dataset import load

    with pytest.raises(
        UserError,
        match="trained on another image set, split or size than phantom_brain, random, 32 px",
    ):
        train_student(other, load(other), study.teacher, study.device)
