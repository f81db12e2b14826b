"""Names go from the dataset to the model; what doesn't match is refused."""
from types import SimpleNamespace
from typing import List

import pytest
from torch import nn

from ovd.artifacts.provenance import check_same_source
from ovd.engine.hooks import OpenVocabularyHook


class Head(nn.Module):
    """Notes the vocabularies that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[tuple] = []

    def set_vocabulary(self, names: tuple, novel_classes: tuple) -> None:
        self.seen.append((names, novel_classes))


def make_runner(train: dict, val: dict) -> SimpleNamespace:
    warnings: List[str] = []
    loader = lambda meta: SimpleNamespace(  # noqa: E731
        dataset=SimpleNamespace(dataset=SimpleNamespace(metainfo=meta)))
    return SimpleNamespace(
        model=nn.Sequential(Head()),
        train_dataloader=loader(train),
        val_dataloader=loader(val),
        test_dataloader=loader(val),
        train_loop=object(),
        logger=SimpleNamespace(warning=warnings.append),
        warnings=warnings)


TRAIN = dict(classes=('a', 'b'), novel_classes=('b', ))
VAL = dict(classes=('b', 'a'))


def test_training_goes_on_with_its_own_vocabulary_after_validation() -> None:
    runner, hook = make_runner(TRAIN, VAL), OpenVocabularyHook()
    hook.before_train(runner)
    hook.before_val(runner)
    hook.after_val(runner)
    assert runner.model[0].seen == [(('a', 'b'), ('b', )), (('b', 'a'), ()),
                                    (('a', 'b'), ('b', ))]


def test_training_must_know_what_is_novel() -> None:
    runner = make_runner(VAL, VAL)
    with pytest.raises(ValueError, match='learned as background'):
        OpenVocabularyHook().before_train(runner)
    OpenVocabularyHook().before_test(runner)
    assert 'all are scored as base' in runner.warnings[0]


def test_models_without_a_vocabulary_pass() -> None:
    runner = make_runner({}, {})
    runner.model = nn.Linear(1, 1)
    OpenVocabularyHook().before_train(runner)
    OpenVocabularyHook().before_test(runner)
    assert not runner.warnings


def test_artefacts_of_other_images() -> None:
    one = dict(file='a_48_17.json', sha256='1', source_sha256='x')
    other = dict(file='a_65_15.json', sha256='2', source_sha256='x')
    check_same_source(one, other, 'this', 'that')  # two splits of one source
    check_same_source(one, {}, 'this', 'a foreign file')
    with pytest.raises(ValueError, match='that is for other images than this'):
        check_same_source(one, dict(other, source_sha256='y'), 'this', 'that')
