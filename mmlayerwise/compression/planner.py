"""From a trained model and data to a plan of what goes.

Kalhor et al., *Evaluation of Dataflow through layers of Deep Neural Networks*, arXiv 1906.05156;
Saffar, Kalhor and Habibnia, *A geometric approach for accelerating neural networks designed for
classification problems*, Scientific Reports 14:17590 (2024); for encoder-decoders Movahed Jamshidi,
Kalhor and Vahabie (2024).
"""

from dataclasses import dataclass

from torch import nn

from mmlayerwise.compression import cutting
from mmlayerwise.compression.channel_groups import ChannelGroup, find_groups
from mmlayerwise.compression.cutting import BlockIndex
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.draft import Draft
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.outputs import Example
from mmlayerwise.compression.plan import CompressionPlan, Step
from mmlayerwise.compression.reading import LayerReader, Progress
from mmlayerwise.compression.removal import ChannelRemoval
from mmlayerwise.compression.settings import CUTS, PlannerSettings
from mmlayerwise.compression.watching import IndexWatch, Schedule, Watched, owners_of
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.samples import ImageSamples, PixelSamples
from mmlayerwise.separation.samples.regions import RegionSamples


@dataclass
class Planned:
    """A plan and what was measured for it.

    Attributes:
        plan: What goes.
        blocks: The index behind every block of the original.
        refused: Layer -> why its channels could not be considered.
    """

    plan: CompressionPlan
    blocks: list[BlockIndex]
    refused: dict[str, str]


