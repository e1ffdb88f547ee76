import itertools
import math
import operator
import os
import warnings

import pytest

from synthmed_tf.workers import AHEAD, in_order


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order_and_what_cannot_be_sent_is_done_here(count):
    assert list(in_order(operator.neg, range(50), count)) == [-i for i in range(50)]
    assert list(in_order(callable, [1, lambda: 0, 2], count)) == [False, True, False]
    assert list(in_order(operator.neg, [], count)) == []


def test_an_error_is_raised_at_its_item():
    results = in_order(math.sqrt, [4, 9, -1, 16], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ValueError, match="math domain error") as error:
        next(results)
    assert "Traceback" in str(error.value.__cause__)


def test_warnings_arrive_once_and_what_is_printed_does_no_harm(capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert list(in_order(warnings.warn, ["a", "b", "a", "b"], 2)) == [None] * 4
    assert sorted(str(each.message) for each in caught) == ["a", "b"]
    assert list(in_order(print, ["said"], 2)) == [None] and "said" in capfd.readouterr().err


def test_few_items_are_taken_ahead():
    items = itertools.count()
    results = in_order(operator.neg, items, 2)
    assert [next(results) for _ in range(10)] == [-i for i in range(10)]
    assert next(items) <= 10 + 2 * AHEAD
    results.close()


def test_a_process_reads_without_tensorflow_and_ends_with_the_last_item():
    questions = (
        "__import__('os').getpid()",
        "__import__('synthmed_tf.datasets') and 'tensorflow' in __import__('sys').modules",
    )
    pid, has_tensorflow = in_order(eval, questions, 2)
    assert not has_tensorflow
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
