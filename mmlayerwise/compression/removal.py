"""Which channels go: the maps of the last layer, those of earlier layers, or a share of all."""

from collections.abc import Sequence

from torch import Tensor

from mmlayerwise.compression.channel_groups import ChannelGroup
from mmlayerwise.compression.criteria import importance, least_important_first
from mmlayerwise.compression.draft import Draft
from mmlayerwise.compression.reading import LayerSamples, Progress
from mmlayerwise.compression.thinning import largest_removal, uniform_removal
from mmlayerwise.compression.watching import IndexWatch, Watched
from mmlayerwise.separation.layers import Trace
from mmlayerwise.separation.selection import rank_features

# Above so many maps the greedy search looks at the best ones alone, ...
_MANY_MAPS = 256
# ... as many as this in each step.
_SHORTLIST = 64
# Halvings of the uniform share.
_HALVINGS = 8


class ChannelRemoval:
    """Removes channels in a draft while watching an index.

    Args:
        draft: The plan in the making.
        watch: Measures the index.
        trace: The model's layers.
        progress: Called as ``progress(text, done, total)``.
    """

    def __init__(self, draft: Draft, watch: IndexWatch, trace: Trace, progress: Progress) -> None:
        self.draft = draft
        self.settings = draft.settings
        self.watch = watch
        self.trace = trace
        self.progress = progress
        self._orders: dict[str, list[int]] = {}

    # ---- the maps of the last layer

    def select_maps(self, last: Watched, own: Sequence[ChannelGroup]) -> bool:
        """Keep the fewest maps of a layer that separate as well as all, by greedy search.

        Args:
            last: The layer, its owners known.
            own: The groups of its channels, which nothing in front of it reads.

        Returns:
            Whether maps were chosen; a layer whose samples are no channels has none.
        """
        samples = self.watch.samples(last.layer, self.draft.removed)
        count = samples.features.shape[1]
        if count != len(last.owners):
            return False
        shortlist = self.settings.shortlist
        if shortlist is None and count > _MANY_MAPS:
            shortlist = _SHORTLIST
        ranking = rank_features(
            samples.features,
            samples.labels,
            groups=samples.groups,
            shortlist=shortlist,
            max_memory=self.watch.reader.max_memory,
            progress=lambda done, total: self.progress(
                f'Selecting maps of {last.layer.name}', done, total
            ),
        )
        least = ranking.num_kept(self.settings.map_tolerance)
        # A layer without output cannot be: of each, the best map stays.
        needed = [_best_map(last, group.root, ranking.alone) for group in own]

        def remove(number: int) -> None:
            kept = {*ranking.order[: count - number], *needed}
            self.draft.remove(_unselected(last, kept))

        remove(count - least)
        if self.settings.budget is not None:
            self.draft.fewest(0, count - least, remove)
        kept = last.remaining(self.draft.removed)
        if kept is not None:
            before = samples.agreement(max_memory=self.watch.reader.max_memory)
            after = samples.agreement(kept, self.watch.reader.max_memory)
            module = own[0].root if len(own) == 1 else last.layer.name
            note = f'by greedy search among the maps of {last.layer.name}'
            self.draft.note(
                'channels', module, len(kept), count, last.layer.name, (before, after), note
            )
        return True

    # ---- the earlier layers

    def thin(self, groups: Sequence[ChannelGroup]) -> None:
        """Thin layers, the last first, while the index holds.

        If a budget asks for more, the index may fall further in several rounds.

        Args:
            groups: The layers' channels, in execution order.
        """
        reference = self.watch.index(self.draft.removed)
        drop = self.settings.max_drop
        while groups:
            for done, group in enumerate(reversed(groups)):
                if self.draft.met:
                    return
                self._thin_one(group, reference - drop)
                text = f'Thinning layers ({self.watch.measurements} measurements)'
                self.progress(text, done + 1, len(groups))
            unmet = self.settings.budget is not None and not self.draft.met
            if not unmet or drop >= self.settings.drop_limit:
                return
            drop = min(max(2 * drop, 0.01), self.settings.drop_limit)

    def _thin_one(self, group: ChannelGroup, floor: float) -> None:
        removed = self.draft.removed
        order, start = self._order(group), len(removed.get(group.root, ()))

        def holds(count: int) -> bool:
            return self.watch.index({**removed, group.root: order[:count]}) >= floor - 1e-9

        def remove(count: int) -> None:
            self.draft.remove({group.root: order[:count]})

        count = largest_removal(group.num_channels, holds, start)
        if count == start:
            return
        before = self.watch.measure(removed)
        remove(count)
        if self.settings.budget is not None:
            count = self.draft.fewest(start, count, remove, max(1, group.num_channels // 64))
        after = self.watch.measure(self.draft.removed)
        total = group.num_channels
        kept = total - count
        note = f'with {", ".join(group.members[1:])}' if len(group.members) > 1 else ''
        self.draft.note('channels', group.root, kept, total, self.watch.name, (before, after), note)

    # ---- a share of all

    def remove_uniformly(self, groups: Sequence[ChannelGroup]) -> None:
        """Remove the same share of channels everywhere, as much as the budget asks.

        Args:
            groups: The layers' channels.
        """
        before = self.watch.measure({})
        for done, group in enumerate(groups):
            self._order(group)
            self.progress(f'Weighing channels by {self.settings.criterion}', done + 1, len(groups))
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            self._remove_share(groups, (low + high) / 2)
            if self.draft.met:
                low = (low + high) / 2
            else:
                high = (low + high) / 2
        self._remove_share(groups, low)
        indices = (before, self.watch.measure(self.draft.removed))
        for group in groups:
            gone = len(self.draft.removed.get(group.root, ()))
            if gone:
                kept, name = group.num_channels - gone, self.watch.name
                note = f'by {self.settings.criterion}; the indices are of all layers together'
                self.draft.note(
                    'channels', group.root, kept, group.num_channels, name, indices, note
                )

    def _remove_share(self, groups: Sequence[ChannelGroup], share: float) -> None:
        counts = uniform_removal([group.num_channels for group in groups], share)
        self.draft.remove(
            {
                group.root: self._order(group)[:count]
                for group, count in zip(groups, counts, strict=True)
            }
        )

    # ---- their order

    def _order(self, group: ChannelGroup) -> list[int]:
        """Channels in the order in which they go."""
        if group.root not in self._orders:
            criterion, seed = self.settings.criterion, self.settings.seed
            samples = self._maps(group) if criterion == 'si' else None
            values = importance(criterion, self.watch.model, group, samples, seed)
            self._orders[group.root] = least_important_first(values)
        return self._orders[group.root]

    def _maps(self, group: ChannelGroup) -> LayerSamples | None:
        """The maps of a group's root where they can be sampled."""
        layer = self.trace.outputs(group.root)[0]
        if not self.watch.reader.accepts(layer):
            return None
        samples = self.watch.samples(layer, {})
        return samples if samples.features.shape[1] == group.num_channels else None


def _best_map(last: Watched, root: str, alone: Tensor) -> int:
    own = [number for number, (owner, _) in enumerate(last.owners) if owner == root]
    return max(own, key=lambda number: float(alone[number]))


def _unselected(last: Watched, kept: set[int]) -> dict[str, list[int]]:
    gone: dict[str, list[int]] = {root: [] for root, _ in last.owners}
    for number, (root, channel) in enumerate(last.owners):
        if number not in kept:
            gone[root].append(channel)
    return gone
