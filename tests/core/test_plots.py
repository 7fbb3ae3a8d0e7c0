from __future__ import annotations

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.model_names import MODELS
from kdnb.core.pareto import pareto
from kdnb.core.plots import GREY, MODEL_COLOURS, colours_of, png_of, png_uri, score_bars, show
from kdnb.core.report import publish, write_report
from kdnb.core.results_folder import Results
from kdnb.core.runs import read_json, write_json
from kdnb.data.plots import class_balance, leak_dots, sample_grid
from kdnb.distillation.plots import grid_heatmap, ladder
from kdnb.efficiency.plots import cost_ratios_live, pareto_live
from kdnb.feature_maps.layer_analysis import analyse_layers
from kdnb.feature_maps.plots import (
    ablation_curves,
    cka_heatmaps,
    ledger_bars,
    map_grid,
    probe_curves,
)
from kdnb.training.plots import confusion_heatmap, learning_curves, reliability
from kdnb.widgets.layer_maps import stepper_data
from kdnb.widgets.stepper import static_stepper
from kdnb.xai.plots import attribution_grid, pointing_curves, tau_heatmap
from kdnb.xai.shortcuts import TrapMaps
from kdnb.xai.trap_plots import trap_grid

IMAGES = np.zeros((2, 16, 16, 3), np.uint8)
MAPS = {"conv1": np.ones((2, 8, 8)), "conv2": np.zeros((2, 4, 4))}
SCORES = pd.DataFrame(
    {"value": [0.9, 0.8], "low": [0.85, 0.7], "high": [0.95, 0.88]}, index=["teacher", "student"]
)
HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1],
        **{f"{p}_{w}": [1.0, 0.5] for p in ("train", "val") for w in ("loss", "accuracy")},
    }
)
TIMES = pd.DataFrame(
    {
        "ratio": [3.0, np.nan],
        "ratio_low": [2.5, np.nan],
        "ratio_high": [3.5, np.nan],
        "teacher_ms": [9, np.nan],
        "student_ms": [3, 4],
    },
    index=["Grad-CAM", "SHAP deep"],
)

COSTS = pd.DataFrame(
    {
        "ms": [9.0, 3, 100],
        "forwards_time": [1.0, 1, 30],
        "energy": [0.4, 0.6, 0.5],
        "low": [0.3, 0.5, 0.4],
        "high": [0.5, 0.7, 0.6],
    },
    index=pd.MultiIndex.from_tuples(
        [("map", "teacher"), ("map", "student"), ("shap", "student")], names=["method", "model"]
    ),
)
PARTS = pd.DataFrame({"label": list("aab"), "part": ["train", "test", "train"]})
LEAKS = pd.DataFrame(
    {"1-NN": [0.9], "1-NN mirrored": [0.92]}, index=pd.MultiIndex.from_tuples([("set", "random")])
)
GRID = pd.DataFrame(
    {
        "alpha": [1.0, 0.4, 0.4],
        "temperature": [1.0, 1, 5],
        "gain": [0, -0.02, 0.01],
        "gain_low": [0, -0.04, -0.02],
        "gain_high": [0, 0.01, 0.04],
    }
)
LADDER = pd.DataFrame(
    {
        "training": ["KD", "labels"],
        "width": [0.25, 0.25],
        "macs": [1e8, 1e8],
        "accuracy": [0.9, 0.8],
        "low": [0.85, 0.7],
        "high": [0.95, 0.9],
    }
)
CHARTS = {
    "class_balance": (class_balance(PARTS), "1 train"),
    "learning_curves": (learning_curves({"teacher": HISTORY}), "is kept at epoch 2"),
    "confusion": (
        confusion_heatmap(pd.DataFrame([[3, 1], [0, 4]], list("ab"), list("ab"))),
        "a 75%",
    ),
    "score_bars": (score_bars(SCORES, 0.6), "teacher 0.900 [0.850, 0.950]"),
    "leak_dots": (
        leak_dots(LEAKS, {"set": {"protocol": "random", "paper": {"student": 0.97}}}),
        "student there 0.970",
    ),
    "grid_heatmap": (grid_heatmap(GRID), "alpha 0.4, T 5: +1.0 [-2.0, +4.0]"),
    "reliability": (
        reliability({"teacher": np.array([[0.9, 0.1], [0.2, 0.8]])}, np.array([0, 0])),
        "1 of 2 answers",
    ),
    "ladder": (ladder(LADDER), "KD × 0.25, 100 M MACs 0.900 [0.850, 0.950]"),
    "score_bars of other values": (
        score_bars(SCORES, label="energy in mask"),
        "Energy in mask with 95 %",
    ),
    "tau_heatmap": (
        tau_heatmap(SCORES.T.corr(method="kendall").loc[list(SCORES.index), list(SCORES.index)]),
        "student and teacher 1.0",
    ),
    "score_bars without an interval": (
        score_bars(SCORES.assign(low=np.nan, high=np.nan)),
        "teacher 0.900 (no interval)",
    ),
    "pareto": (
        pareto(COSTS, "energy"),
        "shap of the student 100 ms, energy 0.500. Not beaten: map of the student",
    ),
    "pareto without quality": (
        pareto(COSTS, "nothing"),
        "Time of one explanation: map of the teacher 9 ms;",
    ),
}
PIXELS = {
    "sample_grid": sample_grid(IMAGES, ["a", "b"]),
    "map_grid": map_grid(IMAGES, MAPS, ["a", "b"]),
    "attribution_grid": attribution_grid(IMAGES, {"SHAP": np.zeros((2, 16, 16))}, ["a", "b"]),
}


