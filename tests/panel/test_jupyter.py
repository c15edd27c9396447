"""`mcpnb jupyter`: the panel's parts in the person's own Jupyter folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpnb.environment import ANYWIDGET, CALLBACK, WIDGET_MANAGER, user_data_folder
from mcpnb.errors import ConfigError
from mcpnb.panel import jupyter
from tests.terminal import invoke

PARTS = (CALLBACK, ANYWIDGET, WIDGET_MANAGER)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the person's own Jupyter folder, which is not there yet."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return user_data_folder()


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_parts_are_put_there_and_taken_out(folder: Path) -> None:
    done = invoke("jupyter").expect(0)
    assert all((folder / part).is_file() for part in PARTS)
    assert done.out.splitlines()[0] == str(folder / CALLBACK)
    assert "Reload the page" in done.err

    invoke("jupyter", "--remove").expect(0)
    assert files(folder) == {}
    assert "nothing to remove" in invoke("jupyter", "--remove").expect(0).err


def test_doing_it_again_changes_nothing(folder: Path) -> None:
    jupyter.install()
    before = files(folder)
    jupyter.install()
    assert files(folder) == before


def test_an_older_page_is_replaced(folder: Path) -> None:
    jupyter.install()
    page, whole = folder / CALLBACK, (folder / CALLBACK).read_bytes()
    page.write_bytes(b"older")
    jupyter.install()
    assert page.read_bytes() == whole


@pytest.mark.parametrize("part", PARTS)
def test_what_pip_put_there_stays(folder: Path, part: str) -> None:
    """``pip install --user`` writes to the same folder: it belongs to what pip takes out."""
    own, others = folder / part, [folder / other for other in PARTS if other != part]
    own.parent.mkdir(parents=True)
    own.write_text("pip's")
    jupyter.install()
    assert all(other.is_file() for other in others)
    assert part == CALLBACK or own.read_text() == "pip's", "only the page is brought up to date"

    done = invoke("jupyter", "--remove").expect(0)
    assert str(own.parent) not in done.out
    assert own.is_file()
    assert not any(other.exists() for other in others)
    assert "nothing to remove" in invoke("jupyter", "--remove").expect(0).err
    assert own.is_file()


def test_the_page_can_be_read_by_a_jupyter_of_another_user(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        jupyter.install()
    finally:
        os.umask(before)
    assert (folder / CALLBACK).stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    folder.write_text("a file, and no folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        jupyter.install()
    assert "JUPYTER_DATA_DIR" in invoke("jupyter").expect(2).err
