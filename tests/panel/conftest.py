"""What the tests of the panel share: servers with a person's consent page, and open notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mcpnb.demo.servers import DemoServers
from tests.fakes.front_end import FrontEnd, Show
from tests.fakes.kernels import Kernel
from tests.peers.browsers import Window
from tests.peers.jupyter import Jupyter
from tests.peers.jupyter_page import Notebook


@pytest.fixture
def demo() -> Iterator[DemoServers]:
    """Give servers whose consent page a person clicks, and which keep the tab to themselves."""
    with DemoServers() as servers:
        yield servers


@pytest.fixture
def opened(window: Window, lab: Jupyter) -> Callable[..., Notebook]:
    """Open notebooks with these cells, of which the first has run, unless it is to wait.

    On Notebook 7's pages, which have the same code for cells and widgets, and load faster.
    """

    def open_one(*cells: str, run: bool = True, **given: str) -> Notebook:
        given = {"application": "notebook"} | given
        notebook = Notebook.of(window.context, lab, cells, **given)
        return notebook.run(0) if run else notebook

    return open_one


@pytest.fixture
def front(kernel: Kernel, show: Show) -> FrontEnd:
    """Show a session that nobody is signed in to."""
    return show(kernel(callback_port=None))
