"""Registries of the scope ``mmlayerwise``: children of mmengine's, imported lazily.

Every registry names the package its components live in; mmengine imports that package when a
config first names a type of this scope.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
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


def _child(parent: Registry, *packages: str) -> Registry:
    """The registry of the scope below one of mmengine's, filled from some packages of this one."""
    locations = [f'mmlayerwise.{package}' for package in packages]
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[*locations, PLUGINS])


# Networks and their parts, losses, data preprocessors.
MODELS = _child(MMENGINE_MODELS, 'models', 'compression.compressed_model')
# Box coders, assigners, samplers, prior generators.
TASK_UTILS = _child(MMENGINE_TASK_UTILS, 'models')
DATASETS = _child(MMENGINE_DATASETS, 'datasets')
TRANSFORMS = _child(MMENGINE_TRANSFORMS, 'datasets.transforms')
METRICS = _child(MMENGINE_METRICS, 'evaluation')
HOOKS = _child(MMENGINE_HOOKS, 'engine')
LOOPS = _child(MMENGINE_LOOPS, 'engine')
VISUALIZERS = _child(MMENGINE_VISUALIZERS, 'visualization')

# Where mmengine looks for the parts of a run; without a registry of the scope it warns of each.
DATA_SAMPLERS = _child(MMENGINE_DATA_SAMPLERS, 'datasets')
EVALUATOR = _child(MMENGINE_EVALUATOR, 'evaluation')
LOG_PROCESSORS = _child(MMENGINE_LOG_PROCESSORS, 'engine')
MODEL_WRAPPERS = _child(MMENGINE_MODEL_WRAPPERS, 'engine')
OPTIMIZERS = _child(MMENGINE_OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child(MMENGINE_OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child(MMENGINE_PARAM_SCHEDULERS, 'engine')
RUNNERS = _child(MMENGINE_RUNNERS, 'engine')
VISBACKENDS = _child(MMENGINE_VISBACKENDS, 'visualization')
WEIGHT_INITIALIZERS = _child(MMENGINE_WEIGHT_INITIALIZERS, 'models')
