import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmlayerwise.separation import SeparationError, nearest_neighbors
from mmlayerwise.separation import distributed as module
from mmlayerwise.separation.distributed import sharded_neighbors
from tests.test_separation.test_neighbors import random

SHARES = {1: [57], 2: [40, 17], 3: [0, 1, 56], 4: [20, 0, 30, 7]}


def cases():
    generator = torch.Generator().manual_seed(0)
    lattice = torch.randint(0, 3, (57, 3), generator=generator)
    groups = torch.randint(0, 6, (57,), generator=generator)
    grouped = dict(features=random(57, 5).bfloat16(), k=2, groups=groups)
    return {
        'plain': (dict(features=random(57, 30), k=3), {}),
        'ties and copies': (dict(features=lattice, k=4), {}),
        'groups across processes': (grouped, {}),
        'more neighbours than points': (dict(features=random(57, 2).double(), k=60), {}),
        'blocks of a few points': (dict(features=random(57, 30), k=3), dict(max_memory=2000)),
    }


def share(whole, rank, counts):
    start = sum(counts[:rank])
    return whole[start : start + counts[rank]].clone()


def search_in_a_process(rank, path):
    """Body of one of four processes; smaller worlds are made of the first ones."""
    torch.set_num_threads(1)
    for world, counts in SHARES.items():
        if rank < world:
            search_shares(rank, counts, f'{path}-of-{world}')


def search_shares(rank, counts, path):
    """Search every case, then refuse bad input; raises where anything is wrong."""
    world = len(counts)
    dist.init_process_group('gloo', init_method=f'file://{path}', rank=rank, world_size=world)
    try:
        for name, (arguments, options) in cases().items():
            whole = nearest_neighbors(**arguments)
            own = {
                key: share(value, rank, counts) if torch.is_tensor(value) else value
                for key, value in arguments.items()
            }
            found = sharded_neighbors(**own, **options)
            assert torch.equal(found.indices, share(whole.indices, rank, counts)), name
            assert torch.equal(found.distances, share(whole.distances, rank, counts)), name
            scattered = scatter(arguments, rank, counts)
            found = sharded_neighbors(**scattered, **options)
            assert torch.equal(found.indices, whole.indices[scattered['numbers']]), name
            assert torch.equal(found.distances, whole.distances[scattered['numbers']]), name
        if world > 1:
            refuse_bad_shares(rank)
            a_failure_in_the_ring_stops_all(rank)
    finally:
        dist.destroy_process_group()


def scatter(arguments, rank, counts):
    """A share of points that are dealt out at random."""
    dealt = torch.randperm(57, generator=torch.Generator().manual_seed(1))
    numbers = share(dealt, rank, counts).sort().values
    own = {
        key: value[numbers] if torch.is_tensor(value) else value for key, value in arguments.items()
    }
    return dict(own, numbers=numbers)


def a_failure_in_the_ring_stops_all(rank):
    """One process runs out of memory while blocks travel."""
    calls = []

    def scarce(*args, **kwargs):
        calls.append(1)
        if rank == 1 and len(calls) > 1:
            raise SeparationError('no memory left on process 1')
        return nearest_neighbors(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'nearest_neighbors', scarce)
        with pytest.raises(SeparationError, match='no memory left on process 1'):
            sharded_neighbors(random(9, 4, seed=rank), max_memory=100)


def refuse_bad_shares(rank):
    last = rank == dist.get_world_size() - 1
    bad = {
        'features of dtype': dict(features=random(3, 2).to(torch.float64 if last else None)),
        'features of shape': dict(features=random(3, 4 if last else 2)),
        'must search alike.* k ': dict(features=random(3, 2), k=2 if last else 1),
        'has groups True': dict(features=random(3, 2), groups=torch.zeros(3) if last else None),
        'NaN or infinite': dict(features=random(3, 2) * (torch.nan if last else 1)),
        'must have the shape': dict(features=random(3)),
    }
    for message, arguments in bad.items():
        with pytest.raises(SeparationError, match=message):
            sharded_neighbors(**arguments)


def test_shares_find_to_the_bit_what_one_process_finds(tmp_path):
    mp.spawn(search_in_a_process, (str(tmp_path / 'store'),), nprocs=max(SHARES))


def test_without_processes_the_share_is_the_whole():
    points = random(30, 4)
    found, expected = sharded_neighbors(points, 2), nearest_neighbors(points, 2)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.distances, expected.distances)
