"""What a user can mend, and nothing else.

Every class here is shown as one or two sentences without a traceback, with exit code 2 on the command line and as
`{"error": ..., "field": ...}` over HTTP. All other exceptions are defects and keep their traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class LlmDitError(Exception):
    """Base class of everything the user can mend.

    Attributes:
        field: Name of the parameter at fault, where there is one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidParameter(LlmDitError):
    """A parameter has a value outside its range.

    The message is put together when it is shown, so that each surface can call the parameter by the name its user typed
    (`--height`, `[default.generation] height`, `height`).

    Attributes:
        field: The parameter's name in Python.
        problem: The rest of the sentence: value, allowed range, next step.
        label: What the sentence calls the parameter; its name in Python until a surface says how its user typed it.
    """

    def __init__(self, field: str, problem: str, *, label: str | None = None) -> None:
        self.label = field if label is None else label
        super().__init__(f"{self.label} {problem}", field=field)
        self.problem = problem

    def named(self, label: str) -> InvalidParameter:
        """Return the same error with the parameter called `label` in its sentence."""
        assert self.field is not None
        return InvalidParameter(self.field, self.problem, label=label)


class ConfigError(LlmDitError):
    """A configuration file is missing, malformed, or names something that does not exist."""


class CheckpointError(LlmDitError):
    """A model folder is incomplete, damaged, or not a Z-Image checkpoint."""


class DeviceError(LlmDitError):
    """A kernel or number format was asked for that this machine does not have."""


class OutOfMemory(LlmDitError):
    """A device has too little memory for an image."""


class NonFiniteLatents(LlmDitError):
    """Sampling left the range of the number format in use."""


NOT_FINITE_ADVICE = {
    "float16": "use dtype bfloat16 or float32 (float16 overflows in this model).",
    "bfloat16": "use dtype float32; if that is not finite either, the weights are damaged: fetch the model again.",
    "float32": "float32 has no larger range, so the checkpoint's weights are damaged or a setting is extreme; fetch it "
    "again or use the default settings.",
}
"""What helps by the number format in use."""


def not_finite(what: str, dtype: str) -> NonFiniteLatents:
    """Return the error of numbers that are not finite.

    Args:
        what: Beginning of the sentence, such as `The decoded image is not finite`.
        dtype: Name of the number format in use.
    """
    return NonFiniteLatents(f"{what}; {NOT_FINITE_ADVICE.get(dtype, NOT_FINITE_ADVICE['float32'])}")


class OutputError(LlmDitError):
    """A file can't be written or read where the user asked for it."""


def unwritable(what: str, error: OSError, *, field: str | None = None) -> OutputError:
    """Return the error of a file or folder that the system does not let us write.

    Args:
        what: Beginning of the sentence, such as `out/report.html can't be written`.
        error: What the system said.
        field: Name of the parameter that chose the place, where there is one.
    """
    way_out = "free some space, make the folder writable, or choose another one."
    return OutputError(f"{what}: {error.strerror or error}; {way_out}", field=field)


def listed(names: Sequence[str], most: int) -> str:
    """Return at most `most` names, and how many more there are, as they stand in a sentence: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return a sentence part that helps after an unknown name.

    Args:
        word: What the user typed.
        candidates: Every valid name.

    Returns:
        `; did you mean 'x'?` for a near miss, else `; valid: a, b, c.`
    """
    names = sorted(candidates)
    close = close_match(word, names)
    return f"; did you mean {close!r}?" if close is not None else f"; valid: {', '.join(names)}."


def close_match(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that looks like `word`, if one does."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)), None)
