# The default runtime, with the scope and the visualizer of mmseg.
_base_ = './default_runtime.py'

default_scope = 'mmseg'
default_hooks = dict(visualization=dict(type='mmseg.SegVisualizationHook'))
visualizer = dict(type='mmseg.SegLocalVisualizer')
log_processor = dict(by_epoch=False)
