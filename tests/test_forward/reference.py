"""Float64 references: the layer itself under autograd, and loops over pairs."""

import torch
from torch import nn

# One of each property that a first convolution can have.
LAYERS = {
    'plain': (lambda: nn.Conv2d(3, 8, 3, padding=1), (3, 7, 6)),
    'no bias': (lambda: nn.Conv2d(3, 8, 3, bias=False), (3, 7, 6)),
    'grey': (lambda: nn.Conv2d(1, 6, (5, 2), padding=(2, 1)), (1, 7, 6)),
    'stride': (lambda: nn.Conv2d(3, 6, 4, stride=(2, 3), padding=1), (3, 9, 11)),
    'dilation': (lambda: nn.Conv2d(2, 6, 3, dilation=2, padding=2), (2, 7, 8)),
    'groups': (lambda: nn.Conv2d(4, 8, 3, groups=2), (4, 7, 6)),
    'depthwise': (lambda: nn.Conv2d(3, 6, 3, groups=3, bias=False), (3, 7, 6)),
    'same': (lambda: nn.Conv2d(3, 6, (2, 3), padding='same'), (3, 7, 6)),
    'reflected': (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode='reflect'), (3, 7, 6)),
    'five channels': (lambda: nn.Conv2d(5, 8, 1), (5, 7, 6)),
    'text': (lambda: nn.Conv1d(4, 8, 3, padding=1), (4, 15)),
    'strided text': (lambda: nn.Conv1d(4, 8, 5, stride=2, dilation=2, bias=False), (4, 23)),
}


def layer_and_samples(name, num_samples=24, seed=0):
    """A float64 layer and correlated samples of two classes, far from zero mean."""
    torch.manual_seed(seed)
    build, shape = LAYERS[name]
    layer = build().double()
    labels = torch.arange(num_samples) % 2
    noise = torch.randn(num_samples, *shape, dtype=torch.float64)
    smooth = noise.cumsum(-1) * 0.4
    patterns = torch.randn(2, *shape, dtype=torch.float64)
    scale = torch.linspace(0.5, 2, shape[0]).view(-1, *[1] * (len(shape) - 1)).double()
    return layer, (smooth + 1.5 * patterns[labels] + 0.7) * scale, labels


def triplet_loss(features, friends, enemies):
    """The lectures' J: summed squared distances to friends less those to enemies."""
    features = features.flatten(1)
    return (features - features[friends]).square().sum() - (
        features - features[enemies]
    ).square().sum()


def brute_force_triplets(features, labels, sources=None):
    """Nearest friend and enemy of every sample by loops, and the separation index."""
    features = features.flatten(1)
    friends, enemies, separated = [], [], 0
    for i in range(len(features)):
        best = {True: (float('inf'), -1), False: (float('inf'), -1)}
        for q in range(len(features)):
            if q == i or (sources is not None and sources[q] == sources[i]):
                continue
            same = bool(labels[q] == labels[i])
            best[same] = min(best[same], ((features[i] - features[q]).norm().item(), q))
        friends.append(best[True][1])
        enemies.append(best[False][1])
        separated += best[True] < best[False]
    return torch.tensor(friends), torch.tensor(enemies), separated / len(features)
