"""Whether a person sits at the notebook, or papermill runs it (01-06)."""

from __future__ import annotations

import os
import sys

__all__ = ["cell_is_named", "is_live"]


def is_live() -> bool:
    """Whether a person sits at the notebook (JupyterLab, VS Code, Colab), not papermill.

    JupyterLab and VS Code, also those of a container or a codespace, name the cell that they ask
    the kernel to run; papermill does not. ``KDNB_LIVE`` overrides.
    """
    override = os.environ.get("KDNB_LIVE", "")
    if override in ("0", "1"):
        return override == "1"
    signs = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")
    if cell_is_named():
        return True
    # a command that a cell starts inherits the signs, and can show nothing but text
    return hasattr(_shell(), "kernel") and any(name in os.environ for name in signs)


def cell_is_named() -> bool:
    """Whether the request that the kernel works on names a cell."""
    get_parent = getattr(_shell(), "get_parent", dict)  # only a kernel's shell has it
    return "cellId" in ((get_parent() or {}).get("metadata") or {})


def _shell() -> object | None:
    """The shell of IPython that this process runs in, if it does."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
