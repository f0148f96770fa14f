"""The commands of the documentation that need scanners."""

import documents
import pytest

from .scanners import HAS_MODELSCAN

pytestmark = pytest.mark.skipif(not HAS_MODELSCAN, reason="no version of modelscan for this Python")


@pytest.mark.parametrize("page", documents.pages_of("scanners"), ids=documents.name_of)
def test_every_command_of_a_page_that_needs_scanners_can_be_run(page, tmp_path):
    documents.run_page(page, "scanners", tmp_path, {})
