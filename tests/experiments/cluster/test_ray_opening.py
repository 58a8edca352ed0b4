"""What goes with a command to the nodes of a cluster."""

from pathlib import Path

import pytest

from experiments.cluster import ray_opening


@pytest.mark.parametrize(("is_checkout", "folders"), [(True, ["engine", "experiments"]), (False, ["experiments"])])
def test_a_checkout_travels_whole_and_of_a_wheel_the_lab(tmp_path, monkeypatch, is_checkout, folders):
    if is_checkout:
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(ray_opening, "code_folders", lambda: (tmp_path / "engine", tmp_path / "experiments"))
    assert [Path(module).name for module in ray_opening.code_that_travels()["py_modules"]] == folders
