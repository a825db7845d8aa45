"""What the planner may do."""

from dataclasses import dataclass, field

from mmlayerwise.compression.criteria import CRITERIA
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.separation.significance import SignificanceTest

CUTS = ('auto', 'index', 'none')
BUDGETS = ('flops', 'parameters')


@dataclass(frozen=True)
class PlannerSettings:
    """What the planner may do.

    Args:
        criterion: ``'si'``, or ``'magnitude'`` or ``'random'`` for comparison: these cut nothing
            and remove the same share of channels everywhere, as much as the budget asks.
        budget: Share of the cost that may stay. Planning ends as soon as it is met. None removes
            all that costs no index.
        budget_of: ``'flops'`` or ``'parameters'``.
        significance: When one block counts as better than another.
        cut: ``'auto'`` cuts classifiers and segmentors, not detectors, whose levels see objects of
            different sizes; ``'index'`` cuts any of them; ``'none'`` nothing; else the name of a
            block.
        map_tolerance: The maps of the last layer are the fewest whose index is within this of the
            best.
        shortlist: Candidates of each step of the search for them; None: all up to 256 maps, above
            that the best 64.
        max_drop: How far the index at the last layer may fall while earlier layers are thinned.
        drop_limit: How far it may fall to meet a budget.
        seed: Of what is random.

    Raises:
        CompressionError: For values that make no sense.
    """

    criterion: str = 'si'
    budget: float | None = None
    budget_of: str = 'flops'
    significance: SignificanceTest = field(default_factory=SignificanceTest)
    cut: str = 'auto'
    map_tolerance: float = 0.005
    shortlist: int | None = None
    max_drop: float = 0.01
    drop_limit: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise CompressionError(
                f'The criterion must be one of {", ".join(CRITERIA)}; got {self.criterion!r}'
            )
        if self.budget is not None and not 0 < self.budget < 1:
            raise CompressionError(
                f'The budget is the share that stays, between 0 and 1; got {self.budget}'
            )
        if self.budget_of not in BUDGETS:
            raise CompressionError(
                f'The budget must be of {" or ".join(BUDGETS)}; got {self.budget_of!r}'
            )
        if self.criterion != 'si' and self.budget is None:
            raise CompressionError(
                f'Selection by {self.criterion} knows no index to stop at: give a budget'
            )
        for name in ('map_tolerance', 'max_drop', 'drop_limit'):
            if not 0 <= getattr(self, name) <= 1:
                raise CompressionError(
                    f'{name} is a difference of indices, between 0 and 1; got {getattr(self, name)}'
                )
