"""Warnings of what is legal and surely a mistake."""

from __future__ import annotations

import pytest

from actorflow import ActorflowWarning, Workflow
from actorflow.support.warnings import warn


def test_a_warning_names_the_line_that_is_to_be_mended():
    """It is the one that called into actorflow, however deep within that the fault was seen."""
    flow = Workflow("flow")
    flow.step(lambda: 1, id="fetch")
    flow.step(lambda fecth=None: fecth, id="process", after="fetch")

    with pytest.warns(ActorflowWarning) as deep:
        flow.validate()
    with pytest.warns(ActorflowWarning) as shallow:
        warn("here")

    assert [__file__, __file__] == [deep[0].filename, shallow[0].filename]
    assert "here" == str(shallow[0].message)
