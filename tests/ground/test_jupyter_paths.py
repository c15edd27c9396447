"""The panel's parts, found where Jupyter finds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpnb.environment import ANYWIDGET, CALLBACK, data_folders, installed, user_data_folder


def test_the_persons_own_folder_is_jupyters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))

    assert user_data_folder() == tmp_path
    assert tmp_path in data_folders()


def test_what_is_listed_goes_before_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", os.pathsep.join(["/one", "/two"]))

    assert data_folders()[:2] == (Path("/one"), Path("/two"))


def test_a_part_is_found_where_it_is(tmp_path: Path) -> None:
    page = tmp_path / "second" / CALLBACK
    page.parent.mkdir(parents=True)
    page.touch()

    assert installed(CALLBACK, (tmp_path / "first", tmp_path / "second")) == page


def test_none_is_none(tmp_path: Path) -> None:
    (tmp_path / CALLBACK).mkdir(parents=True)  # a folder is no page

    assert installed(CALLBACK, (tmp_path,)) is None


def test_anywidget_is_found_where_pip_puts_it() -> None:
    """So that the path is the real one."""
    assert installed(ANYWIDGET) is not None