def test_a_map_below_zero_keeps_its_range():
    maps = np.array([[[-2.0, -0.5]], [[0.5, 1.0]]])
    axes = map_grid(IMAGES, {"stage5": maps}, ["a", "b"]).figure.axes
    assert [axes[place].get_xlabel() for place in (1, 3)] == ["-2 to -0.5", "0 to 1"]
    assert axes[1].images[0].get_clim() == (-2.0, -0.5)


def test_maps_without_a_sign_are_not_drawn_as_for_and_against():
    maps = {"average map": np.ones((2, 4, 4)), "evidence": np.ones((2, 4, 4))}
    for of_method in maps.values():
        of_method[:, 0, 0] = 0.5
    picture = attribution_grid(IMAGES, maps, ["a", "b"], unsigned=["average map"])
    average, evidence = (axes.images[0] for axes in picture.figure.axes[1:3])
    assert (average.get_cmap().name, average.get_clim()) == ("cividis", (0, 1))
    assert (evidence.get_cmap().name, evidence.get_clim()) == ("RdBu_r", (-1, 1))
    assert "without a sign: average map." in picture.alt
    with pytest.raises(ValueError, match="unsigned must name some of the maps"):
        attribution_grid(IMAGES, maps, ["a", "b"], unsigned=["an average map"])


def test_a_map_that_says_nothing_is_not_drawn_and_one_without_numbers_is_refused():
    maps = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    maps[1] = np.float32(0.1) * np.float32(1 / 3)
    for draw in (map_grid, attribution_grid):
        picture = draw(IMAGES, {"conv": maps}, ["a", "b"])
        assert "One value everywhere, and so nothing: conv of b." in picture.alt
        drawn, silent = picture.figure.axes[1], picture.figure.axes[3]
        assert len(drawn.images) == 1 and not drawn.texts
        assert not silent.images and silent.texts[0].get_text() == "says nothing here"
        picture.figure.canvas.draw()
        numbers = drawn.xaxis.label.get_window_extent()
        assert numbers.y0 > silent.get_window_extent().y1, "the row below covers no numbers"
        plt.close(picture.figure)
        broken = maps.copy()
        broken[0, 0, 0] = np.nan
        with pytest.raises(UserError, match="NaN or infinity"):
            draw(IMAGES, {"conv": broken}, ["a", "b"])


