"""Names go from the dataset to the model; what doesn't match is refused."""

from types import SimpleNamespace
from typing import List

import pytest
from mmdet.models.dense_heads import RPNHead
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


def make_runner(
    train: dict, val: dict, validates: bool = False
) -> SimpleNamespace:
    warnings: List[str] = []
    loader = lambda meta: SimpleNamespace(  # noqa: E731
        dataset=SimpleNamespace(dataset=SimpleNamespace(metainfo=meta))
    )
    evaluator = SimpleNamespace(metrics=[])
    return SimpleNamespace(
        model=nn.Sequential(Head()),
        train_dataloader=loader(train),
        val_dataloader=loader(val),
        test_dataloader=loader(val),
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        train_loop=object(),
        val_loop=object() if validates else None,
        logger=SimpleNamespace(warning=warnings.append),
        warnings=warnings,
    )


TRAIN = dict(classes=('a', 'b'), base_classes=('a',), novel_classes=('b',))
VAL = dict(classes=('b', 'a'))
SEEN_TRAIN, SEEN_VAL = (('a', 'b'), ('b',)), (('b', 'a'), ())


def test_training_goes_on_with_its_own_vocabulary_after_validation() -> None:
    runner, hook = make_runner(TRAIN, VAL), OpenVocabularyHook()
    hook.before_train(runner)
    hook.before_val(runner)
    hook.after_val(runner)
    assert runner.model[0].seen == [SEEN_TRAIN, SEEN_VAL, SEEN_TRAIN]


def test_training_tries_the_vocabulary_of_validation_first() -> None:
    runner = make_runner(TRAIN, VAL, validates=True)
    OpenVocabularyHook().before_train(runner)
    assert runner.model[0].seen == [SEEN_VAL, SEEN_TRAIN]


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


def test_the_config_gives_the_number_until_a_vocabulary_does() -> None:
    """A run may test other classes first, and train then."""
    runner, hook = make_runner(TRAIN, VAL), OpenVocabularyHook()
    runner.model[0].num_classes = 80
    with pytest.raises(ValueError, match='set num_classes=2 in the config'):
        hook.before_train(runner)
    hook.before_test(runner)
    hook.before_train(runner)


@pytest.mark.parametrize(
    'name, attributes, passes',
    [
        ('bbox_head', dict(num_classes=2), True),
        ('bbox_head', dict(num_classes=80), False),
        ('mask_head', dict(num_classes=80, class_agnostic=True), True),
        ('mask_head', dict(num_classes=80, class_agnostic=False), False),
        ('rpn_head', dict(num_classes=1), True),
    ],
)
def test_heads_of_a_fixed_size(
    name: str, attributes: dict, passes: bool
) -> None:
    """Those of the host have a column or a mask for each class."""
    runner = make_runner(TRAIN, TRAIN)
    runner.model = nn.ModuleDict({name: nn.Linear(1, 1)})
    for key, value in attributes.items():
        setattr(runner.model[name], key, value)
    for check in ('before_train', 'before_val', 'before_test'):
        if passes:
            getattr(OpenVocabularyHook(), check)(runner)
            continue
        with pytest.raises(
            ValueError, match=f'{name} has num_classes=80, .*has 2 classes'
        ):
            getattr(OpenVocabularyHook(), check)(runner)


def test_a_proposal_network_has_one_class() -> None:
    """Alone, it calls its head as other detectors call theirs."""
    runner = make_runner(TRAIN, TRAIN)
    head = RPNHead(4, feat_channels=4)
    runner.model = nn.ModuleDict(dict(bbox_head=head))
    OpenVocabularyHook().before_train(runner)
    assert head.num_classes == 1


def test_artefacts_of_other_images() -> None:
    one = dict(file='a_48_17.json', sha256='1', source_sha256='x')
    other = dict(file='a_65_15.json', sha256='2', source_sha256='x')
    check_same_source(one, other, 'this', 'that')  # two splits of one source
    check_same_source(one, {}, 'this', 'a foreign file')
    with pytest.raises(ValueError, match='that is for other images than this'):
        check_same_source(one, dict(other, source_sha256='y'), 'this', 'that')


def test_a_checkpoint_knows_its_clip() -> None:
    """Class embeddings of another CLIP are refused when it is tested."""
    runner, hook = make_runner(TRAIN, VAL), OpenVocabularyHook()
    ours, other = (dict(name='x', sha256=digit * 64) for digit in '01')
    runner.model[0].clip = ours
    checkpoint = dict(meta={})
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint['meta'] == dict(clip=ours)
    hook.after_load_checkpoint(runner, checkpoint)
    hook.before_test(runner)
    runner.model[0].clip = other
    with pytest.raises(ValueError, match="of two CLIPs can't be compared"):
        hook.before_test(runner)
    hook.after_load_checkpoint(runner, dict(state_dict={}))  # says nothing
    hook.before_test(runner)
