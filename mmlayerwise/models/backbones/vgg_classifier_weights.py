"""From the fully connected layers of an ImageNet classifier to convolutions."""

import torch


def adapt_classifier_weights(
    state_dict: dict[str, torch.Tensor], source: str, target: str, side: int, shape: torch.Size
) -> None:
    """Turn weight and bias of a fully connected layer into those of a convolution, in place.

    A layer of fewer channels takes every n-th filter, as does a smaller filter every n-th position
    (decimation: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully
    Connected CRFs", arXiv 1412.7062, section 3.2).

    Args:
        state_dict: Checkpoint; without ``source`` it is left as it is.
        source: Name of the fully connected layer.
        target: Name of the convolution.
        side: Rows and columns of the maps that the fully connected layer reads.
        shape: (out_channels, in_channels, rows, columns) of the convolution's weight.
    """
    if f'{source}.weight' not in state_dict:
        return
    weight, bias = state_dict.pop(f'{source}.weight'), state_dict.pop(f'{source}.bias')
    weight = weight.reshape(len(weight), -1, side, side)
    outputs, inputs = (_spread(weight.shape[d], shape[d], weight.shape[d]) for d in (0, 1))
    # Filters keep their corners.
    rows, columns = (_spread(side - 1, shape[d] - 1, side) for d in (2, 3))
    state_dict[f'{target}.weight'] = weight[outputs][:, inputs][:, :, rows][..., columns]
    state_dict[f'{target}.bias'] = bias[outputs]


def _spread(length: int, steps: int, count: int) -> list[int]:
    """Positions of ``count`` at equal distances; all where there are fewer than are wanted."""
    if steps >= length:
        return list(range(count))
    positions = [length * step // max(steps, 1) for step in range(steps + 1)]
    return [position for position in positions if position < count]
