"""What the tests of watching runs share."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def no_configuration():
    """Give each test structlog as it is before a program configures it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
