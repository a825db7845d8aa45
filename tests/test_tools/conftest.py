import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


@pytest.fixture(autouse=True)
def forget_earlier_runs():
    """Runs started within one second share a name, and by it mmengine would share their log."""
    for singletons in (MMLogger, MessageHub, Visualizer, DefaultScope):
        singletons._instance_dict.clear()
