"""Strict --cfg-options: unknown keys, added keys, values."""

import pytest
from mmengine.config import Config

from ovd.engine.override_values import parse_value
from ovd.engine.overrides import apply_overrides


def make_config() -> Config:
    return Config(
        dict(
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            train_dataloader=[
                dict(type='Resize', scale=(10, 10)),
                dict(type='Flip'),
            ],
            train_pipeline=[dict(type='Flip')],
        )
    )


def test_existing_keys_are_set() -> None:
    cfg = make_config()
    apply_overrides(
        cfg,
        [
            'optim_wrapper.optimizer.lr=1e-3',
            'train_dataloader.0.scale=(20,30)',
        ],
    )
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    assert cfg.train_dataloader[0].scale == (20, 30)
    assert cfg.train_dataloader[1].type == 'Flip'


def test_plus_adds_a_key() -> None:
    cfg = make_config()
    apply_overrides(cfg, ['+optim_wrapper.clip_grad.max_norm=5'])
    assert cfg.optim_wrapper.clip_grad.max_norm == 5
    cfg.optim_wrapper.clip_grad = None
    apply_overrides(cfg, ['+optim_wrapper.clip_grad.max_norm=5'])
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=5)
    cfg.optim_wrapper.clip_grad = None
    apply_overrides(cfg, ["optim_wrapper.clip_grad={'max_norm': 3}"])
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=3)


@pytest.mark.parametrize(
    'option, message',
    [
        # a typo in the middle, at the end, beyond a list, below a value
        (
            'optim_wraper.optimizer.lr=1',
            'no key "optim_wraper.optimizer.lr".*mean '
            '"optim_wrapper.optimizer.lr"',
        ),
        ('optim_wrapper.optimizer.rl=1', 'stopped at "rl"'),
        ('train_dataloader.2.type=X', 'stopped at "2"'),
        ('optim_wrapper.optimizer.lr.x=1', 'stopped at "x"'),
        ('optim_wrapper', 'key=value'),
        # the end of a key is known, the rest is not
        ('lr=1', 'mean "optim_wrapper.optimizer.lr"'),
        # a dict in place of a number, an item behind the last
        ('+optim_wrapper.optimizer.lr.x=1', 'lr=.* cannot inherit'),
        ('+train_dataloader.7.type=X', 'Index 7 exceeds'),
        # its value was already put into the data loader
        ('train_pipeline.0.type=X', '"train_pipeline" is a variable'),
        ('=3', 'takes key=value, got "=3"'),
        ('+=3', r'takes key=value, got "\+=3"'),
        ('optim_wrapper..lr=3', 'takes key=value'),
        # kinds of value
        ('optim_wrapper=3', 'dict with optimizer: .*got 3; .*wrapper.NAME'),
        ('optim_wrapper.optimizer=', "dict with type, lr: .*got ''"),
        ('optim_wrapper.optimizer.lr=abc', "the number 0.1: .*got 'abc'"),
        ('optim_wrapper.optimizer.lr=', "number 0.1: .*got ''"),
        ('optim_wrapper.optimizer.lr=0,02', r"got \[0, '02'\]"),
        ('optim_wrapper.optimizer.lr=0,2', r'got \(0, 2\)'),
        ('optim_wrapper.optimizer.lr=true', 'got True'),
        ('optim_wrapper.optimizer.type=[a', r'options .*type: .*got \[a;'),
    ],
)
def test_wrong_options(option: str, message: str) -> None:
    cfg = make_config()
    with pytest.raises(ValueError, match=message):
        apply_overrides(cfg, [option])
    assert cfg.to_dict() == make_config().to_dict()


@pytest.mark.parametrize(
    'text, value',
    [
        ('3', 3),
        ('1e-3', 1e-3),
        ('true', True),
        ('None', None),
        ('abc', 'abc'),
        ('a b/c.pth', 'a b/c.pth'),
        ('1,2', (1, 2)),
        ('a,2', ['a', 2]),
        ("[('a', 1)]", [('a', 1)]),
        # the host's lists and tuples of bare words
        ('[bbox,segm]', ['bbox', 'segm']),
        ('[a, 2, 1e-3, true]', ['a', 2, 1e-3, True]),
        ('[(a,1),(b,2)]', [('a', 1), ('b', 2)]),
        ('(a,)', ('a',)),
        ("'[a'", '[a'),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    'text',
    ['[a', '[a]b]', '{a: 1}', '[a,,b]', '[a b,c]', '[dict(a=1)]', '(a)b'],
)
def test_what_begins_with_a_bracket_is_no_string(text: str) -> None:
    with pytest.raises(ValueError, match='a list of plain words'):
        parse_value(text)


def test_values_of_another_kind() -> None:
    """None, lists where the host takes them, and what is on purpose."""
    cfg = make_config()
    cfg.val_evaluator = dict(type='CocoMetric', prob=0.5)
    apply_overrides(cfg, ['val_evaluator.prob=[0.2, 0.3]'])
    assert cfg.val_evaluator.prob == [0.2, 0.3]
    apply_overrides(cfg, ["val_evaluator=[{'type': 'A'}, {'type': 'B'}]"])
    assert [item.type for item in cfg.val_evaluator] == ['A', 'B']
    apply_overrides(cfg, ['+optim_wrapper.optimizer.lr=dynamic'])
    assert cfg.optim_wrapper.optimizer.lr == 'dynamic'
    apply_overrides(cfg, ['optim_wrapper.optimizer=None'])
    assert cfg.optim_wrapper.optimizer is None
