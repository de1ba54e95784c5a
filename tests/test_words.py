"""Numbers in words."""

import math

from neural_echos.words import count_of, estimate, intervals, numbers, percent, span

NAN = math.nan


def test_numbers_have_a_true_minus_and_none_before_zero():
    assert numbers([-0.04, 1.25, NAN]) == ["0.0", "1.2", "–"]
    assert numbers([-2, 2], 0, signed=True) == ["−2", "+2"]
    assert intervals([-1, NAN], [2, 3]) == ["−1.0 to 2.0", "–"]


def test_numbers_of_sentences_are_short():
    assert estimate(-1.04, -2, 0.31) == "−1.0 [−2.0, +0.3]"
    assert estimate(1, NAN, NAN) == "+1.0 [one seed]" and estimate(NAN, 0, 1) == "–"
    assert estimate(1, None, None, without="") == "+1.0"
    assert (span([3, 3]), span([3, 2, NAN]), span([])) == ("3", "2 to 3", "–")


def test_counts_and_shares_are_words_of_their_own():
    assert [count_of(n, "kernel") for n in (0, 1, 1028)] == ["0 kernels", "1 kernel", "1,028 kernels"]
    assert [percent(share) for share in (0.05, None, NAN)] == ["5.0 %", "–", "–"]
