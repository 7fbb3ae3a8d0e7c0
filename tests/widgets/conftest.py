"""One JupyterLab for all browser tests of a worker; the widget of each module, in Python and in a notebook.

A module gives ``SETUP`` (code that makes ``data``), ``CELL`` (code that shows the widget), ``WIDGET`` (its selector).
"""

import pytest
from browser import Lab, jupyterlab


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as address:
        yield Lab(folder, address, chromium)


@pytest.fixture(scope="module")
def data(request):
    scope = {}
    exec(request.module.SETUP, scope)
    return scope["data"]


@pytest.fixture(scope="module")
def opened(lab, request):
    module = request.module
    opened = lab.open(module.__name__, [module.SETUP, module.CELL], f"{module.WIDGET}[aria-busy=false]")
    yield opened
    opened.page.close()
