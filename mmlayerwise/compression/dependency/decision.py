"""From the channels that layers should lose to those that the whole network can lose."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from mmlayerwise.compression.dependency.graph import ChannelGraph, Place, Removal, merged
from mmlayerwise.compression.dependency.slicing import Cut, groups_of, whole_groups_may_go


@dataclass
class CoupledGroup:
    """Layers that lose channels together.

    Attributes:
        asked: The layers of the plan in it.
        cuts: Everything that changes: module or parameter -> what stays.
        restored: Layer of the plan -> channels that stay although the plan lets them go, because a
            coupled layer keeps them or a grouped layer needs equally many in every group.
    """

    asked: list[str]
    cuts: dict[str, Cut]
    restored: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Decision:
    """What can go.

    Attributes:
        groups: What goes; independent of each other.
        skipped: Layer of the plan that keeps all its channels -> why.
    """

    groups: list[CoupledGroup]
    skipped: dict[str, str]


def decide(graph: ChannelGraph, modules: Mapping[str, nn.Module], wanted: Mapping) -> Decision:
    """Reconcile what layers should lose.

    A channel that runs through several layers of the plan, as in a residual stream, goes if all of
    them let it go.

    Args:
        graph: The network's channels.
        modules: Its modules by name.
        wanted: Layer -> its output channels that are to go.

    Returns:
        What can go.
    """
    remaining = {name: set(channels) for name, channels in wanted.items()}
    skipped: dict[str, str] = {}
    while True:
        removals: dict[str, Removal] = {}
        for name in [name for name in wanted if name not in skipped]:
            removals[name] = graph.removal(name, sorted(remaining[name]))
            if removals[name].obstacle:
                skipped[name] = removals.pop(name).obstacle
        back = _conflicts(removals, wanted) or _uneven_groups(graph, modules, removals)
        if not back:
            empty = _emptied(graph, removals)
            if not empty:
                break
            skipped.update(empty)
        for name, channels in back.items():
            remaining[name] -= channels
            if not remaining[name]:
                skipped[name] = (
                    'all of them have to stay: a coupled layer keeps them, others that stay belong '
                    'to them, or the groups of a normalisation or convolution would become unequal'
                )
    groups = []
    for names in _components(removals):
        found = merged(removals[name].places for name in names)
        restored = {
            name: sorted(set(wanted[name]) - remaining[name])
            for name in names
            if set(wanted[name]) - remaining[name]
        }
        groups.append(CoupledGroup(names, _cuts(graph, modules, found), restored))
    return Decision(groups, skipped)


def _conflicts(removals: Mapping[str, Removal], wanted: Mapping) -> dict[str, set[int]]:
    """Channels to put back because another layer of the plan keeps them."""
    back: dict[str, set[int]] = defaultdict(set)
    for name, removal in removals.items():
        for (place, side), roots in removal.places.items():
            if side == 'out' and place in wanted:
                back[name].update(
                    root for channel, root in roots.items() if channel not in wanted[place]
                )
    return {name: channels for name, channels in back.items() if channels}


def _uneven_groups(
    graph: ChannelGraph, modules: Mapping[str, nn.Module], removals: Mapping[str, Removal]
) -> dict[str, set[int]]:
    """Channels to put back so that all groups of a grouped layer have equally many."""
    back: dict[str, set[int]] = defaultdict(set)
    for place, gone in merged(one.places for one in removals.values()).items():
        name, side = place
        groups = groups_of(modules[name], side) if name in modules else 1
        if groups == 1:
            continue
        width = graph.width(place) // groups
        removed = [
            sorted(channel for channel in gone if channel // width == group)
            for group in range(groups)
        ]
        fewest = min(len(channels) for channels in removed)
        for channels in removed:
            if len(channels) == width and whole_groups_may_go(modules[name]):
                continue
            for channel in channels[: len(channels) - fewest]:
                for asked, removal in removals.items():
                    if channel in removal.places.get(place, ()):
                        back[asked].add(removal.places[place][channel])
    return dict(back)


def _emptied(graph: ChannelGraph, removals: Mapping[str, Removal]) -> dict[str, str]:
    """Layers of the plan that would leave some layer without channels."""
    found = {}
    for place, gone in merged(one.places for one in removals.values()).items():
        if len(gone) >= graph.width(place):
            for name, removal in removals.items():
                if place in removal.places:
                    found[name] = f'nothing would be left of {place[0]}'
    return found


def _components(removals: Mapping[str, Removal]) -> list[list[str]]:
    """Layers of the plan whose removals meet somewhere."""
    component = {name: name for name in removals}
    owner: dict[Place, str] = {}
    for name, removal in removals.items():
        for place in removal.places:
            other = component[owner.setdefault(place, name)]
            mine = component[name]
            component = {key: other if at == mine else at for key, at in component.items()}
    found: dict[str, list[str]] = defaultdict(list)
    for name, at in component.items():
        found[at].append(name)
    return list(found.values())


def _cuts(
    graph: ChannelGraph, modules: Mapping[str, nn.Module], gone: Mapping[Place, set[int]]
) -> dict[str, Cut]:
    order = {name: position for position, name in enumerate(modules)}
    names = sorted({name for name, _ in gone}, key=lambda name: (order.get(name, -1), name))
    return {name: _cut(graph, gone, name) for name in names}


def _cut(graph: ChannelGraph, gone: Mapping[Place, set[int]], name: str) -> Cut:
    def kept(side: str) -> Sequence[int] | None:
        if (name, side) not in gone:
            return None
        width = graph.width((name, side))
        return [channel for channel in range(width) if channel not in gone[name, side]]

    return Cut(inputs=kept('in'), outputs=kept('out'))
