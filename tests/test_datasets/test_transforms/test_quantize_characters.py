import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlayerwise.datasets.transforms import QuantizeCharacters
from mmlayerwise.utils.errors import UserError

# As the paper prints it.
ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:\'"/|_#$%^&*~`+=<>()[]{}'
PADDING, UNKNOWN, SPACE, A = 0, 1, 2, 3
ANY_TEXT = st.text(st.characters(codec=None), max_size=40)


def tokens_one_by_one(text: str, length: int) -> list[int]:
    """The definition, without a table."""
    tokens = []
    for character in text[:length]:
        small = character.lower() if 'A' <= character <= 'Z' else character
        if small == ' ':
            tokens.append(SPACE)
        else:
            tokens.append(A + ALPHABET.index(small) if small in ALPHABET else UNKNOWN)
    return tokens + [PADDING] * (length - len(tokens))


def test_the_dictionary_has_the_papers_69_tokens():
    quantizer = QuantizeCharacters()
    assert quantizer.length == 1014
    assert quantizer.num_tokens == 69
    assert quantizer.quantize(ALPHABET)[:66].tolist() == list(range(3, 69))


def test_small_letters_capitals_space_unknown_and_padding():
    tokens = QuantizeCharacters(length=8).quantize('aB z@é')
    assert tokens.tolist() == [A, A + 1, SPACE, A + 25, UNKNOWN, UNKNOWN, PADDING, PADDING]
    assert tokens.dtype == np.int64


@given(ANY_TEXT, st.integers(1, 50))
def test_equals_the_definition_for_any_text(text, length):
    tokens = QuantizeCharacters(length).quantize(text)
    assert tokens.tolist() == tokens_one_by_one(text, length)


def test_an_empty_text_is_padding():
    assert QuantizeCharacters(length=5).quantize('').tolist() == [PADDING] * 5


def test_longer_texts_are_cut():
    assert QuantizeCharacters(length=2).quantize('abc').tolist() == [A, A + 1]


@pytest.mark.parametrize(
    'text', ['\x00', '\n', '\t', '\\', '@', 'é', 'İ', '\u212a', '漢', '🚗', '\ud800']
)
def test_each_other_character_is_one_unknown_token(text):
    assert QuantizeCharacters(length=3).quantize(text).tolist() == [UNKNOWN, PADDING, PADDING]


def test_another_alphabet():
    quantizer = QuantizeCharacters(length=6, alphabet='жßA')
    assert quantizer.num_tokens == 6
    assert quantizer.quantize('жЖßAaS').tolist() == [3, 3, 4, 5, UNKNOWN, UNKNOWN]


def test_an_alphabet_with_both_cases_tells_them_apart():
    assert QuantizeCharacters(length=2, alphabet='aA').quantize('aA').tolist() == [3, 4]


def test_the_pipeline_keeps_the_text_and_repeated_calls_agree():
    quantizer = QuantizeCharacters(length=4)
    first, second = (quantizer({'text': 'Ab', 'gt_label': 1}) for _ in range(2))
    assert first['text'] == 'Ab'
    assert first['gt_label'] == 1
    np.testing.assert_array_equal(first['tokens'], second['tokens'])
    # Samples do not share memory.
    first['tokens'][:] = 0
    assert second['tokens'].tolist() == [A, A + 1, PADDING, PADDING]


def test_decoding_shows_what_is_left():
    quantizer = QuantizeCharacters(length=12)
    assert quantizer.decode(quantizer.quantize('A@b {ü}').tolist()) == 'a□b {□}'
    everything = QuantizeCharacters(length=67)
    assert everything.decode(everything.quantize(ALPHABET + ' ')) == ALPHABET + ' '


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(length=0), 'length must be a positive whole number, but is 0'),
        (dict(length=2.5), 'but is 2.5'),
        (dict(alphabet='abca'), "each once; it repeats 'a'"),
        (dict(alphabet=''), "each once; it is ''"),
        (dict(alphabet='a b'), "other than the space, each once; it is 'a b'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        QuantizeCharacters(**arguments)


def test_bytes_are_refused():
    with pytest.raises(UserError, match='takes text as str, got bytes; decode bytes first'):
        QuantizeCharacters()({'text': b'abc'})