class CompressionPlanner:
    """Plans the compression of models on one set of samples.

    Args:
        reader: The samples.
        settings: What may be done.
        example: An input for counting, see :mod:`mmlayerwise.compression.outputs`.
        progress: Called as ``progress(text, done, total)``.
    """

    def __init__(
        self,
        reader: LayerReader,
        settings: PlannerSettings | None = None,
        example: Example | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.reader = reader
        self.settings = settings or PlannerSettings()
        self.example = example
        self.progress = progress or (lambda *_: None)

    def plan(self, model: nn.Module) -> Planned:
        """Plan the compression of a model.

        Args:
            model: A trained model; it is left as it was found.

        Returns:
            The plan with its reasons and savings.

        Raises:
            CompressionError: If the index is at chance level, the model cannot be traced, or the
                budget cannot be met; then the message shows the best plan.
        """
        return _Planning(self, model).run()


class _Planning:
    """The planning for one model."""

    def __init__(self, planner: CompressionPlanner, model: nn.Module) -> None:
        self.settings = planner.settings
        self.reader = planner.reader
        self.example = planner.example
        self.progress = planner.progress
        sampler = planner.reader.sampler
        self.whole = isinstance(sampler, ImageSamples)
        self.dense = isinstance(sampler, PixelSamples)
        self.regions = isinstance(sampler, RegionSamples)
        self.model = model
        self.trace = self.reader.trace(model)
        self.schedule = Schedule(self.trace)
        self.refused: dict[str, str] = {}

    def run(self) -> Planned:
        """Measure, decide, count."""
        blocks = self._measure_blocks()
        if self.settings.criterion == 'si':  # the others don't look at the index
            _check_above_chance(blocks)
        self.draft = Draft(self.model, self.settings, self.example)
        end = self._cut(blocks)
        if not self.draft.met:
            self._remove_channels(end)
        if self.settings.budget is not None and not self.draft.met:
            raise self.draft.unmet(self.refused)
        self.draft.plan.savings = self.draft.savings()
        return Planned(self.draft.plan, blocks, self.refused)

    # ---- the layers behind the last that adds to the index

    def _measure_blocks(self) -> list[BlockIndex]:
        layers = [layer for layer in self._candidates() if self.reader.accepts(layer)]
        if not layers:
            raise CompressionError(
                f'None of the blocks of {type(self.model).__name__} holds '
                f'{self.reader.sampler.kind} samples. Choose other samples'
            )
        blocks = []
        for layer, samples in self.reader.read(self.model, layers):
            found = samples.agreement(max_memory=self.reader.max_memory)
            blocks.append(BlockIndex(layer, found, samples.ids))
            self.progress('Measuring the blocks', len(blocks), len(layers))
        return blocks

    def _candidates(self) -> list[Layer]:
        if self.whole:
            return cutting.block_ends(self.trace)
        if self.dense:
            return cutting.encoder_levels(self.trace)
        stages = [layer for layer in self.trace.stages() if layer.name.startswith('backbone')]
        return stages or cutting.encoder_levels(self.trace)

    def _cut(self, blocks: list[BlockIndex]) -> BlockIndex:
        """Decide where the network ends; return its last block."""
        last, end = blocks[-1], self._chosen_end(blocks)
        if end is last:
            return last
        self.draft.plan.cut = end.name
        try:
            self.draft.savings()
        except CompressionError as error:
            if self.settings.cut not in CUTS:
                raise
            self.draft.plan.cut = None
            self.refused[f'the layers behind {end.name}'] = str(error)
            return last
        difference, test = end.compared_to(last), self.settings.significance
        self.draft.plan.steps.append(
            Step(
                kind='cut',
                module=end.name,
                kept=blocks.index(end) + 1,
                total=len(blocks),
                index_layer=end.name,
                before=last.index,
                after=end.index,
                interval=end.agreement.interval(),
                gain=difference.gain,
                standard_error=difference.standard_error,
                significant=test.rises(difference) or test.drops(difference),
                note=f'the index before is that of {last.name}',
            )
        )
        return end

    def _chosen_end(self, blocks: list[BlockIndex]) -> BlockIndex:
        asked = self.settings.cut
        if asked not in CUTS:
            named = {block.name: block for block in blocks}
            if asked not in named:
                raise CompressionError(
                    f'There is no block {asked!r} to cut after; there are {", ".join(named)}'
                )
            return named[asked]
        by_index = self.settings.criterion == 'si' and asked != 'none'
        if not by_index or (asked == 'auto' and self.regions):
            return blocks[-1]
        choose = cutting.critical_level if self.dense else cutting.last_gain
        return blocks[choose(blocks, self.settings.significance)]

    # ---- the channels

    def _remove_channels(self, end: BlockIndex) -> None:
        graph = ChannelGraph(self.model, self.example)
        groups, refused = find_groups(self.model, graph, self.schedule.first)
        self.refused.update(refused)
        self.draft.set_groups(groups)
        modules = dict(self.model.named_modules())
        watched = [
            Watched(layer, owners_of(layer, groups, self.schedule, modules))
            for layer in self._watched_layers(end)
        ]
        watch = IndexWatch(self.model, self.reader, watched, groups)
        removal = ChannelRemoval(self.draft, watch, self.trace, self.progress)
        thinnable = [group for group in groups if self._is_noticed(group, watched)]
        if self.settings.criterion != 'si':
            removal.remove_uniformly(thinnable)
            return
        own = self._own_groups(watched[0], thinnable)
        if own and removal.select_maps(watched[0], own):
            roots = {group.root for group in own}
            thinnable = [group for group in thinnable if group.root not in roots]
        removal.thin(thinnable)

    def _watched_layers(self, end: BlockIndex) -> list[Layer]:
        if self.whole:
            return [end.layer]
        stages = [layer for layer in self.trace.stages() if self.reader.accepts(layer)]
        if self.dense:
            # The last map before the prediction too: skip connections reach it past the end.
            return [end.layer, *[layer for layer in stages[-1:] if layer.name != end.name]]
        levels = [layer for layer in stages if layer.name.startswith('neck')]
        return levels or [end.layer]

    def _is_noticed(self, group: ChannelGroup, watched: list[Watched]) -> bool:
        """Whether the index would tell that channels of a group are missing."""
        if group.num_channels < 2:
            return False
        noticed = False
        for one in watched:
            end = self.schedule.end(one.layer)
            if self.schedule.first.get(group.root, end + 1) > end:
                continue  # it runs later
            owned = one.owners is not None and group.root in {root for root, _ in one.owners}
            if one.owners is None and self.schedule.read_after(group, end):
                return False  # it may be part of the layer, which would go on showing it
            noticed = noticed or owned or self.schedule.read_before(group, end)
        return noticed

    def _own_groups(self, last: Watched, groups: list[ChannelGroup]) -> list[ChannelGroup]:
        """The groups that make the maps of a layer, if nothing in front of it reads them."""
        if self.regions or last.owners is None:
            return []
        end, roots = self.schedule.end(last.layer), {root for root, _ in last.owners}
        own = [group for group in groups if group.root in roots]
        read_before = any(self.schedule.read_before(group, end) for group in own)
        return [] if read_before or len(own) < len(roots) else own


def _check_above_chance(blocks: list[BlockIndex]) -> None:
    if not cutting.at_chance(blocks):
        return
    best = max(blocks, key=lambda block: block.index)
    low, high = best.agreement.interval()
    raise CompressionError(
        f'There is nothing to cut: the index is at chance level in every block, at most '
        f'{best.index:.3f} (interval {low:.3f} - {high:.3f}) in {best.name}, where random '
        f'neighbours give {best.agreement.chance:.3f}. Train the model first, check that the '
        'checkpoint belongs to it, plan on more samples, or by magnitude, which needs no index'
    )
