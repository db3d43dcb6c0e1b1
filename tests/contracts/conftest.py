"""What the contract tests share."""

from __future__ import annotations

import pytest

from tests.support.system_bases import BASES


@pytest.fixture(params=BASES)
def base(request):
    """A system base without actors."""
    made = BASES[request.param]()
    yield made
    made.close()
