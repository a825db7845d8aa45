"""Bridges between the toolboxes and a current torch and numpy, in one place.

Each function mends one thing that was seen to break and says which versions need it.
"""


def install() -> None:
    """Apply every bridge; called once on import of the package."""
    allow_history_buffer()


def allow_history_buffer() -> None:
    """Let torch>=2.6 resume mmengine checkpoints without unpickling anything else.

    mmengine saves its message hub in a checkpoint; ``torch.load(weights_only=True)`` refuses the
    classes in there unless they are on torch's allow-list.
    """
    import torch
    from mmengine.logging import HistoryBuffer

    torch.serialization.add_safe_globals([HistoryBuffer])
