import pytest

from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.forward.stop_rule import SeparationStopRule


def epochs_of(rule, values):
    """Number of values, the initial one included, until the rule stops."""
    for number, value in enumerate(values, 1):
        rule.update(value)
        if rule.should_stop:
            return number
    return None


def test_a_rising_index_goes_on_to_the_last_epoch():
    rule = SeparationStopRule(max_epochs=6)
    assert epochs_of(rule, [0.1 * n for n in range(20)]) == 7  # six epochs and the start
    assert rule.best_epoch == 6


def test_it_stops_after_patience_epochs_without_a_rise():
    rule = SeparationStopRule(patience=3, min_delta=0.002)
    assert epochs_of(rule, [0.5, 0.6, 0.601, 0.602, 0.5, 0.9]) == 5
    assert (rule.best, rule.best_epoch) == (0.602, 3)


def test_small_steps_count_once_they_add_up():
    rule = SeparationStopRule(patience=3, min_delta=0.002)
    assert epochs_of(rule, [0.5 + 0.001 * n for n in range(40)]) == 31


def test_the_first_of_equal_values_is_the_best():
    rule = SeparationStopRule()
    assert [rule.update(value) for value in (0.4, 0.7, 0.7, 0.6)] == [True, True, False, False]
    assert rule.best_epoch == 1


def test_a_restored_state_goes_on_as_the_original():
    values = [0.1, 0.3, 0.3, 0.3, 0.301]
    whole = SeparationStopRule()
    for value in values[:3]:
        whole.update(value)
    resumed = SeparationStopRule()
    resumed.load_state_dict(whole.state_dict())
    for value in values[3:]:
        assert whole.update(value) == resumed.update(value)
        assert whole.should_stop == resumed.should_stop
    assert whole.should_stop
    whole.reset()
    assert whole.update(0.2)
    assert not whole.should_stop


@pytest.mark.parametrize('option', [dict(patience=0), dict(min_delta=-1), dict(max_epochs=0)])
def test_wrong_options_are_named(option):
    name = next(iter(option))
    with pytest.raises(ForwardLearningError, match=f'{name} must be at least'):
        SeparationStopRule(**option)
