"""The error of this package."""

from mmlayerwise.utils.errors import UserError


class ForwardLearningError(UserError, ValueError):
    """A layer or samples that cannot be learned forward; the message says how to mend it."""
