"""Short stand-ins for long feature vectors that keep all distances within a wanted distortion.

The vectors are multiplied by a seeded matrix of random signs (D. Achlioptas, *Database-friendly
random projections: Johnson-Lindenstrauss with binary coins*, J. Computer and System Sciences 66,
2003, theorem 1.1).
"""

from math import ceil, log, log2

import numpy as np
import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError

# Entries of the matrix that exist at a time.
BLOCK_ENTRIES = 2**20
# Bytes that the vectors of a layer may take before they are sketched.
FEATURE_MEMORY = 2**30
DEFAULT_DISTORTION = 0.1
# Share of failures: the distortion is kept by all pairs with probability 1 - num_samples**-BETA.
BETA = 1


def sketch_dimension(num_samples: int, distortion: float) -> int:
    """Length of the sketches that keeps all distances among the samples.

    Squared distances keep within 1 ± e, all together with probability at least 1 - n^-b, at
    (4 + 2 b) ln(n) / (e²/2 - e³/3) dimensions (Achlioptas, theorem 1.1). Here b = 1, and
    e = d (2 - d), so that the distances themselves keep within 1 ± d.

    Args:
        num_samples: How many vectors are compared, n.
        distortion: Relative error of a distance, d, between 0 and 1.

    Returns:
        The dimension; it does not depend on that of the vectors.

    Raises:
        SeparationError: If the distortion is not between 0 and 1.
    """
    if not 0 < distortion < 1:
        raise SeparationError(f'distortion must be between 0 and 1, got {distortion}.')
    squared = distortion * (2 - distortion)
    return ceil((4 + 2 * BETA) * log(max(2, num_samples)) / (squared**2 / 2 - squared**3 / 3))


class Sketch:
    """A random projection that is the same for every process, batch, device and time.

    The matrix is made block by block from a counter-based generator and never held. Every vector
    is first rounded to a common step of about 2^(log2(dimension) - 52) of its largest value. Then
    float64 adds up signed values without any rounding: the result does not depend on the order of
    the sums, so neither on what is projected together nor on the library that multiplies.

    Args:
        dimension: Length of the vectors.
        sketch_dimension: Length of the sketches.
        seed: Of the matrix.
    """

    def __init__(self, dimension: int, sketch_dimension: int, seed: int = 0) -> None:
        self.dimension = dimension
        self.sketch_dimension = sketch_dimension
        self.seed = seed

    def __call__(self, vectors: Tensor) -> Tensor:
        """Project vectors.

        Args:
            vectors: Shape (num_vectors, dimension), any real dtype, on any device.

        Returns:
            Shape (num_vectors, sketch_dimension), float64 of float64 and float32 of all others. A
            vector that holds NaN or infinity gives NaN.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise SeparationError(
                f'Expected vectors of shape (num_vectors, {self.dimension}), got '
                f'{tuple(vectors.shape)}.'
            )
        largest = vectors.abs().amax(1, keepdim=True).double()
        # The power of two that brings a vector into [-1, 1]; the quotient is exact.
        power = largest / torch.frexp(largest).mantissa
        power = torch.where(largest == 0, 1.0, power)
        # Added and taken away, it rounds to a multiple of its own last place.
        rounding = 1.5 * 2.0 ** ceil(log2(max(2, self.dimension)))
        shape = len(vectors), self.sketch_dimension
        sums = torch.zeros(shape, dtype=torch.float64, device=vectors.device)
        total = torch.zeros(len(vectors), 1, dtype=torch.float64, device=vectors.device)
        step = max(1, BLOCK_ENTRIES // self.sketch_dimension)
        for number, start in enumerate(range(0, self.dimension, step)):
            block = vectors[:, start : start + step].double() / power
            block.add_(rounding).sub_(rounding)
            total += block.sum(1, keepdim=True)
            sums.addmm_(block, self._bits(number, block.shape[1]).to(vectors.device).double())
        # Bits to signs: x (2 b - 1) = 2 x b - x.
        sums.mul_(2).sub_(total).mul_(power / self.sketch_dimension**0.5)
        return sums if vectors.dtype == torch.float64 else sums.float()

    def _bits(self, number: int, rows: int) -> Tensor:
        """A block of the matrix: uint8 of zeros and ones, shape (rows, sketch_dimension)."""
        key = [self.seed, self.dimension, self.sketch_dimension, number]
        # The raw stream of a bit generator is promised to stay what it is; others are not.
        generator = np.random.Philox(np.random.SeedSequence(key))
        width = -(-self.sketch_dimension // 64)
        words = generator.random_raw(rows * width).astype('<u8').reshape(rows, width)
        bits = np.unpackbits(words.view(np.uint8), axis=1, count=self.sketch_dimension)
        return torch.from_numpy(bits)


class FeatureBudget:
    """Sketches vectors that are too long for the memory of a layer, and leaves others as they are.

    Args:
        num_samples: How many samples a layer has at most.
        memory: Bytes that the vectors of a layer may take.
        distortion: Relative error of the distances among sketches.
        seed: Of the sketches.

    Raises:
        SeparationError: If the memory is not positive or the distortion not between 0 and 1.
    """

    def __init__(self, num_samples: int, memory: int, distortion: float, seed: int = 0) -> None:
        if memory < 1:
            raise SeparationError(f'feature_memory must be at least 1 byte, got {memory}.')
        self.num_samples = num_samples
        self.memory = memory
        self.distortion = distortion
        self.seed = seed
        self.sketch_dimension = sketch_dimension(num_samples, distortion)

    def shortens(self, dimension: int, element_size: int = 4) -> bool:
        """Whether vectors of this length are sketched: too large, and a sketch is shorter."""
        too_large = self.num_samples * dimension * element_size > self.memory
        return too_large and self.sketch_dimension < dimension

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the vectors, shape (num_vectors, dimension), or their sketches."""
        if not self.shortens(vectors.shape[1], vectors.element_size()):
            return vectors
        return Sketch(vectors.shape[1], self.sketch_dimension, self.seed)(vectors)
