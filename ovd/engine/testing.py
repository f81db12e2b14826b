"""What ``tools/test.py`` sets in a config, and what it writes."""

import inspect
import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Optional

from mmdet.registry import METRICS
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from torch import nn

from ovd.artifacts.class_embeddings import MAKE_IT
from ovd.artifacts.files import atomic_write, require_file, sha256_file
from ovd.artifacts.seen_classes import read_seen_classes
from ovd.artifacts.weights_file import read_weights

MOST_KEYS = 8  # in an error
HINT = (
    'test with the config that it was trained with, or of the same model: '
    '--cfg-options model.backbone.depth=50 makes an R101 an R50'
)


def set_out_file(cfg: Config, out: Optional[str]) -> None:
    """Tell the test evaluator where to keep the predictions.

    One that notes its ``provenance`` also gets the checkpoint's, and which
    classes that has seen in training (``trained_on``), as far as it says so.

    Args:
        cfg (Config): Has ``test_evaluator`` and ``load_from``, a file.
        out (str, optional): Nothing is kept where it is None.

    Raises:
        ValueError: If the evaluator of this config can't keep them.
    """
    if out is None:
        return
    evaluators = list_test_evaluators(cfg)
    takers = [e for e in evaluators if 'out_file' in _arguments(e)]
    if not takers:
        raise ValueError(
            '--out needs a test_evaluator that takes out_file, such as '
            'ProposalDump or GZSLCocoMetric; this config has '
            f'{", ".join(str(e.get("type")) for e in evaluators) or None}'
        )
    takers[0].out_file = out
    if 'provenance' in _arguments(takers[0]):
        takers[0].provenance = dict(
            checkpoint=dict(
                file=cfg.load_from, sha256=sha256_file(cfg.load_from)
            ),
            trained_on=read_seen_classes(cfg.load_from),
        )


def set_class_embeddings(cfg: Config, file: Optional[str]) -> None:
    """Give a trained detector another vocabulary, or other sentences.

    It is taken as it is: a hook that would make or judge the config's own
    file is taken out. That it is of the CLIP that the detector was trained
    with is checked by :class:`OpenVocabularyHook`.

    Args:
        cfg (Config): Of a detector.
        file (str, optional): Class embeddings file; None changes nothing.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If no part of the model names class embeddings.
    """
    if file is None:
        return
    require_file(file, 'class embeddings', MAKE_IT)
    named = [part for part in _parts(cfg.model) if 'class_embeddings' in part]
    if not named:
        raise ValueError(
            '--class-embeddings is for detectors that name classes by such a '
            f'file; no part of the {cfg.model.get("type")} of this config '
            'has class_embeddings'
        )
    for part in named:
        part.class_embeddings = file
    hooks = cfg.get('default_hooks') or {}
    for name in [
        name
        for name, hook in hooks.items()
        if hook and hook.get('type') == 'ClassEmbeddingHook'
    ]:
        del hooks[name]
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if hook.get('type') != 'ClassEmbeddingHook'
    ]


def _parts(value: Any) -> Iterator[ConfigDict]:
    """Yield all dicts inside of a config."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item)


def check_weights(cfg: Config, model: nn.Module) -> None:
    """Raise unless the checkpoint has all weights of the model.

    The host only logs what is missing, and tests a half random model. What
    the checkpoint has beyond that, such as a mask head, the host logs, and a
    training that begins with ``load_from`` may take a part of a model.

    Args:
        cfg (Config): Its ``load_from`` is a file.
        model (nn.Module): It gets the weights.

    Raises:
        ValueError: If a weight is missing or of another shape, or the file
            holds something else.
    """
    content = read_weights(cfg.load_from)
    if not isinstance(content, dict):
        raise ValueError(
            f'{cfg.load_from} is no checkpoint: it holds a '
            f'{type(content).__name__}'
        )
    weights = content.get('state_dict', content)
    found: Any = OrderedDict(
        (key.removeprefix('module.'), value) for key, value in weights.items()
    )
    # The versions of the modules, by which they read older checkpoints
    found._metadata = getattr(weights, '_metadata', None)
    model = getattr(model, 'module', model)
    try:
        missing = model.load_state_dict(found, strict=False).missing_keys
    except RuntimeError as error:  # of another shape
        raise ValueError(
            f'{cfg.load_from} does not fit the model of this config: {HINT}'
            f'\n{error}'
        ) from error
    # Old checkpoints lack the counters, which no prediction needs
    missing = [key for key in missing if 'num_batches_tracked' not in key]
    if missing:
        listed = ''.join(f'\n  {key}' for key in missing[:MOST_KEYS])
        more = len(missing) - MOST_KEYS
        raise ValueError(
            f'{cfg.load_from} lacks {len(missing)} of the '
            f'{len(model.state_dict())} weights of the model of this config: '
            f'{HINT}{listed}' + (f'\n  and {more} more' * (more > 0))
        )


def set_report_dir(cfg: Config) -> None:
    """Have the test evaluators report every class, in the work folder."""
    for evaluator in list_test_evaluators(cfg):
        if 'report_dir' in _arguments(evaluator):
            evaluator.setdefault(
                'report_dir', str(Path(cfg.work_dir) / 'report')
            )


def list_test_evaluators(cfg: Config) -> List[ConfigDict]:
    """Return the test evaluators, of which a config may have several.

    They are those inside, where broken images are passed over.
    """
    found = cfg.get('test_evaluator') or []
    if isinstance(found, dict) and 'metrics' in found:
        found = found['metrics']
    return [found] if isinstance(found, dict) else list(found)


def _arguments(evaluator: ConfigDict) -> Collection[str]:
    """Return the names of the arguments of an evaluator's class."""
    metric = METRICS.get(evaluator.get('type') or '')
    return inspect.signature(metric).parameters if metric else ()


def write_metrics(metrics: Dict[str, float], path: str) -> None:
    """Write the metrics as a JSON file, once (on the main process).

    JSON has no NaN: the metric of a group without ground truth is null.
    """
    if is_main_process():
        content = {
            name: None if math.isnan(value) else value
            for name, value in metrics.items()
        }
        with atomic_write(path, 'w') as file:
            json.dump(content, file, indent=2, allow_nan=False)
