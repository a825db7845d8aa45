"""From a text to the numbers of its characters."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.utils.errors import UserError

ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:\'"/|_#$%^&*~`+=<>()[]{}'
PADDING, UNKNOWN, SPACE = 0, 1, 2
FIRST_LETTER = 3
# How an unknown character is shown.
BOX = '\N{WHITE SQUARE}'


@TRANSFORMS.register_module()
class QuantizeCharacters(BaseTransform):
    """Replace every character of a text by its number in an alphabet.

    The dictionary of VD-CNN (Conneau et al., 2017, https://arxiv.org/abs/1606.01781, section 4.2):
    66 characters, padding (0), unknown (1) and space (2) make 69 tokens. Capitals count as small
    letters unless the alphabet has them. Every other character, whatever its script, is one
    unknown token. Longer texts are cut, shorter ones padded at the end.

    Required key: text. Added key: tokens, int64 of shape (length,).

    Args:
        length: Number of tokens.
        alphabet: The characters besides the space, each once.
    """

    def __init__(self, length: int = 1014, alphabet: str = ALPHABET) -> None:
        if not isinstance(length, int) or length < 1:
            raise UserError(f'length must be a positive whole number, but is {length!r}')
        repeated = sorted({letter for letter in alphabet if alphabet.count(letter) > 1})
        if not alphabet or repeated or ' ' in alphabet:
            raise UserError(
                'alphabet must name characters other than the space, each once; '
                + (f'it repeats {"".join(repeated)!r}' if repeated else f'it is {alphabet!r}')
            )
        self.length = length
        self.alphabet = alphabet
        self.table = _lookup_table(alphabet)

    @property
    def num_tokens(self) -> int:
        """How many different tokens there are, with padding, unknown and space."""
        return FIRST_LETTER + len(self.alphabet)

    def quantize(self, text: str) -> np.ndarray:
        """Number the characters of a text.

        Args:
            text: Any text; the empty one gives padding alone.

        Returns:
            int64 of shape (length,).
        """
        # A lone surrogate, which damaged data may hold, is an unknown character like others.
        encoded = text[: self.length].encode('utf-32-le', 'surrogatepass')
        points = np.frombuffer(encoded, '<u4')
        tokens = np.full(self.length, PADDING, dtype=np.int64)
        # The last entry of the table stands for all code points beyond it.
        tokens[: len(points)] = self.table[np.minimum(points, len(self.table) - 1)]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Write out what is left of a text.

        Args:
            tokens: Numbers of characters.

        Returns:
            The text in the alphabet's letters, unknown characters as □, without padding.
        """
        letters = ('', BOX, ' ', *self.alphabet)
        return ''.join(letters[token] for token in tokens)

    def transform(self, results: dict) -> dict:
        """Number the characters of one sample.

        Args:
            results: Result of the pipeline, with ``text``.

        Returns:
            The results with ``tokens``.

        Raises:
            UserError: If the text is no string.
        """
        text = results['text']
        if not isinstance(text, str):
            raise UserError(
                f'QuantizeCharacters takes text as str, got {type(text).__name__}; decode bytes '
                'first'
            )
        results['tokens'] = self.quantize(text)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(length={self.length}, alphabet={self.alphabet!r})'


def _lookup_table(alphabet: str) -> np.ndarray:
    """Token of every code point up to the alphabet's last; one more entry for those beyond."""
    numbers = {letter: FIRST_LETTER + place for place, letter in enumerate(alphabet)}
    capitals = {letter.upper(): number for letter, number in numbers.items()}
    # The upper case of a letter such as ß is two.
    capitals = {letter: number for letter, number in capitals.items() if len(letter) == 1}
    numbers = {' ': SPACE, **capitals, **numbers}
    table = np.full(max(map(ord, numbers)) + 2, UNKNOWN, dtype=np.int64)
    for letter, number in numbers.items():
        table[ord(letter)] = number
    return table
