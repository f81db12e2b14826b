"""What ``tools/test.py`` sets in a config, and what it writes."""
import inspect
import json
import math
from typing import Dict, Optional

from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.dist import is_main_process

from ovd.artifacts.files import atomic_write, sha256_file


def set_out_file(cfg: Config, out: Optional[str]) -> None:
    """Tell the test evaluator where to keep the predictions.

    One that notes its ``provenance`` also gets the checkpoint's.

    Args:
        cfg (Config): Has ``test_evaluator`` and ``load_from``, a file.
        out (str, optional): Nothing is kept where it is None.

    Raises:
        ValueError: If the evaluator of this config can't keep them.
    """
    if out is None:
        return
    name = cfg.test_evaluator.get('type') \
        if isinstance(cfg.test_evaluator, dict) else None
    metric = METRICS.get(name) if name else None
    accepted = inspect.signature(metric).parameters if metric else ()
    if 'out_file' not in accepted:
        raise ValueError(
            f'--out needs a test_evaluator that takes out_file, such as '
            f'ProposalDump or GZSLCocoMetric; this config has {name}')
    cfg.test_evaluator.out_file = out
    if 'provenance' in accepted:
        cfg.test_evaluator.provenance = dict(
            checkpoint=dict(
                file=cfg.load_from, sha256=sha256_file(cfg.load_from)))


def write_metrics(metrics: Dict[str, float], path: str) -> None:
    """Write the metrics as a JSON file, once (on the main process).

    JSON has no NaN: the metric of a group without ground truth is null.
    """
    if is_main_process():
        metrics = {
            name: None if math.isnan(value) else value
            for name, value in metrics.items()
        }
        with atomic_write(path, 'w') as file:
            json.dump(metrics, file, indent=2, allow_nan=False)