@pytest.mark.parametrize("name", CHARTS)
def test_alt_text_says_the_numbers(name):
    picture, words = CHARTS[name]
    assert words in picture.alt and not picture.pixels


@pytest.mark.parametrize("name", PIXELS)
def test_pictures_of_images_are_marked(name):
    assert PIXELS[name].pixels and PIXELS[name].alt


@pytest.mark.parametrize("quality", ["energy", ""])
def test_live_pareto_shows_the_numbers_of_the_static_one(quality):
    picture = pareto(COSTS, quality)
    live = pareto_live(COSTS, quality)
    dots = [trace for trace in live.data if "markers" in trace.mode]
    assert all(list(trace.text) for trace in dots)
    assert sorted(x for trace in dots for x in trace.x) == sorted(COSTS["ms"])
    drawn = (
        picture.figure.axes[0].get_lines()[:2]
        if quality == ""
        else [
            line
            for line in picture.figure.axes[0].get_lines()
            if line.get_label() in ("teacher", "student")
        ]
    )
    assert [list(line.get_xdata()) for line in drawn] == [list(trace.x) for trace in dots]
    lines = [trace for trace in live.data if trace.mode == "lines"]
    assert [list(trace.x) for trace in lines] == ([[3.0]] if quality else [])


def test_methods_without_a_quality_are_left_out():
    rows = COSTS.assign(energy=[np.nan, 0.6, 0.5])
    assert "teacher" not in pareto(rows, "energy").alt


def test_bars_do_not_promise_intervals_that_nobody_knows():
    known, unknown = CHARTS["score_bars"][0], CHARTS["score_bars without an interval"][0]
    assert "(95 % intervals)" in known.figure.axes[0].get_xlabel()
    assert "(no intervals, for too few" in unknown.figure.axes[0].get_xlabel()
    assert "with no intervals" in unknown.alt


def test_static_stepper_is_marked(study):
    rows = study.sample(1)
    data = stepper_data(
        study.student_model,
        None,
        study.images(rows),
        study.image_set.pixels[rows],
        study.targets(rows),
        study.image_set.classes,
    )
    assert static_stepper(data).pixels


def test_the_same_figure_gives_the_same_bytes():
    first, second = (png_of(score_bars(SCORES)) for _ in range(2))
    assert first == second and Image.open(io.BytesIO(first)).size[0] > 300
    assert base64.b64decode(png_uri(first).removeprefix("data:image/png;base64,")) == first


def test_a_grid_marks_the_cell_that_validation_chose():
    table = GRID.assign(chosen=[int(number == len(GRID) - 1) for number in range(len(GRID))])
    picture = grid_heatmap(table)
    assert picture.alt.count("chosen") == 1 and picture.alt.endswith("] chosen.")
    assert sum("chosen" in text.get_text() for text in picture.figure.axes[0].texts) == 1


def test_charts_are_saved_in_few_colours_and_pixels_of_data_without_loss():
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    for picture, lossless in (
        (score_bars(SCORES), False),
        (sample_grid(noise, ["a"]), True),
    ):
        drawn = io.BytesIO()
        picture.figure.savefig(drawn, format="png", bbox_inches="tight")
        saved = Image.open(io.BytesIO(png_of(picture)))
        seen, wanted = (
            np.asarray(i.convert("RGB")).astype(int) for i in (saved, Image.open(drawn))
        )
        assert (saved.mode == "RGB") == lossless == (seen == wanted).all()
        assert np.abs(seen - wanted).mean() < 0.2, "no eye sees the difference"


