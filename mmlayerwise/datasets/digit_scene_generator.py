"""Composes annotated scenes of handwritten digits; needs numpy, OpenCV and scikit-learn only."""

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from mmlayerwise.datasets.handwritten_digits import NUM_CLASSES as NUM_DIGITS
from mmlayerwise.datasets.handwritten_digits import SPLITS, Split, load_handwritten_digits
from mmlayerwise.datasets.textures import TEXTURES, smooth_noise
from mmlayerwise.utils.errors import UserError

DIGIT_CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
TEXTURE_CLASSES = tuple(TEXTURES)
# A digit that another would hide beyond this is never drawn that way: nothing unlabelled is seen.
MIN_VISIBLE_FRACTION = 0.4
_PLACEMENT_TRIALS = 8
# Of the background's range of 255: how far the ink stands off from what lies under it.
_CONTRAST = (55.0, 140.0)


@dataclass(frozen=True)
class DigitSceneSettings:
    """Everything that, with an index, determines a scene.

    Args:
        split: Which handwritten digits are drawn: ``'train'`` or ``'test'``; they are disjoint.
        image_size: Height and width of a scene in pixels.
        num_digits: The least and the most digits to place. A crowded scene may hold fewer than
            drawn, but never none.
        digit_size: The least and the greatest height of a digit in pixels; sizes are
            log-uniform.
        seed: Seed of the whole data set.
    """

    split: Split = 'train'
    image_size: tuple[int, int] = (160, 160)
    num_digits: tuple[int, int] = (2, 6)
    digit_size: tuple[int, int] = (24, 72)
    seed: int = 0

    def __post_init__(self) -> None:
        # Configs hand over lists; a frozen data class must hash.
        for name in ('image_size', 'num_digits', 'digit_size'):
            value = tuple(int(number) for number in getattr(self, name))
            if len(value) != 2:
                raise UserError(f'{name} must be two integers, but got {getattr(self, name)!r}')
            object.__setattr__(self, name, value)
        if self.split not in SPLITS:
            raise UserError(f'split must be one of {SPLITS}, but got {self.split!r}')
        for name, least in (('num_digits', 1), ('digit_size', 8)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise UserError(
                    f'{name} must be (least, greatest) with {least} <= least <= greatest, '
                    f'but got {(low, high)}'
                )
        if self.digit_size[1] > min(self.image_size):
            raise UserError(
                f'digits of up to {self.digit_size[1]} pixels do not fit into scenes of '
                f'{self.image_size[0]} x {self.image_size[1]}: lower digit_size or raise image_size'
            )
        if self.seed < 0:
            raise UserError(f'seed must not be negative, but got {self.seed}')


@dataclass(frozen=True)
class DigitScene:
    """A scene and its annotations.

    Attributes:
        image: uint8 of shape (H, W, 3), BGR.
        labels: Digit of each instance, int64 of shape (N,).
        instance_map: uint8 of shape (H, W): 0 for background, k + 1 where instance k is visible.
        texture_map: uint8 of shape (H, W): index into ``TEXTURE_CLASSES`` of the background,
            also behind digits.
        boxes: Tight boxes around the visible pixels, float32 of shape (N, 4), (x1, y1, x2, y2)
            with exclusive x2 and y2.
    """

    image: np.ndarray
    labels: np.ndarray
    instance_map: np.ndarray
    texture_map: np.ndarray
    boxes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        boxes = [cv2.boundingRect(mask.view(np.uint8)) for mask in self.masks]
        boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        object.__setattr__(self, 'boxes', boxes)

    @property
    def masks(self) -> np.ndarray:
        """Visible pixels of each instance, bool of shape (N, H, W)."""
        ids = np.arange(1, len(self.labels) + 1, dtype=np.uint8)
        return self.instance_map[None] == ids[:, None, None]

    @property
    def semantic_map(self) -> np.ndarray:
        """uint8 of shape (H, W): digits are 0 to 9, textures 10 and above."""
        texture_classes = self.texture_map + np.uint8(NUM_DIGITS)
        classes_of_instances = np.concatenate([[0], self.labels]).astype(np.uint8)
        digit_classes = classes_of_instances[self.instance_map]
        return np.where(self.instance_map > 0, digit_classes, texture_classes)

    @property
    def panoptic_map(self) -> np.ndarray:
        """Segment ids, int32 of shape (H, W); see :attr:`segments`."""
        texture_ids = self.texture_map.astype(np.int32) + 1
        digit_ids = self.instance_map.astype(np.int32) + len(TEXTURE_CLASSES)
        return np.where(self.instance_map > 0, digit_ids, texture_ids)

    @property
    def segments(self) -> list[dict]:
        """The segments of :attr:`panoptic_map` in mmdet's form, digits in order of ``labels``."""
        digits = [
            dict(id=len(TEXTURE_CLASSES) + 1 + k, category=int(label), is_thing=True)
            for k, label in enumerate(self.labels)
        ]
        visible = np.unique(self.texture_map[self.instance_map == 0])
        textures = [
            dict(id=int(texture) + 1, category=NUM_DIGITS + int(texture), is_thing=False)
            for texture in visible
        ]
        return digits + textures


@lru_cache(maxsize=16)
def compose_digit_scene(settings: DigitSceneSettings, index: int) -> DigitScene:
    """Compose a scene that depends on nothing but the arguments.

    The latest scenes are kept, because image and annotations are asked for one after another.

    Args:
        settings: What the scenes of the data set look like.
        index: Which of them to compose.

    Returns:
        The scene; its arrays are read-only.
    """
    split_number = SPLITS.index(settings.split)
    rng = np.random.default_rng((settings.seed, split_number, index))
    canvas, texture_map = _draw_background(rng, *settings.image_size)
    labels, instance_map = _draw_digits(rng, settings, canvas)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    scene = DigitScene(image, labels, instance_map, texture_map)
    for array in (scene.image, scene.labels, scene.instance_map, scene.texture_map, scene.boxes):
        array.setflags(write=False)
    return scene


def _draw_background(
    rng: np.random.Generator, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one or two textures that meet along a curve; return the canvas and texture map."""
    first, second = rng.permutation(len(TEXTURE_CLASSES))[:2]
    canvas = _draw_texture(rng, first, height, width)
    texture_map = np.full((height, width), first, dtype=np.uint8)
    if rng.random() < 0.7:
        beyond = smooth_noise(rng, height, width, cells=3) > rng.uniform(-0.3, 0.3)
        np.copyto(canvas, _draw_texture(rng, second, height, width), where=beyond[..., None])
        texture_map[beyond] = second
    return canvas, texture_map


def _draw_texture(rng: np.random.Generator, texture: int, height: int, width: int) -> np.ndarray:
    """Draw a texture in random colours, float32 of shape (height, width, 3)."""
    pattern = TEXTURES[TEXTURE_CLASSES[texture]](rng, height, width)
    colour = rng.uniform(50, 205, 3).astype(np.float32)
    amplitude = rng.uniform(12, 35, 3).astype(np.float32)
    return cv2.merge([pattern * a + c for a, c in zip(amplitude, colour, strict=True)])


def _draw_digits(
    rng: np.random.Generator, settings: DigitSceneSettings, canvas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits onto the canvas from back to front; return labels and the instance map."""
    images, digit_labels = load_handwritten_digits(settings.split)
    instance_map = np.zeros(settings.image_size, dtype=np.uint8)
    labels: list[int] = []
    areas = np.zeros(0, dtype=np.int64)
    visible = np.zeros(0, dtype=np.int64)
    for _ in range(rng.integers(*settings.num_digits, endpoint=True)):
        chosen = rng.integers(len(images))
        size = np.exp(rng.uniform(*np.log(settings.digit_size)))
        ink = _warp_digit(rng, images[chosen], size)
        mask = ink > 0.5
        found = _find_place(rng, mask, instance_map, visible, MIN_VISIBLE_FRACTION * areas)
        if found is None:
            continue
        place, visible = found
        labels.append(digit_labels[chosen])
        areas = np.append(areas, np.count_nonzero(mask))
        visible = np.append(visible, areas[-1])
        instance_map[place][mask] = len(labels)
        _blend(rng, canvas[place], ink)
    return np.array(labels, dtype=np.int64), instance_map


def _warp_digit(rng: np.random.Generator, digit: np.ndarray, size: float) -> np.ndarray:
    """Enlarge a digit with random rotation, shear and aspect; crop to its ink in [0, 1]."""
    angle = np.deg2rad(rng.uniform(-15, 15))
    shear = rng.uniform(-0.2, 0.2)
    aspect = rng.uniform(0.85, 1.2)
    scale = size / len(digit)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[scale * aspect, scale * shear], [0, scale]])
    side = int(np.ceil(size * 1.6))
    centre = (len(digit) - 1) / 2
    offset = (side - 1) / 2 - linear @ [centre, centre]
    ink = cv2.warpAffine(
        digit, np.column_stack([linear, offset]), (side, side), flags=cv2.INTER_CUBIC
    )
    # Anti-aliased edge around 45 % ink, about as steep for every size.
    ink = np.clip((ink.astype(np.float32) / 255 - 0.45) * 0.4 * scale + 0.5, 0, 1)
    x, y, width, height = cv2.boundingRect((ink > 0.5).view(np.uint8))
    return ink[y : y + height, x : x + width]


