"""What every test shares."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from tests import postgres

# A deadline in wall time would make a verdict depend on how busy the machine is.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")

# A shell that starts the tests in the background has them ignore Ctrl-C, and every program that
# they start would inherit that: nothing could be interrupted, and the tests of it would hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server for all tests; each takes a database of its own."""
    with postgres.running(*postgres.QUICK) as server:
        yield server