def test_a_network_has_its_own_colour_in_every_chart_and_nothing_else_has_it():
    colours = colours_of(["teacher", "a", "KD student", "b", "label-only student", "c", "d"])
    assert all(colours[name] == MODEL_COLOURS[name] for name in MODELS)
    others = {colours[name] for name in "abcd"}
    assert len(others) == 3 and not others & set(MODEL_COLOURS.values())
    histories = {"label-only student": HISTORY, "teacher": HISTORY}
    lines = learning_curves(histories).figure.axes[0].lines
    drawn = {line.get_label(): line.get_color() for line in lines}
    assert drawn["teacher, validation"] == MODEL_COLOURS["teacher"]
    assert drawn["label-only student, training"] == MODEL_COLOURS["label-only student"]


def test_numbers_of_equal_points_do_not_cover_each_other():
    methods = [(name, "student") for name in ("one", "two", "three")]
    rows = pd.DataFrame(
        {"ms": [5.0, 5.0, 5.1], "quality": [0.3, 0.3, 0.3]},
        index=pd.MultiIndex.from_tuples(methods, names=["method", "model"]),
    )
    figure = pareto(rows, "quality").figure
    figure.canvas.draw()
    listed, *numbers = figure.axes[0].texts
    assert listed.get_text() == "1  one\n2  two\n3  three"
    boxes = [Text.get_window_extent(text) for text in numbers]  # without the lines to their points
    assert sorted(text.get_text() for text in numbers) == ["1", "2", "3"]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_what_is_compared_with_is_grey_and_maps_take_no_colour_of_a_network():
    line = score_bars(SCORES, 0.6, "memory alone").figure.axes[0].lines[-1]
    assert (line.get_xdata()[0], line.get_color()) == (0.6, GREY)
    numbers = {"k": [1, 2], "tap": "conv1"}
    for name, fall in (("ranked", 0.4), ("random", 0.1)):
        numbers |= {name: fall, f"{name}_low": fall - 0.1, f"{name}_high": fall + 0.1}
    cuts = ablation_curves(pd.DataFrame(numbers)).figure.axes[0].containers
    assert [cut[0].get_color() for cut in cuts] == [MODEL_COLOURS["KD student"], GREY]
    names = ("a", "b", "c", "brightness", "mean")
    rows = [(name, "input" if name in names[3:] else "conv1", "pointing game") for name in names]
    index = pd.MultiIndex.from_tuples(rows, names=["explanation", "tap", "metric"])
    table = pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6}, index=index)
    axes = pointing_curves(table, names[:3], names[3:]).figure.axes[0]
    colours = [line[0].get_color() for line in axes.containers]
    assert len(set(colours)) == 3 and not set(colours) & {*MODEL_COLOURS.values(), GREY}
    levels = [line for line in axes.lines if line.get_label() in ("brightness 0.50", "mean 0.50")]
    assert [level.get_color() for level in levels] == [GREY, GREY]


def test_marks_of_the_paper_cover_no_dot():
    paper = {"set": {"protocol": "random", "paper": {"teacher": 0.9, "student": 0.9}}}
    more = [LEAKS.rename(index={"set": f"set {number}"}, level=0) for number in range(11)]
    figure = leak_dots(pd.concat([LEAKS, *more]), paper).figure  # as many rows as the audit has
    figure.canvas.draw()
    dots = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s", "D")]
    boxes = [dot.get_window_extent() for dot in dots]  # of equal accuracies, one below the other
    assert len(boxes) == 12 + 2
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_words_below_a_map_with_a_trap_lie_above_the_next_row():
    rng = np.random.default_rng(0)
    traps = np.zeros((3, 16, 16), bool)
    traps[:, 2:5, 2:5] = True
    pixels = np.zeros((3, 16, 16, 3), np.uint8)
    maps = {"average map": rng.random((3, 16, 16))}
    figure = trap_grid(TrapMaps(pixels, traps, maps, ("a", "b", "c")), "blob").figure
    figure.canvas.draw()
    column = figure.axes[1::2]
    for above, below in zip(column, column[1:], strict=False):
        words = above.xaxis.label.get_window_extent()
        assert words.y0 > below.get_window_extent().y1


