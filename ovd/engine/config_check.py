"""Are the types of a config registered, and do they take its arguments?

What the host hands to registries as it stands is checked before anything is
built: data loaders with their transforms, optimizer, schedules, loops, hooks,
metrics, visualizers and the model itself. The parts of a model may change the
configs of their own parts: build_errors.py explains what the host says there.
"""

from typing import Any, Collection, Iterator, List, Optional, Tuple

from mmcv.transforms import Compose, KeyMapper, RandomApply, RandomChoice
from mmdet import registry
from mmdet.datasets.transforms import ProposalBroadcaster
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import Registry

from ovd.suggest import did_you_mean

from .config_origins import ConfigOrigins
from .signatures import accepted_arguments
from .untyped_arguments import LOADERS, arguments_of_ema, unknown_arguments

Typed = Tuple[str, Any, Registry]
LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')
EVALUATORS = ('val_evaluator', 'test_evaluator')
# What the host takes out before it builds one of a registry
TAKEN_OUT = {
    'hook': {'priority'},
    'optim_wrapper': {'constructor', 'paramwise_cfg'},
    'parameter scheduler': {'convert_to_iter_based'},
}
# Transforms whose ``transforms`` are built of the same registry
NESTING = (Compose, KeyMapper, ProposalBroadcaster, RandomApply, RandomChoice)


def check_types(cfg: Config) -> None:
    """Raise unless all types are registered and take their arguments.

    Args:
        cfg (Config): Read from a file, and overridden.

    Raises:
        ValueError: If not, with file, key and the nearest names, a line for
            each.
    """
    if cfg.get('default_scope', 'mmdet') != 'mmdet':
        return
    problems = [
        problem
        for typed in _typed_entries(cfg)
        for problem in _problems(*typed)
    ]
    problems += unknown_arguments(cfg)
    if problems:
        origins = ConfigOrigins(cfg.filename)
        raise ValueError(
            '\nerror: '.join(
                f'{origins.find(key, value)}: {key}: {text}'
                for key, value, text in problems
            )
        )


def _typed_entries(cfg: Config) -> Iterator[Typed]:
    """Yield what goes to a registry as it is: its key, itself, registry."""
    for name in LOADERS:
        loader = cfg.get(name) or {}
        yield from _datasets(f'{name}.dataset', loader.get('dataset'))
        for part in ('sampler', 'batch_sampler'):
            yield f'{name}.{part}', loader.get(part), registry.DATA_SAMPLERS
    for name in EVALUATORS:
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict) and registry.EVALUATOR.get(
            evaluator.get('type') or ''
        ):  # one round the metrics
            yield name, evaluator, registry.EVALUATOR
            name, evaluator = f'{name}.metrics', evaluator.get('metrics')
        for key, metric in _listed(name, evaluator):
            yield key, metric, registry.METRICS
    for name in LOOPS:
        yield name, cfg.get(name), registry.LOOPS
    for name, hook in (cfg.get('default_hooks') or {}).items():
        yield f'default_hooks.{name}', hook, registry.HOOKS
    for key, hook in _listed('custom_hooks', cfg.get('custom_hooks')):
        yield key, hook, registry.HOOKS
    for key, item in _listed('param_scheduler', cfg.get('param_scheduler')):
        yield key, item, registry.PARAM_SCHEDULERS
    optim_wrapper = cfg.get('optim_wrapper') or {}
    if 'constructor' not in optim_wrapper:
        yield 'optim_wrapper', optim_wrapper, registry.OPTIM_WRAPPERS
        yield (
            'optim_wrapper.optimizer',
            optim_wrapper.get('optimizer'),
            registry.OPTIMIZERS,
        )
    visualizer = cfg.get('visualizer') or {}
    yield 'visualizer', visualizer, registry.VISUALIZERS
    for key, backend in _listed(
        'visualizer.vis_backends', visualizer.get('vis_backends')
    ):
        yield key, backend, registry.VISBACKENDS
    yield 'model', cfg.get('model'), registry.MODELS


def _listed(key: str, items: Any) -> Iterator[Tuple[str, Any]]:
    """Yield the items of a list, or what stands for a list of one."""
    if isinstance(items, (list, tuple)):
        for i, item in enumerate(items):
            yield f'{key}.{i}', item
    else:
        yield key, items


def _datasets(key: str, dataset: Any) -> Iterator[Typed]:
    """Yield a dataset, those that it wraps, and their transforms."""
    if not isinstance(dataset, dict):
        return
    yield key, dataset, registry.DATASETS
    for name in ('dataset', 'datasets'):
        for inner, item in _listed(f'{key}.{name}', dataset.get(name)):
            yield from _datasets(inner, item)
    yield from _transforms(f'{key}.pipeline', dataset.get('pipeline'))


def _transforms(key: str, transforms: Any) -> Iterator[Typed]:
    """Yield the transforms of a pipeline, and those inside of them."""
    for inner, item in _listed(key, transforms):
        if isinstance(item, (list, tuple)):
            yield from _transforms(inner, item)
        elif isinstance(item, dict):
            yield inner, item, registry.TRANSFORMS
            target = _find(registry.TRANSFORMS, item.get('type'))
            if isinstance(target, type) and issubclass(target, NESTING):
                yield from _transforms(
                    f'{inner}.transforms', item.get('transforms')
                )


def _find(of: Registry, name: Any) -> Any:
    """Return what is registered under a name; a type is its own name."""
    if not isinstance(name, str):
        return name
    try:
        return of.get(name)
    except RuntimeError:  # the host's, on names that are no module either
        return None


def _problems(
    key: str, node: Any, of: Registry
) -> Iterator[Tuple[str, Any, str]]:
    """Yield what is wrong with a typed entry: key, value, what."""
    if not isinstance(node, dict) or not node.get('type'):
        return
    target = _find(of, node['type'])
    if target is None:
        yield f'{key}.type', node['type'], no_such_type(of, node['type'])
        return
    accepted = accepted_arguments(target)
    if isinstance(target, type) and issubclass(target, EMAHook):
        kind = node.get('ema_type', 'ExponentialMovingAverage')
        average = _find(registry.MODELS, kind)
        if average is None:
            text = no_such_type(registry.MODELS, kind)
            yield f'{key}.ema_type', kind, text
            return
        accepted = arguments_of_ema(target, accepted_arguments(average))
    if accepted is None:
        return
    known = accepted | TAKEN_OUT.get(of.name, set()) | {'type', '_scope_'}
    for name in node:
        if name not in known:
            yield (
                f'{key}.{name}',
                node[name],
                no_such_argument(node['type'], name, accepted),
            )


def no_such_type(of: Registry, name: str) -> str:
    """Say that nothing has this name in a registry, with near ones."""
    names: List[str] = []
    level: Optional[Registry] = of
    while level is not None:
        names += level.module_dict
        level = level.parent
    return f'no {of.name} is called "{name}"{did_you_mean(name, names)}'


def no_such_argument(
    kind: Any, name: str, accepted: Optional[Collection[str]]
) -> str:
    """Say that a type has no such argument, with near ones or all it has."""
    near = did_you_mean(name, accepted or ())
    if accepted and not near:
        near = f'; it takes {", ".join(sorted(accepted))}'
    return f'{getattr(kind, "__name__", kind)} takes no "{name}"{near}'
