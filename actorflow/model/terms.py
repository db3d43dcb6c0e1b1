"""The terms of a start: what a key means for the runs before and after it."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

__all__ = ["NO_TERMS", "OnConflict", "Reuse", "StartTerms"]

OnConflict: TypeAlias = Literal["return", "reject", "queue", "replace_queued", "cancel_running"]
"""What a start does when a run with its `key` is live."""
Reuse: TypeAlias = Literal["never", "if_failed"]
"""When an idempotency key may start another run."""


@attrs.frozen(kw_only=True)
class StartTerms:
    """What the start of a run asks for beyond the run itself."""

    reuse: Reuse = "never"
    """Whether the idempotency key of a run that failed or was cancelled starts another one."""
    expires: float | None = None
    """Seconds after acceptance for which the idempotency key stands; None for ever."""
    on_conflict: OnConflict = "return"
    """What to do when a run with the same `key` is live."""
    debounce: float | None = None
    """Seconds without another request after which a debounced run starts."""


NO_TERMS: Final = StartTerms()
"""The terms of a start that names none."""