@pytest.fixture
def results(tmp_path):
    parameters = {
        "dataset": "brain_tumor",
        "data": "/home/me/a.zip",
        "split": "grouped",
        "profile": "smoke",
        "seed": 0,
    }
    results = Results(tmp_path / "study", parameters, "abc")
    results.table("02_scores", SCORES.rename_axis("model"), ["teacher/1"])
    results.picture("02_accuracy", CHARTS["score_bars"][0], ["teacher/1"])
    results.picture("01_samples", PIXELS["sample_grid"])
    return results


def test_names_in_a_saved_table_are_no_formulae(results):
    names = ["=1+1", "+cmd|x", "-2+3|x", "@a", "\t=1", "\r=1", "-0.5 [-1.0, 0.1]", "-1e-05", "a=b"]
    table = pd.DataFrame({"said": names, "value": -1.5, "=sum": "x"})
    place = results.table("03_names", table.set_index("said"))
    read = pd.read_csv(place)
    dangerous = [f"'{name}" for name in names[:5]] + ["' =1"]
    assert list(read["said"]) == dangerous + names[6:]
    assert list(read.columns) == ["said", "value", "'=sum"] and (read["value"] == -1.5).all()
    harmless = table.tail(3).drop(columns="=sum")
    place = results.table("03_names", harmless)
    assert place.read_text() == harmless.to_csv(index=False, lineterminator="\n")


def test_report_holds_every_table_and_picture(results):
    page = write_report(results).read_text()
    assert page.count("data:image/png;base64,") == 2 and "0.85" in page and "brain_tumor" in page


def test_report_says_that_intervals_are_widened(results):
    assert "times as wide" not in write_report(results).read_text()
    results.parameters["widening"] = 1.458
    assert "made 1.46 times as wide" in write_report(results).read_text()


def test_no_pixel_of_real_data_is_published(results, tmp_path):
    publish(results, tmp_path / "figures")
    there = {p.name for p in (tmp_path / "figures" / "brain_tumor-grouped").iterdir()}
    assert there == {"02_scores.csv", "02_accuracy.png"}
    manifest = read_json(tmp_path / "figures" / "manifest.json")
    assert manifest["brain_tumor-grouped/02_scores.csv"]["runs"] == ["teacher/1"]
    assert manifest["brain_tumor-grouped/02_scores.csv"]["parameters"]["data"] == "a.zip"


def test_what_an_earlier_study_left_is_removed(results, tmp_path):
    publish(results, tmp_path / "figures")
    old = tmp_path / "figures" / "brain_tumor-grouped" / "01_old.csv"
    old.write_text("x")
    manifest = read_json(tmp_path / "figures" / "manifest.json")
    facts = manifest["brain_tumor-grouped/02_scores.csv"]
    write_json(
        tmp_path / "figures" / "manifest.json",
        manifest | {"brain_tumor-grouped/01_old.csv": facts, "audit/a.csv": facts},
    )
    publish(results, tmp_path / "figures")
    kept = read_json(tmp_path / "figures" / "manifest.json")
    assert not old.exists()
    assert "brain_tumor-grouped/01_old.csv" not in kept
    assert "audit/a.csv" in kept


def test_what_was_published_half_is_not_listed(results, tmp_path, monkeypatch):
    figures = tmp_path / "figures"
    publish(results, figures)
    whole = read_json(figures / "manifest.json")
    write_json(figures / "manifest.json", whole | {"audit/a.csv": {}})

    def stop(source, target):
        target.write_text("half")
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("kdnb.core.report.shutil.copy", stop)
        with pytest.raises(OSError, match="disk full"):
            publish(results, figures)
    assert set(read_json(figures / "manifest.json")) == {"audit/a.csv"}
    scores = figures / "brain_tumor-grouped" / "02_scores.csv"
    assert scores.read_bytes() == (results.folder / "02_scores.csv").read_bytes()
    publish(results, figures)
    assert read_json(figures / "manifest.json") == whole | {"audit/a.csv": {}}


