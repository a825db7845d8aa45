"""Bridges between the toolboxes and a current torch and numpy, in one place.

Each function mends one thing that was seen to break and says which versions need it.
"""


def install() -> None:
    """Apply every bridge; called once on import of the package."""
    allow_history_buffer()
    find_configs_of_editable_installs()


def allow_history_buffer() -> None:
    """Let torch>=2.6 resume mmengine checkpoints without unpickling anything else.

    mmengine saves its message hub in a checkpoint; ``torch.load(weights_only=True)`` refuses the
    classes in there unless they are on torch's allow-list.
    """
    import torch
    from mmengine.logging import HistoryBuffer

    torch.serialization.add_safe_globals([HistoryBuffer])


def find_configs_of_editable_installs() -> None:
    """Let ``_base_ = 'package::...'`` reach a package installed with ``pip install -e``.

    mmengine 0.10.7 looks for the package in site-packages, where an editable one is not.
    """
    from importlib.util import find_spec
    from pathlib import Path

    from mmengine.config import config, utils
    from mmengine.utils import get_installed_path

    def get_importable_path(package: str) -> str:
        path = Path(get_installed_path(package))
        spec = None if path.exists() else find_spec(package)
        return str(Path(spec.origin).parent if spec and spec.origin else path)

    for module in (config, utils):
        if hasattr(module, 'get_installed_path'):
            module.get_installed_path = get_importable_path
