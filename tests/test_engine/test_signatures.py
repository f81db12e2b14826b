"""Which arguments classes and functions take, as Python itself says."""

import functools
from typing import Any, Optional, Set

import pytest
from mmdet.datasets.transforms import LoadAnnotations, RandomFlip
from mmdet.models.task_modules import RandomSampler
from mmengine.hooks import CheckpointHook
from torch.optim import SGD

from ovd.engine.signatures import accepted_arguments


class Base:
    def __init__(self, a: int, *args: Any, b: int = 1) -> None:
        pass


class HandsOn(Base):
    def __init__(self, c: int, **kwargs: Any) -> None:
        kwargs.setdefault('b', kwargs.pop('old_b', 2))
        super().__init__(**kwargs)


class OldStyle(HandsOn):
    def __init__(self, *args: Any, d: int = 1, **kwargs: Any) -> None:
        super(OldStyle, self).__init__(*args, **kwargs)


class Inherits(OldStyle):
    pass


class Keeps(Base):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kwargs = kwargs


class Swallows(Base):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(kwargs.get('a'))


class Made(Base):
    def __new__(cls, **kwargs: Any) -> 'Made':
        return super().__new__(cls)


class Decorated(Base):
    @functools.wraps(Base.__init__)
    def __init__(self, **kwargs: Any) -> None:
        pass


def function(a: int, b: int = 1) -> None:
    pass


@pytest.mark.parametrize(
    'target, accepted',
    [
        (Base, {'a', 'b'}),
        (HandsOn, {'a', 'b', 'c', 'old_b'}),
        (Inherits, {'a', 'b', 'c', 'd', 'old_b'}),
        # can't be told, or anything goes
        (Keeps, None),
        (Swallows, None),
        (Made, None),
        (Decorated, None),
        (functools.partial(function, a=1), None),
        (function, {'a', 'b'}),
    ],
)
def test_arguments(target: Any, accepted: Optional[Set[str]]) -> None:
    assert accepted_arguments(target) == accepted


@pytest.mark.parametrize(
    'target, taken, refused',
    [
        (RandomFlip, 'prob', 'flip_ratio'),
        (LoadAnnotations, 'with_bbox', 'with_boxes'),
        (SGD, 'nesterov', 'type'),
        # handed to Runner.save_checkpoint, at the end of an epoch
        (CheckpointHook, 'save_optimizer', 'max_keep_ckpt'),
    ],
)
def test_arguments_of_the_host(target: Any, taken: str, refused: str) -> None:
    accepted = accepted_arguments(target)
    assert taken in accepted and refused not in accepted
    assert accepted_arguments(RandomSampler) is None
