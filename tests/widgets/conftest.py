"""One JupyterLab and one Chromium for all browser tests of a session."""

import pytest
from browser import lab_in_browser


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with lab_in_browser(tmp_path_factory.mktemp("lab")) as opened:
        yield opened
