from mmlayerwise.reproduction.markdown import render
from mmlayerwise.reproduction.summary import summarise
from tests.test_reproduction.test_summary import RUNS
from tests.test_reproduction.toy import result


def test_a_row_says_mean_deviation_difference_interval_time_and_lectures():
    lines = render(summarise('first-layer', RUNS[:2] + RUNS[3:])).splitlines()
    assert lines[2] == (
        '| VGG-16 | CIFAR-10 | backpropagation | 2 | 61.00 ± 1.41 | - | 10 | - | 92.95 | - |'
    )
    assert lines[3] == (
        '| VGG-16 | CIFAR-10 | QLS, frozen | 2 | 62.50 ± 2.12 | +1.50 (-4.85 to +7.85) | 13 | 1.30 '
        '| 94.81 | +1.86 |'
    )
    assert len({line.count('|') for line in lines[:4]}) == 1


def test_what_it_was_run_with_and_the_footnotes_stand_below():
    text = render(summarise('first-layer', [result(subset=3000, epochs=6, width=0.25)]))
    assert '3,000 training samples, all test data, 6 epochs of backpropagation, 0.25 of' in text
    assert '`python tools/dev/reproduce.py first-layer`' in text
    assert 'a processor' in text
    assert '- Lectures: The numbers of the method for ResNet-50 and Inception-v3' in text


def test_times_of_the_lectures_have_columns_where_there_are_any():
    lines = render(summarise('forward-layers', [result(), result('forward_6')])).splitlines()
    assert lines[0].endswith('| lectures: time, min:s | lectures: time / backpropagation |')
    assert lines[2].endswith('| 144:16 | - |')
    assert lines[3].endswith('| 114:05 | 0.79 |')
    assert '30 epochs for a layer that learns forward, in batches of 250' in '\n'.join(lines)


def test_one_seed_has_neither_deviation_nor_interval():
    line = render(summarise('first-layer', [RUNS[0], RUNS[3]])).splitlines()[3]
    assert '| 1 | 61.00 | +1.00 | 12 |' in line
