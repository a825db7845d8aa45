"""What a measurement finds out about the layers of a model."""

from dataclasses import asdict, dataclass, field, fields


@dataclass
class LayerSeparation:
    """How well one layer separates the classes.

    Attributes:
        name: The layer.
        index: Separation index; None where it could not be measured, see ``error``.
        interval: 95 % Wilson interval of the index.
        chance: Index that random neighbours would give.
        num_samples: How many samples were compared.
        dimension: Length of a sample's vector.
        sketch_dimension: Length of its sketch, where vectors too large to be kept were sketched.
        distortion: Relative error of the distances among sketches; None where they are exact.
        shape: Shape of the layer's output for one image.
        order: Number of neighbours behind the next three.
        high_order: Share of samples whose ``order`` nearest neighbours are all friends.
        soft: Share of friends among the ``order`` nearest neighbours.
        anti: Share of samples whose ``order`` nearest neighbours are all enemies.
        center: Centre-based separation index.
        per_class: Class name -> its separation index and number of samples.
        per_size: ``small``, ``medium``, ``large`` -> the index and number of the objects of that
            size (COCO's, by their area in the original image); empty where samples are no objects.
        level: Level of the feature pyramid that the layer belongs to, counted as its detector does;
            None for other layers.
        error: Why the layer could not be measured.
        indices: Further indices by name, see :class:`.observers.IndexObserver`.
    """

    name: str
    index: float | None = None
    interval: tuple[float, float] | None = None
    chance: float | None = None
    num_samples: int = 0
    dimension: int = 0
    sketch_dimension: int | None = None
    distortion: float | None = None
    shape: tuple[int, ...] = ()
    order: int = 0
    high_order: float | None = None
    soft: float | None = None
    anti: float | None = None
    center: float | None = None
    per_class: dict[str, tuple[float, int]] = field(default_factory=dict)
    error: str | None = None
    per_size: dict[str, tuple[float, int]] = field(default_factory=dict)
    level: int | None = None
    indices: dict[str, float] = field(default_factory=dict)


@dataclass
class SeparationProfile:
    """The separation of a model's layers, in execution order.

    Attributes:
        layers: One entry a layer.
        samples: What a sample was: image, box, pixel, instance, text or token.
        skipped: Layers of ``'auto'`` or ``'stages'`` whose outputs hold no such samples.
    """

    layers: list[LayerSeparation]
    samples: str
    skipped: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> LayerSeparation:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> 'SeparationProfile':
        """Inverse of :meth:`to_dict`; fields that a later version added are left out."""
        known = {one.name for one in fields(LayerSeparation)}
        layers = [
            LayerSeparation(**{key: value for key, value in layer.items() if key in known})
            for layer in data['layers']
        ]
        return cls(layers, data['samples'], list(data.get('skipped', ())))
