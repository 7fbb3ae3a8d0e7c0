"""Archives whose bytes are damaged: they are read as far as they go, or refused in one line.

KDNB_FUZZ sets how many examples are tried.
"""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.reading import check_broken, read_images
from kdnb.data.registry import open_source

EXAMPLES = int(os.environ.get("KDNB_FUZZ", "30"))
HEADERS = {  # start of a header → where its fields are, and how many bytes they have
    b"PK\x03\x04": {6: 2, 8: 2, 14: 4, 18: 4, 22: 4, 26: 2, 28: 2},  # flags, method, CRC, sizes
    b"PK\x01\x02": {8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 38: 4, 42: 4},  # mode, offset
    b"PK\x05\x06": {8: 2, 10: 2, 12: 4, 16: 4, 20: 2},
}
ODD_NAMES = (".", "", "a/", "..", "a//b.png", "a/0.png/x.png", "a/x\0.png", "a/" * 300 + "x.png")


def archive(method, odd_names):
    """Two classes of four images of 8 and 16 bits, and images of odd names."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as made:
        for number, label in enumerate("aaaabbbb"):
            kind = np.uint16 if number % 2 else np.uint8
            file = io.BytesIO()
            Image.fromarray(np.full((4, 4), 9 * number, kind)).save(file, "PNG")
            made.writestr(f"{label}/{number}.png", file.getvalue())
        for name in odd_names:
            made.writestr(zipfile.ZipInfo(name), file.getvalue())
    return data.getvalue()


def fields(data):
    """Where each field of each header is, and how many bytes it has."""
    found = []
    for start, sizes in HEADERS.items():
        at = data.find(start)
        while at >= 0:
            found += [(at + place, size) for place, size in sizes.items()]
            at = data.find(start, at + 1)
    return found


@st.composite
def damaged(draw):
    """An archive that is cut, in which bits are flipped, or whose headers lie."""
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    data = bytearray(archive(method, draw(st.sets(st.sampled_from(ODD_NAMES), max_size=2))))
    how = draw(st.sampled_from(["cut", "flip", "lie", "lie", "as it is"]))
    if how == "cut":
        del data[draw(st.integers(0, len(data))) :]
    if how == "flip":
        for place in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
            data[place] ^= 1 << draw(st.integers(0, 7))
    if how == "lie":
        for _ in range(draw(st.integers(1, 3))):
            place, size = draw(st.sampled_from(fields(data)))
            largest = 256**size - 1
            value = draw(st.sampled_from([0, 1, largest // 2, largest]) | st.integers(0, largest))
            data[place : place + size] = value.to_bytes(size, "little")
    return how, bytes(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(damaged())
def test_a_damaged_archive_is_read_or_refused_in_one_line(made):
    how, data = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.zip")
        path.write_bytes(data)
        try:
            source = open_source(Settings.checked({"dataset": "custom", "data": str(path)}))
            entries = pd.DataFrame(source.entries)
            pixels = np.zeros((len(entries), 4, 4, 3), np.uint8)
            facts = read_images(source.read, source.name, entries["path"], [pixels]).facts
            broken = entries.join(facts)[facts["reason"] != ""][["path", "reason"]]
            check_broken(broken, entries["label"], source.name)
        except UserError as error:
            event(f"{how}: refused")
            assert "\n" not in str(error) and len(str(error)) < 2500
            return
    event(f"{how}: read")
    assert len(broken) <= 1 and set(entries["label"]) >= {"a", "b"}