def _find_place(
    rng: np.random.Generator,
    mask: np.ndarray,
    instance_map: np.ndarray,
    visible: np.ndarray,
    least_visible: np.ndarray,
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Find a place where a digit fits and hides no other beyond the limit.

    Returns:
        The place and what stays visible of the others in pixels, or None.
    """
    height, width = mask.shape
    rows, columns = instance_map.shape[0] - height, instance_map.shape[1] - width
    if rows < 0 or columns < 0:
        return None
    for _ in range(_PLACEMENT_TRIALS):
        y, x = rng.integers(rows + 1), rng.integers(columns + 1)
        place = slice(y, y + height), slice(x, x + width)
        hidden = np.bincount(instance_map[place][mask], minlength=len(visible) + 1)[1:]
        if np.all(visible - hidden >= least_visible):
            return place, visible - hidden
    return None


def _blend(rng: np.random.Generator, patch: np.ndarray, ink: np.ndarray) -> None:
    """Blend ink of a colour that stands off from the patch into it, in place."""
    under = patch.reshape(-1, 3).mean(axis=0)
    contrast = rng.uniform(*_CONTRAST) * rng.uniform(0.75, 1.0, 3)
    sign = rng.choice([-1, 1])
    # Turn to the side where the range of intensities has room.
    if not 0 <= (under + sign * contrast).mean() <= 255:
        sign = -sign
    colour = np.clip(under + sign * contrast, 0, 255).astype(np.float32)
    patch += ink[..., None] * (colour - patch)
