"""Every notebook runs from top to bottom without an error or a warning, and is kept stripped."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

assert NOTEBOOKS, "no notebooks found"


@pytest.fixture(autouse=True)
def platform_dirs(monkeypatch):
    """Let the kernel use the new places of its files; it warns about the old ones otherwise."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert not any(os.sep + "home" in cell.source for cell in notebook.cells)


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_without_errors_and_warnings(path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    noise = [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert noise == []
    # The figure, and the tables of trace and metrics.
    kinds = {kind for out in outputs if "data" in out for kind in out.data}
    assert {"text/html", "image/png"} <= kinds
