"""A finished study as a folder of notebooks, without executing anything."""

import json

from kdnb.core.notebook_files import load_json, notebooks

RECORD = {
    "parameters": {"profile": "smoke"},
    "output_path": "/somewhere/runs/notebook/0123456789abcdef/01_data.ipynb",
    "end_time": "2026-11-29T22:58:57.982071+00:00",
    "duration": 12.34,
    "exception": None,
}


def finished(notebook, **record):
    """A notebook as papermill leaves it at its end; what is given differs from that."""
    metadata = notebook["metadata"] | {"papermill": RECORD | record}
    return notebook | {"metadata": metadata}


def write_study(folder, paths=None, **record):
    """Write executed copies of all notebooks, or of some, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths or notebooks():
        text = json.dumps(finished(load_json(path), **record))
        (folder / path.name).write_text(text, "utf-8")
