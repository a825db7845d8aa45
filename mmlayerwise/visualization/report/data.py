"""What the report shows, as plain data: nothing here knows of models, plotly or HTML."""

from dataclasses import dataclass, field

from mmlayerwise.separation.record import SeparationRecord


@dataclass
class Sample:
    """One compared image, box or pixel.

    Attributes:
        image: Number of its image in the data set.
        picture: Thumbnail as a ``data:`` address; None where there is none.
    """

    image: int
    picture: str | None = None


@dataclass
class Pair:
    """A sample and its nearest neighbour in a layer.

    Attributes:
        sample: Position in :attr:`ReportData.samples`.
        neighbor: Likewise.
        label: Class of the sample.
        neighbor_label: Class of the neighbour.
        distance: Euclidean, between the layer's vectors.
    """

    sample: int
    neighbor: int
    label: int
    neighbor_label: int
    distance: float

    @property
    def agrees(self) -> bool:
        """Whether both are of one class."""
        return self.label == self.neighbor_label


@dataclass
class LayerView:
    """A layer's samples as a picture shows them.

    Attributes:
        samples: Positions in :attr:`ReportData.samples` of the projected samples.
        labels: Their classes.
        x: First principal component of each.
        y: Second principal component of each.
        explained: Shares of the variance along the two.
        pairs: Nearest neighbours of some samples.
    """

    samples: list[int]
    labels: list[int]
    x: list[float]
    y: list[float]
    explained: tuple[float, float]
    pairs: list[Pair]


@dataclass
class LayerCost:
    """Of the layer itself and what else runs after the measured layer before it.

    Attributes:
        parameters: Numbers learnt; a module used several times counts at its first use. None
            where it cannot be told.
        flops: Multiply-adds for one image; None where they could not be counted.
    """

    parameters: int | None = None
    flops: float | None = None


@dataclass
class ModelCost:
    """Cost of a network.

    Attributes:
        parameters: Of the whole network.
        flops: Multiply-adds for one image, up to the last measured layer; None if not countable.
        layers: By the layer's name.
    """

    parameters: int
    flops: float | None = None
    layers: dict[str, LayerCost] = field(default_factory=dict)


@dataclass
class ReportData:
    """Everything on the page.

    Attributes:
        title: Heading.
        record: Measurements in the order of the slider. Costs and views belong to the last one.
        steps: Name of each measurement, such as ``epoch 3``.
        cost: Of the measured model; None leaves that chart out.
        views: By the layer's name.
        samples: Those that views refer to.
        class_names: By label.
        configuration: Text of the config.
        environment: As :func:`mmlayerwise.utils.environment.describe_environment` gives it.
        notes: What a reader should know: what was left out and why.
    """

    title: str
    record: SeparationRecord
    steps: list[str]
    cost: ModelCost | None = None
    views: dict[str, LayerView] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    class_names: dict[int, str] = field(default_factory=dict)
    configuration: str = ''
    environment: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
