"""How ``mmcv._ext`` comes about; in fresh interpreters, for imports happen once."""

import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest


def run(code, *paths):
    """Run code in a fresh interpreter and return what it printed."""
    paths = [str(path) for path in paths]
    code = f'import sys; sys.path[:0] = {paths!r}\n' + textwrap.dedent(code)
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture
def torchvision(tmp_path):
    """Make a package ``torchvision`` whose ``ops`` has the given source."""

    def make(source):
        package = tmp_path / 'torchvision'
        package.mkdir()
        (package / '__init__.py').write_text('')
        (package / 'ops.py').write_text(textwrap.dedent(source))
        return tmp_path

    return make


def test_the_fallback_is_a_module_with_a_spec():
    import mmcv._ext
    from mmcv.utils.ext_loader import check_ops_exist

    spec = find_spec('mmcv._ext')
    assert spec is mmcv._ext.__spec__
    assert spec.origin == 'mmlayerwise.ops'
    assert spec.loader is not None
    assert check_ops_exist()
    assert 'roi_align_forward' in dir(mmcv._ext)
    assert not hasattr(mmcv._ext, '__path__')


def test_installing_again_adds_nothing():
    from mmlayerwise.ops import install
    from mmlayerwise.ops.finder import ExtensionFinder

    install()
    assert sum(isinstance(finder, ExtensionFinder) for finder in sys.meta_path) == 1


def test_every_module_of_mmcv_ops_imports():
    import mmcv.ops

    assert all(hasattr(mmcv.ops, name) for name in mmcv.ops.__all__)


def test_the_environment_report_names_the_fallback():
    from mmcv.utils import collect_env

    report = collect_env()
    assert 'mmlayerwise' in report['MMCV Compiler']
    assert 'mmlayerwise' in report['MMCV CUDA Compiler']


def test_an_unavailable_operator_says_which_why_and_what_to_install():
    import torch
    from mmcv.ops import convex_iou

    from mmlayerwise.utils.errors import UserError

    with pytest.raises(NotImplementedError) as error:
        convex_iou(torch.zeros(1, 18), torch.zeros(1, 8))
    assert isinstance(error.value, UserError)
    message = str(error.value)
    assert "'convex_iou' of mmcv.ops is not available" in message
    assert 'without its compiled extension' in message
    assert 'install' in message
    assert 'roi_align_forward' in message  # what there is


def test_an_operator_is_implemented_once():
    from mmlayerwise.ops.extension import implemented_operators, implements

    assert 'nms' in implemented_operators()
    with pytest.raises(KeyError, match="'nms' is implemented twice"):
        implements('nms')(print)


def test_a_compiled_extension_wins(tmp_path):
    """A finder that comes first stands for a compiled extension in mmcv's folder."""
    (tmp_path / '_ext.py').write_text('compiled = True')
    output = run(
        """
        import mmlayerwise, mmcv, os
        mmcv.__path__.append(sys.path[0])
        import mmcv._ext
        print(mmcv._ext.compiled, mmcv._ext.__spec__.origin.endswith('_ext.py'))
        """,
        tmp_path,
    )
    assert output.split() == ['True', 'True']


COUNTING_TORCHVISION = """
    import torch
    calls = []

    def nms(boxes, scores, iou_threshold):
        calls.append('nms')
        return torch.arange(len(boxes))

    def roi_align(input, boxes, output_size, spatial_scale, sampling_ratio, aligned):
        calls.append('roi_align')
        assert input.dtype == boxes.dtype == torch.float32
        pooled = input.mean(dim=(2, 3))[boxes[:, 0].long()] * spatial_scale
        return pooled[:, :, None, None].expand(-1, -1, *output_size)
"""


def test_torchvision_is_preferred_to_pytorch(torchvision):
    output = run(
        """
        import mmlayerwise, torch, torchvision.ops
        from mmcv.ops import nms, roi_align
        boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.]])
        print(nms(boxes, torch.ones(2), 0.5)[1].tolist())      # the pretended result
        print(nms(boxes, torch.ones(2), 0.5, offset=1)[1].tolist())  # torchvision has no offset
        maps = torch.ones(1, 1, 2, 2, dtype=torch.float16, requires_grad=True)
        rois = torch.tensor([[0., 0., 0., 1., 1.]], dtype=torch.float16)
        pooled = roi_align(maps, rois, 1, 3.0, 0, 'avg', True)
        pooled.sum().backward()
        print(pooled.item(), maps.grad.flatten().tolist())
        print(roi_align(maps, rois, 1, 1.0, 0, 'max', True).item())  # nor a maximum
        print(torchvision.ops.calls)
        """,
        torchvision(COUNTING_TORCHVISION),
    )
    assert output.splitlines() == [
        '[0, 1]',
        '[0]',
        '3.0 [0.75, 0.75, 0.75, 0.75]',
        '1.0',
        # The first call of each is the probe; the gradient runs the operator once more.
        "['nms', 'nms', 'roi_align', 'roi_align', 'roi_align']",
    ]


@pytest.mark.parametrize(
    'source',
    [
        'raise RuntimeError("operator torchvision::nms does not exist")',
        'raise OSError("undefined symbol")',
        'import a_module_that_is_not_there',
        'def nms(*args): raise RuntimeError("Could not load the custom C++ ops")',
        '',
    ],
    ids=['unregistered', 'unlinked', 'incomplete', 'uncompiled', 'without-operators'],
)
def test_a_broken_torchvision_leaves_the_work_to_pytorch(torchvision, source):
    output = run(
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            import mmlayerwise, torch
            from mmcv.ops import nms
            boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.]])
            for _ in range(2):
                print(nms(boxes, torch.ones(2), 0.5)[1].tolist())
            print(sum('torchvision is installed, but' in str(w.message) for w in caught))
        """,
        torchvision(source),
    )
    assert output.splitlines() == ['[0]', '[0]', '0' if source == '' else '1']


def test_absent_torchvision_is_no_matter_of_warnings():
    output = run(
        """
        import warnings
        sys.modules['torchvision'] = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            from mmlayerwise.ops.torchvision_operators import torchvision_operator
            print(torchvision_operator('nms', 'cpu'))
            print(sum('torchvision' in str(w.message) for w in caught))
        """
    )
    assert output.split() == ['None', '0']
