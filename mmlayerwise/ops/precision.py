"""The precision in which operators compute."""

from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """Return float16 and bfloat16 tensors as float32, others as they are.

    Box coordinates beyond 2,048 pixels are not even integers in float16, and sums over a window
    lose digits; so operators compute in float32 at least and round their result once.
    """
    return tensor.float() if tensor.element_size() < 4 else tensor
