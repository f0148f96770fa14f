"""The commands of the documentation that need Slurm, as they stand there."""

import os

import documents
import pytest


@pytest.mark.parametrize("page", documents.pages_of("slurm"), ids=documents.name_of)
def test_every_command_of_a_page_that_needs_slurm_can_be_run(slurm, page, tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("DORA_PACKAGE", "AUDIOCRAFT_DORA_DIR")}
    env.update(PYTHONWARNINGS="ignore", OMP_NUM_THREADS="1", PARTITION=slurm.partition)
    (tmp_path / "home").mkdir()
    result = documents.run_page(page, "slurm", tmp_path / "home", tmp_path / "tools", env)
    documents.check_shown(page, "slurm", result)