def test_phantoms_are_published_whole(results, tmp_path):
    results.parameters["dataset"] = "phantom_brain"
    publish(results, tmp_path / "figures")
    assert (tmp_path / "figures" / "phantom_brain-grouped" / "01_samples.png").is_file()


def test_nothing_to_report_is_one_clear_line(tmp_path):
    empty = Results(tmp_path, {"dataset": "x"}, "abc")
    with pytest.raises(UserError, match="holds no results yet: run the notebooks first"):
        write_report(empty)


def test_committed_figures_are_listed():
    from kdnb.core.settings import project_root

    folder = project_root() / "figures"
    listed = read_json(folder / "manifest.json")
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {
        "manifest.json"
    }
    assert files == set(listed)
    assert not [
        name
        for name, facts in listed.items()
        if facts["pixels"] and not name.startswith("phantom_")
    ]


@pytest.mark.slow
def test_charts_of_layers_say_their_numbers(study):
    reading = analyse_layers(study)
    charts = {
        "probes": probe_curves(reading.table("probes")),
        "cka": cka_heatmaps(reading.table("cka")),
    }
    charts |= {
        "ledger": ledger_bars(reading.table("ledger")),
        "ablation": ablation_curves(reading.table("ablation")),
    }
    first = {name: reading.table(name).iloc[0] for name in charts}
    assert f"KD student: {first['probes']['accuracy']:.2f}, " in charts["probes"].alt
    assert f"conv1 with conv1 {first['cka']['cka']:.2f}" in charts["cka"].alt
    assert f"conv1 for {first['ledger']['supporting']:.1f}, against" in charts["ledger"].alt
    last = reading.table("ablation").query("tap == 'conv1'").iloc[-1]
    assert (
        f"conv1, {last['k']:.0f} channels: strongest {last['ranked']:.2f}" in charts["ablation"].alt
    )
    bars = charts["ledger"].figure.axes[0].containers[0]
    assert bars[0].get_width() == pytest.approx(first["ledger"]["supporting"])
    for picture in charts.values():
        show(picture)


def test_live_ratios_are_of_what_both_models_can_explain():
    figure = cost_ratios_live(TIMES)
    dots = figure.data[0]
    assert list(dots.x) == [3.0]
    assert list(dots.text) == ["3.00"]
    line = figure.layout.shapes[0]
    low, high = figure.layout.xaxis.range
    assert (line.x0, line.x1) == (1, 1) and low < 1 < 3.5 < high
    assert list(dots.y) == ["Grad-CAM"]
    assert list(dots.error_x.array) == [0.5]


ODD_NAMES = ("a$b$_{c}$^$", "<!--<script>", "'\"", r"a\$b$")


def drawn(axes_text):
    """What matplotlib shows of a text; a formula is none."""
    shown, is_formula = axes_text._preprocess_math(axes_text.get_text())
    assert not is_formula
    return shown


def test_names_are_drawn_as_they_are():
    names = list(ODD_NAMES)
    table = pd.DataFrame({"label": names, "part": "train"})
    balance = class_balance(table)
    matrix = pd.DataFrame(np.eye(4, dtype=int), index=names, columns=names)
    confusion = confusion_heatmap(matrix)
    grid = sample_grid(np.zeros((4, 8, 8, 3), np.uint8), names)
    scores = pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6}, index=names)
    bars = score_bars(scores)
    for picture in (balance, confusion, grid, bars):
        png_of(picture)
    assert sorted(map(drawn, balance.figure.axes[0].get_yticklabels())) == sorted(names)
    for labels in (
        confusion.figure.axes[0].get_xticklabels(),
        confusion.figure.axes[0].get_yticklabels(),
        [axes.title for axes in grid.figure.axes[:4]],
        bars.figure.axes[0].get_yticklabels(),
    ):
        assert list(map(drawn, labels)) == names
    for picture in (balance, confusion, grid, bars):
        plt.close(picture.figure)
