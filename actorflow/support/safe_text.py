"""Texts of things that are anybody's: making one may raise, and must not matter."""

from __future__ import annotations

__all__ = ["said_by", "text_of"]


def text_of(value: object) -> str:
    """Return a value's repr, or its class's name when that cannot be had."""
    try:
        return repr(value)
    except BaseException:  # noqa: BLE001 - whatever a program's own `__repr__` raises
        return f"<{type(value).__name__}>"


def said_by(error: BaseException) -> str:
    """Return an error's class and text, without a full stop; it may have no text."""
    name = type(error).__name__
    try:
        text = str(error).rstrip(".")
    except BaseException:  # noqa: BLE001 - whatever a program's own `__str__` raises
        return f"{name} (its text cannot be had)"
    return f"{name}: {text}" if text else name
