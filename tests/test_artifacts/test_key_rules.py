"""Rules: the first that fits a whole key decides."""

import re

import pytest

from ovd.artifacts.key_rules import STAGE, Layout, Rule, list_some

LAYOUT = Layout(
    'x',
    'anything',
    needs=(rf'(?:a|b)\.one{STAGE}', r'c'),
    lacks=(r'd.*',),
    rules=(
        Rule(r'a\.(\w)', None, 'short'),
        Rule(r'a\.(\w+)', r'z.\1'),
        Rule('c', None, 'wide', unless_rows=4),
        Rule('c'),
    ),
)


@pytest.mark.parametrize(
    'key, rows, target',
    [('a.b', 1, None), ('a.bc', 1, 'z.bc'), ('c', 3, None), ('c', 4, 'c')],
)
def test_first_rule_that_fits(key, rows, target):
    rule = LAYOUT.find_rule(key, rows)
    assert (
        rule.target is target is None
        or re.fullmatch(rule.pattern, key).expand(rule.target) == target
    )


@pytest.mark.parametrize('key', ['a', 'a.b.c', 'xa.b', 'C'])
def test_no_rule(key):
    assert LAYOUT.find_rule(key, 1) is None


@pytest.mark.parametrize(
    'keys, misfit',
    [
        (['a.one', 'c'], ''),
        (['b.one.2', 'c', 'e'], ''),
        (['a.two', 'c'], 'it has no key a.one'),
        (['a.one', 'cc'], 'it has no key c'),
        (['a.one', 'c', 'd1'], 'it has the key d1'),
    ],
)
def test_misfit(keys, misfit):
    assert LAYOUT.find_misfit(keys) == misfit


def test_list_some():
    assert list_some('abc') == 'a, b, c'
    assert list_some('abcd', 2) == 'a, b and 2 more'
    assert list_some([]) == ''
