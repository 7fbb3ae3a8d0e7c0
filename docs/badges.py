"""Write the launch badges of a published copy: ``make badges REPO=https://github.com/owner/name``.

The address is kept in CITATION.cff alone; README and the Colab notebook are made from it. It may be called again.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- launch -->.*?<!-- /launch -->", re.DOTALL)
GITHUB = re.compile(r"(?:https://github\.com/|git@github\.com:)([\w.-]+/[\w.-]+?)(?:\.git)?/?")


def address(root: Path, given: str) -> str:
    """``owner/name`` on GitHub, from what is given, CITATION.cff or the git remote; one line and exit 2 if none is."""
    citation = re.search(r'^repository-code: "(.*)"$', (root / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    remote = subprocess.run(command, capture_output=True, text=True).stdout.strip() if not given else ""
    found = given or (citation.group(1) if citation else "") or remote
    if not (match := GITHUB.fullmatch(found)):
        print(f"no address on GitHub, got '{found}': make badges REPO=https://github.com/owner/name", file=sys.stderr)
        sys.exit(2)
    return match.group(1)


def badges(name: str) -> str:
    """The block of the README; every picture has words."""
    places = {
        "Open in GitHub Codespaces": ("https://github.com/codespaces/badge.svg", f"https://codespaces.new/{name}"),
        "Launch on Binder": ("https://mybinder.org/badge_logo.svg",
                             f"https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/notebooks/00_start_here.ipynb"),
        "Open in Colab": ("https://colab.research.google.com/assets/colab-badge.svg",
                          f"https://colab.research.google.com/github/{name}/blob/HEAD/notebooks/colab/start.ipynb"),
    }  # fmt: skip
    links = "\n".join(f"[![{words}]({picture})]({link})" for words, (picture, link) in places.items())
    return f"<!-- launch -->\n{links}\n<!-- /launch -->"


def colab(name: str) -> dict:
    """A notebook that installs the project in Colab and runs the study."""
    folder = name.rpartition("/")[2]
    install = [f"!git clone --depth 1 https://github.com/{name}\n", f"%cd {folder}\n", "!pip install -q -e ."]
    told = "# kdnb in Colab\n\nClones the project, installs it beside what Colab has, and runs the whole study."
    sources = [("markdown", [told]), ("code", install), ("code", ["!kdnb doctor"]), ("code", ["!kdnb study"])]
    cells = [{"cell_type": kind, "id": f"colab-{i}", "metadata": {}, "source": source}
             | ({"execution_count": None, "outputs": []} if kind == "code" else {})
             for i, (kind, source) in enumerate(sources)]  # fmt: skip
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def main(root: Path, given: str = "") -> None:
    """Write CITATION.cff, the README's block and the Colab notebook."""
    name = address(root, given)
    citation, readme = root / "CITATION.cff", root / "README.md"
    text = re.sub(r"^repository-code: .*\n", "", citation.read_text("utf-8"), flags=re.MULTILINE)
    line = f'license: MIT\nrepository-code: "https://github.com/{name}"\n'
    citation.write_text(text.replace("license: MIT\n", line, 1), "utf-8")
    readme.write_text(BLOCK.sub(lambda _: badges(name), readme.read_text("utf-8")), "utf-8")
    notebook = root / "notebooks/colab/start.ipynb"
    notebook.parent.mkdir(exist_ok=True)
    notebook.write_text(json.dumps(colab(name), indent=1) + "\n", "utf-8")
    print(f"https://github.com/{name}: CITATION.cff, README.md, {notebook.relative_to(root)}")


if __name__ == "__main__":
    main(ROOT, *sys.argv[1:])
