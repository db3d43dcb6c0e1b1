"""repr() and str() of user objects, which may raise."""

from __future__ import annotations

__all__ = ["said_by", "text_of"]


def text_of(value: object) -> str:
    """Return a value's repr, or the name of its class if repr() raises."""
    try:
        return repr(value)
    except BaseException:  # noqa: BLE001 - whatever a program's own `__repr__` raises
        return f"<{type(value).__name__}>"


def said_by(error: BaseException) -> str:
    """Return the class and text of an error, without a full stop."""
    name = type(error).__name__
    try:
        text = str(error).rstrip(".")
    except BaseException:  # noqa: BLE001 - whatever a program's own `__str__` raises
        return f"{name} (its text is not available)"
    return f"{name}: {text}" if text else name
