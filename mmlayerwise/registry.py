"""Registries of the scope ``mmlayerwise``: children of mmengine's, imported lazily.

Every registry names the package its components live in; mmengine imports that package when a
config first names a type of this scope.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry
from mmengine.utils import is_installed

SCOPE = 'mmlayerwise'

# mmengine resolves `_base_ = 'package::...'` for the packages in this table only.
MODULE2PACKAGE[SCOPE] = SCOPE
# It looks up mmseg by the original's distribution name, which the maintained fork does not have.
if not is_installed(MODULE2PACKAGE['mmseg']):
    MODULE2PACKAGE['mmseg'] = 'mmseg'

# Importing it registers what installed plugins bring.
PLUGINS = 'mmlayerwise.plugin_components'

# Networks and their parts, losses, data preprocessors.
MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope=SCOPE, locations=['mmlayerwise.models', PLUGINS]
)
# Box coders, assigners, samplers, prior generators.
TASK_UTILS = Registry(
    'task util', parent=MMENGINE_TASK_UTILS, scope=SCOPE, locations=['mmlayerwise.models', PLUGINS]
)
DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope=SCOPE, locations=['mmlayerwise.datasets', PLUGINS]
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope=SCOPE,
    locations=['mmlayerwise.datasets.transforms', PLUGINS],
)
METRICS = Registry(
    'metric', parent=MMENGINE_METRICS, scope=SCOPE, locations=['mmlayerwise.evaluation', PLUGINS]
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope=SCOPE, locations=['mmlayerwise.engine', PLUGINS]
)
LOOPS = Registry(
    'loop', parent=MMENGINE_LOOPS, scope=SCOPE, locations=['mmlayerwise.engine', PLUGINS]
)
VISUALIZERS = Registry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    scope=SCOPE,
    locations=['mmlayerwise.visualization', PLUGINS],
)
