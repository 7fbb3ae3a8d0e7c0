"""The commands ``kdnb study · data · figures · explain · export``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from kdnb import __version__
from kdnb.cli.options import (
    Data,
    Dataset,
    Label,
    ProfileName,
    RunsDir,
    Seed,
    Split,
    parse_sets,
    require_file_name,
    study_values,
)
from kdnb.cli.runs import runs_app
from kdnb.cli.sweep import sweep_app
from kdnb.core.errors import UserError, ends_in_one_line
from kdnb.core.run_list import checked_label
from kdnb.core.settings import Settings, project_root

# the rooms load torch for seconds: each command imports them itself, once its arguments are checked

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

data_app = typer.Typer(help="Look at a data set before anything is trained.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(sweep_app, name="sweep")
app.add_typer(runs_app, name="runs")

Sets = Annotated[
    list[str] | None, typer.Option("--set", help="any other parameter, as name=value; repeatable")
]


def _say_version(asked: bool) -> None:
    """Print the version and end, if it is asked for."""
    if asked:
        print(f"kdnb {__version__}")
        raise typer.Exit


@app.callback()
def of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="its version")
    ] = False,
) -> None:
    """Knowledge distillation, read layer by layer."""


@app.command()
def study(
    dataset: Dataset = "phantom_brain",
    data: Data = "",
    profile: ProfileName = "quick",
    seed: Seed = 0,
    split: Split = "",
    runs_dir: RunsDir = "",
    label: Label = "",
    set_: Sets = None,
) -> None:
    """Run all notebooks and write the report; what is done already is reused."""
    start = time.perf_counter()
    values = study_values(dataset, data, profile, seed, split, runs_dir)
    sets = parse_sets(set_)
    settings = Settings.checked({**values, **sets})
    if label:
        checked_label(label)
    from kdnb.study.whole_study import run_notebooks

    report, summary = run_notebooks(settings, sets, label)
    print(f"\n{summary.to_string(index=False)}\n")
    from kdnb.study.closing import closing_lines

    print(*closing_lines(settings), sep="\n")
    print(f"report: {report}")
    print(f"study finished in {time.perf_counter() - start:.0f} s")


@data_app.command()
def show(
    dataset: Dataset = "phantom_brain",
    data: Data = "",
    profile: ProfileName = "quick",
    seed: Seed = 0,
    split: Split = "",
    runs_dir: RunsDir = "",
    set_: Sets = None,
) -> None:
    """Read a data set and say what it holds, how it is split, and what leaks."""
    values = study_values(dataset, data, profile, seed, split, runs_dir)
    settings = Settings.checked({**values, **parse_sets(set_)})
    from kdnb.data.study_images import StudyImages

    study_images = StudyImages(settings)
    images = study_images.image_set
    print(images.table.groupby(["label", "part"]).size().unstack(fill_value=0).to_string())
    print(f"{len(images.table)} images, {len(images.broken)} skipped, split '{images.split}'")
    if images.split != "published" and (images.table["published_split"] != "").any():
        print("its own parts, such as train and test, are not used: --split published uses them")
    print(f"1-NN on raw pixels: accuracy {study_images.leak_meter['accuracy']:.3f}")
    print("  (each test image takes the class of the most alike one of train and val; a study says")
    print(
        "  what a model must beat: memory of train alone, mirrored images too, if that is stronger)"
    )
    print(study_images.certainty)
    for note in images.notes:
        print(f"note: {note}")


@data_app.command()
def audit(
    paths: Annotated[
        list[str], typer.Argument(help="registered data sets, archives, class folders or CSVs")
    ],
    dataset: Annotated[
        str, typer.Option(help="whose rules hold for a path: a registered data set")
    ] = "custom",
    out: Annotated[
        str, typer.Option(help="folder for the report; one with an audit is kept, and not written")
    ] = "audit",
    publish: Annotated[
        bool, typer.Option("--publish", help="copy summary and chart into figures/audit/")
    ] = False,
    seed: Seed = 0,
    runs_dir: RunsDir = "",
    set_: Sets = None,
) -> None:
    """Say what leaks under each split of some data sets; write ledger, summary and a report."""
    from kdnb.core.report import publish as publish_results
    from kdnb.data.audit import unknown_marked, write_audit
    from kdnb.data.registry import dataset_names, registered

    of_paper = {name for name, entry in registered().items() if "paper" in entry}
    if publish and set(paths) != of_paper:
        raise UserError(
            f"--publish takes the data sets of the paper together: {', '.join(sorted(of_paper))}"
        )
    audited = []
    for path in paths:
        if path in dataset_names() or path.startswith("medmnist:"):
            values = {"dataset": path}
        else:
            values = {"dataset": dataset, "data": path}
        values |= {"seed": seed, "runs_dir": runs_dir}
        audited.append(Settings.checked({**values, **parse_sets(set_)}))
    results = write_audit(audited, Path(out))
    summary = results.load("summary").round(3)
    print(unknown_marked(summary).drop(columns="index").to_string(index=False))
    print(f"report: {results.folder.absolute() / 'report.html'}")
    if publish:
        publish_results(results, project_root() / "figures", "audit", replace=False)


@data_app.command()
def origins(
    dataset: Annotated[str, typer.Argument(help="the data set whose images come from another")],
    originals: Annotated[str, typer.Argument(help="the data set that they may come from")],
    data: Data = "",
    out: Annotated[str, typer.Option(help="folder for the table of matches")] = "origins",
    publish: Annotated[
        bool, typer.Option("--publish", help="copy the table of matches into figures/audit/")
    ] = False,
    runs_dir: RunsDir = "",
) -> None:
    """Match a data set with the one that its images were made from, turned or mirrored."""
    from kdnb.core.report import publish as publish_results
    from kdnb.data.origin_counts import write_origins

    settings = Settings.checked({"dataset": dataset, "data": data, "runs_dir": runs_dir})
    results, lines = write_origins(settings, originals, Path(out))
    print(*lines, sep="\n")
    if publish:
        publish_results(results, project_root() / "figures", "audit", replace=False)


@data_app.command()
def download(name: str) -> None:
    """Fetch a registered data set from Kaggle with your own token (package kagglehub)."""
    from kdnb.data.registry import download as fetch

    print(fetch(name))


@app.command()
def figures(
    collect: Annotated[
        bool, typer.Option("--collect", help="first collect the finished runs of the plan")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="accept that runs of the plan are missing")
    ] = False,
    runs_dir: RunsDir = "",
) -> None:
    """Make figures/results from collected runs, and the findings in README and docs."""
    from kdnb.batch.plan import read_plan
    from kdnb.results.build import COLLECTED, PAGES, build_tables, plan_file, write_findings
    from kdnb.results.collected_runs import collect_runs

    folder = project_root() / "figures"
    if collect:
        settings = Settings.checked({"runs_dir": runs_dir})
        runs = collect_runs(read_plan(plan_file()), settings.runs, folder / COLLECTED)
        print(f"{len(runs['runs'])} runs collected")
    tables = build_tables(folder, partial=partial)
    print(f"{len(tables)} tables in {folder / COLLECTED.parent}")
    for page in PAGES:
        print(write_findings(tables, project_root() / page, page), end="")


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="an image file")],
    run: Annotated[str, typer.Option(help="id of a student read in notebook 04, or its beginning")],
    out: Annotated[str, typer.Option(help="the page to write")] = "explained.html",
    mask: Annotated[
        str, typer.Option(help="a mask of the lesion, as PNG: what of the evidence lies inside")
    ] = "",
    runs_dir: RunsDir = "",
) -> None:
    """Read one image layer by layer; write it as one page with the layer stepper inside."""
    settings = Settings.checked({"runs_dir": runs_dir})
    require_file_name(out, ".html")
    from kdnb.feature_maps.layer_analysis import find_layer_analysis
    from kdnb.widgets.image_page import write_image_page

    analysis = find_layer_analysis(settings, run)
    report = write_image_page(analysis, image, out, settings, mask)
    print(*report.sentences, sep="\n")
    print(f"page: {out}")


@app.command()
def export(
    path: Annotated[str, typer.Argument(help="the file to write, ending in .onnx")],
    run: Annotated[
        str, typer.Option(help="id of a student's run, as notebooks print it, or its beginning")
    ],
    runs_dir: RunsDir = "",
) -> None:
    """Write a trained student as an ONNX file, checked against PyTorch.

    It needs the packages onnx, onnxruntime and onnxscript.
    """
    settings = Settings.checked({"runs_dir": runs_dir})
    from kdnb.efficiency.onnx_export import export_onnx
    from kdnb.training.trained_students import image_facts, load_named_student, named_student

    model, size = load_named_student(settings.runs, run)
    facts = image_facts(named_student(settings.runs, run))
    difference = export_onnx(model, path, size, **facts)
    print(
        f"{path}: images (N, 3, {size}, {size}) float32, ImageNet-normalised, to logits; "
        f"ONNX Runtime and PyTorch differ by {difference:.1g} at most"
    )
    named = ", ".join(facts.get("classes", [])) or "not known, since the run is of an older version"
    print(
        "in its metadata: how an image is resized, scaled and normalised, order of colours; "
        f"classes: {named}"
    )
    for kind, (low, high) in facts.get("ranges", {}).items():
        print(f"in {kind}, {low:,.6g} is black and {high:,.6g} is white, as in its training images")


def main() -> None:
    """Entry point: runs a command."""
    with ends_in_one_line("kdnb"):
        app()


if __name__ == "__main__":
    main()
