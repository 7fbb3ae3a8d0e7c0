"""What the benchmarks share: ratios, training steps, images like photographs, files of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kdnb.core.report import publish
from kdnb.core.results_folder import Results
from kdnb.core.settings import project_root
from kdnb.data.dataset import ImageSet
from kdnb.efficiency.timing import ratio_interval
from kdnb.training.fit import train_step


def ratio(first: np.ndarray, second: np.ndarray) -> str:
    """Ratio of medians with a 95 % bootstrap interval."""
    value, low, high = ratio_interval(first, second)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def read_tables(files: Iterable[str]) -> pd.DataFrame:
    """Tables of a benchmark, CSV, one below the other."""
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)


def publish_table(place: str, table: pd.DataFrame) -> None:
    """Put a table of a benchmark into ``figures/<place>.csv``.

    Args:
        place: Folder and name, such as "teachers/recipes".
        table: Its column dataset says what each row was measured on.
    """
    folder_name, _, name = place.partition("/")
    facts = {"dataset": ", ".join(table["dataset"].unique()), "benchmark": name}
    with TemporaryDirectory() as folder:
        results = Results(folder=Path(folder), parameters=facts, data="")
        results.table(name, table.set_index(table.columns[0]))
        publish(results, project_root() / "figures", folder_name, replace=False)


def training_step(model: nn.Module, images: Tensor, precision: str) -> Callable[[], None]:
    """One training step of a model of 4 classes, on images (N, 3, S, S), in a number format."""
    targets = torch.arange(len(images), device=images.device) % 4
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        train_step(
            model, optimizer, images, lambda logits: cross_entropy(logits, targets), precision
        )

    return step


def image_set(images: int, size: int) -> ImageSet:
    """Smooth random images, as compressible as photographs."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (images, 8, 8, 3), dtype=np.uint8)
    pixels = np.stack(
        [
            np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BICUBIC))
            for i in small
        ]
    )
    table = pd.DataFrame(
        {"image_id": [f"{i:06}" for i in range(images)], "target": np.arange(images) % 4}
    )
    return ImageSet(
        "benchmark", tuple("abcd"), table, pixels, None, size, "random", "", pd.DataFrame()
    )


def write_files(found: ImageSet, folder: Path) -> None:
    """Class folders of JPEG files of twice the side."""
    for i, image in enumerate(found.pixels):
        (folder / str(i % 4)).mkdir(exist_ok=True)
        large = Image.fromarray(image).resize(
            (2 * found.size, 2 * found.size), Image.Resampling.BICUBIC
        )
        large.save(folder / str(i % 4) / f"{i}.jpg", quality=90)


def drain(iterator: Iterable) -> None:
    """Run through it."""
    for _ in iterator:
        pass
