"""Database URLs as they may be shown: without passwords.

The rule is an allowlist. A URL is shown only as far as it is understood: its user, host, port,
database, and the query parameters that are known to hold no secret. A URL that cannot be parsed may
have its password anywhere, so only its scheme is shown.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote

__all__ = ["HIDDEN", "masked_text", "masked_url", "secrets_of", "shown_parameter"]

HIDDEN: Final = "***"
"""Shown instead of a secret."""
_UNKNOWN: Final = "…"
"""Shown instead of all that follows the scheme of a URL that cannot be parsed."""
_FILE: Final = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?)://(?P<rest>/[^?]*)(?:\?(?P<query>.*))?")
_SERVER: Final = re.compile(
    r"""
    (?P<scheme>[A-Za-z][\w+.-]*)://
    (?:(?P<user>[^:/?\#@\s]*)(?::(?P<password>[^@]*))?@)?
    (?P<rest>
        (?:\[[0-9A-Fa-f:.%]+\]|[\w.%,-]*)(?::[\d,]*)?
        (?:/[^?\#@:=\s]*)?
    )
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)
_SCHEME: Final = re.compile(r"[A-Za-z][\w+.-]*(?=:)")
_PLAIN: Final = re.compile(r"[\w./~-]*")
"""Strings such as `runs.db`, which have no place for a password."""
_IN_TEXT: Final = re.compile(r"[A-Za-z][\w+.-]*:/[^\s'\"<>]+")
_SHOWN: Final = frozenset(
    {
        # PostgreSQL
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname"),
        *("gssencmode", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle"),
        *("keepalives_interval", "load_balance_hosts", "port", "require_auth", "service"),
        *("sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert", "target_session_attrs"),
        *("tcp_user_timeout", "user"),
        # SQLite
        *("cache", "cached_statements", "check_same_thread", "detect_types", "immutable"),
        *("isolation_level", "mode", "nolock", "timeout", "uri", "vfs"),
    }
)
"""Query parameters whose values are shown. All others are hidden, because libpq gains new secrets:
`sslpassword`, `oauth_client_secret`, `scram_client_key`.
"""
_SHORTEST: Final = 4
"""The minimum length of a secret that is hidden within messages; hiding `a` would hide nothing."""


def masked_url(url: object) -> str:
    """Return a URL as an error, a log or a terminal may show it.

    Its password and the values of query parameters are replaced by `***`, except for parameters
    that are known to be harmless. Of a URL that cannot be parsed, only the scheme is returned.

    Example:
        >>> from actorflow.support.urls import masked_url
        >>> masked_url("postgresql://me:secret@host/runs?sslmode=require&sslpassword=secret")
        'postgresql://me:***@host/runs?sslmode=require&sslpassword=***'
        >>> masked_url("postgresql:/me:secret@host/runs")
        'postgresql:…'
    """
    if not isinstance(url, str):
        return f"<{type(url).__name__}>"
    found = _parsed(url)
    if found is None and _PLAIN.fullmatch(url):
        return url
    if found is None:
        scheme = _SCHEME.match(url)
        between = "://" if "://" in url else ":"
        return _UNKNOWN if scheme is None else f"{scheme[0]}{between}{_UNKNOWN}"
    parts = found.groupdict()
    user, password, query = parts.get("user"), parts.get("password"), parts["query"]
    login = "" if user is None else f"{user}{'' if password is None else f':{HIDDEN}'}@"
    shown = f"{parts['scheme']}://{login}{parts['rest']}"
    return shown if query is None else f"{shown}?{'&'.join(map(_parameter, query.split('&')))}"


def secrets_of(url: str) -> frozenset[str]:
    """Return the strings that a URL hides, as written and decoded, to remove them from messages.

    A value that the masked URL shows elsewhere, such as a user name that is also the password, is
    not one of them.
    """
    found = _parsed(url)
    if found is None:
        return frozenset()
    values = [found.groupdict().get("password") or ""]
    for name, value in parse_qsl(found["query"] or "", keep_blank_values=True):
        if not shown_parameter(name):
            values.append(value)
    shown = masked_url(url)
    both = {*values, *map(unquote, values)}
    return frozenset(it for it in both if len(it) >= _SHORTEST and it not in shown)


def shown_parameter(name: str) -> bool:
    """Return whether the value of a URL's query parameter may be shown."""
    return name in _SHOWN


def masked_text(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """Return a text with the given secrets, and the URLs in it that may hold some, masked."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _IN_TEXT.sub(_masked_if_secret, text)


def _masked_if_secret(found: re.Match[str]) -> str:
    """Mask a URL that has a login or a password; leave, say, a link to documentation as it is."""
    return masked_url(found[0]) if "@" in found[0] or "pass" in found[0].lower() else found[0]


def _parsed(url: str) -> re.Match[str] | None:
    found = _FILE.fullmatch(url) or _SERVER.fullmatch(url)
    if found is None or ":" in unquote(found.groupdict().get("user") or ""):
        return None  # `user%3Apassword@` hides a password in the user
    return found


def _parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return HIDDEN if name else ""  # no name, so it may be a part of a password with a `&`
    if not re.fullmatch(r"[\w%-]+", name):
        return HIDDEN
    hidden = value and not shown_parameter(unquote(name))
    return f"{name}={HIDDEN if hidden else value}"
