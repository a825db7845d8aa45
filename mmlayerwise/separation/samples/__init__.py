"""What a sample is: an image, a pixel at the layer's own stride, a box, an instance, a text.

A sampler chooses samples from the ground truth alone, by random numbers that depend on the seed and
the image only. So the choice is the same for every layer, every epoch and any number of processes.
"""

from mmlayerwise.separation.samples.balance import balanced_order, select_balanced
from mmlayerwise.separation.samples.boxes import BoxSamples
from mmlayerwise.separation.samples.build import build_sampler, samplers
from mmlayerwise.separation.samples.ground_truth import GroundTruth, ground_truths
from mmlayerwise.separation.samples.images import ImageSamples
from mmlayerwise.separation.samples.instances import InstanceSamples
from mmlayerwise.separation.samples.pixels import PixelSamples, majority_label
from mmlayerwise.separation.samples.sampler import Candidates, Extracted, Pooling, Sampler
from mmlayerwise.separation.samples.text import TextSamples, TokenSamples

__all__ = [
    'BoxSamples',
    'Candidates',
    'Extracted',
    'GroundTruth',
    'ImageSamples',
    'InstanceSamples',
    'PixelSamples',
    'Pooling',
    'Sampler',
    'TextSamples',
    'TokenSamples',
    'balanced_order',
    'build_sampler',
    'ground_truths',
    'majority_label',
    'samplers',
    'select_balanced',
]
