"""Compressed models leave as ONNX and give the same numbers in onnxruntime."""

import pytest
import torch
from torch import Tensor, nn

from mmlayerwise.compression import apply_plan
from mmlayerwise.compression.outputs import floats_of
from tests.test_compression.architectures import ARCHITECTURES, model_config, shaken
from tests.test_compression.test_apply import halving_plan
from tests.zoo.configs import build

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
pytest.importorskip('onnxscript')


class TensorMode(nn.Module):
    """A model of the toolboxes as a function of images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(floats_of(self.model(images, mode='tensor')))


@pytest.mark.parametrize(
    ('name', 'cut'),
    [
        ('densenet40', 'backbone.stages.1'),
        ('unet', 'backbone.encoder.2'),
        ('retinanet', 'backbone.layer3'),
    ],
)
def test_onnxruntime_agrees(name, cut, tmp_path):
    side = ARCHITECTURES[name].side
    model = shaken(build(*model_config(name)))
    plan = halving_plan(model, (side, side))
    plan.cut = cut
    apply_plan(model, plan, (side, side))
    model.eval()
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    network = TensorMode(model).eval()
    path = str(tmp_path / 'model.onnx')

    torch.onnx.export(network, (images,), path, input_names=['images'], dynamo=False)

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    found = session.run(None, {'images': images.numpy()})
    with torch.no_grad():
        expected = network(images)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, other.abs().max().item())
        assert (torch.from_numpy(one) - other).abs().max().item() < 1e-4 * scale
