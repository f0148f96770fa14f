"""The commands of the documentation that need Slurm."""

import documents
import pytest


@pytest.mark.parametrize("page", documents.pages_of("slurm"), ids=documents.name_of)
def test_every_command_of_a_page_that_needs_slurm_can_be_run(slurm, page, tmp_path):
    documents.run_page(page, "slurm", tmp_path, {"PARTITION": slurm.partition})
