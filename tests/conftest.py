"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# A deadline in wall time would make a verdict depend on how busy the machine is.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
