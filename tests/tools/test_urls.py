"""Database URLs as they are shown."""

from __future__ import annotations

import pytest

from actorflow.support.urls import masked_text, masked_url, secrets_of

SHOWN = {
    "postgresql://me:secret@host:5432/runs": "postgresql://me:***@host:5432/runs",
    "postgresql://:secret@host/runs": "postgresql://:***@host/runs",
    "postgresql://me:s/e?c#ret@host/runs": "postgresql://me:***@host/runs",
    "postgresql://host/runs?password=secret": "postgresql://host/runs?password=***",
    "postgresql://host/runs?pass%77ord=secret": "postgresql://host/runs?pass%77ord=***",
    "postgresql://host/?sslmode=require&sslpassword=secret": (
        "postgresql://host/?sslmode=require&sslpassword=***"
    ),
    "postgresql://host/?scram_client_key=secret": "postgresql://host/?scram_client_key=***",
    "postgresql://host/?sslmode=a&secret": "postgresql://host/?sslmode=a&***",
    "postgresql://host/runs?password=": "postgresql://host/runs?password=",
    "postgresql://[::1]:5432/runs": "postgresql://[::1]:5432/runs",
    "sqlite:///a=b@c:d/runs.db?timeout=5&key=secret": (
        "sqlite:///a=b@c:d/runs.db?timeout=5&key=***"
    ),
    "runs.db": "runs.db",
    # Not parsed: only the scheme is shown.
    "postgresql:/me:secret@host/runs": "postgresql:…",
    "postgresql:me:secret@host/runs": "postgresql:…",
    "postgresql://me:sec@ret@host/runs": "postgresql://…",
    "postgresql://me:secret@host:port/runs": "postgresql://…",
    "postgresql://me%3Asecret@host/runs": "postgresql://…",
    "postgresql://host:1secret/runs": "postgresql://…",
    "postgresql//me:secret@host/runs": "…",
    "host=host password=secret": "…",
    b"postgresql://me:secret@host/runs": "<bytes>",
}


@pytest.mark.parametrize(("url", "shown"), SHOWN.items(), ids=map(str, SHOWN))
def test_a_url_is_shown_without_its_passwords(url, shown):
    """And masking it twice changes nothing more."""
    assert shown == masked_url(url)
    assert not isinstance(url, str) or shown == masked_url(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no host in postgresql:/me:secret@host/runs", "no host in postgresql:…"),
        ("('postgresql://me:secret@host/runs')", "('postgresql://me:***@host/runs')"),
        ("see https://example.org/a:b?c=d", "see https://example.org/a:b?c=d"),
        ("a password of Tr%21cky or Tr!cky", "a password of *** or ***"),
    ],
)
def test_urls_and_secrets_within_a_text_are_masked(text, shown):
    """A URL without a login or a password stays as it is."""
    secrets = secrets_of("postgresql://me:Tr%21cky@host/runs")

    assert shown == masked_text(text, secrets)


def test_what_the_masked_url_shows_anyway_is_not_a_secret():
    """Neither is what is too short to be found."""
    assert frozenset() == secrets_of("postgresql://postgres:postgres@host/runs?password=ab")
