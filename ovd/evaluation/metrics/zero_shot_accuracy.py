"""Zero-shot accuracy of a CLIP on crops, for base and novel names."""

import json
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from ovd.artifacts.files import atomic_write, require_file


@METRICS.register_module()
class ZeroShotAccuracy(BaseMetric):
    """Top-1 accuracy over all names, for parts of them apart.

    Reports ``base``, ``novel`` and each novel group of the split, and
    ``background``: all names that are not in the split. A part without a
    crop is left out.

    Args:
        split_file (str): JSON with ``base``, ``novel`` and ``groups``.
        out_file (str, optional): JSON file to write the accuracies to.
        prediction (str): Which entry of a prediction is the predicted label,
            where there are several. Defaults to ``'pred_label'``.
        kwargs: Of mmengine's ``BaseMetric``.
    """

    default_prefix = 'zero_shot'

    def __init__(
        self,
        split_file: str,
        out_file: Optional[str] = None,
        prediction: str = 'pred_label',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        path = require_file(
            split_file, 'split file', 'python tools/build_miniature.py'
        )
        split = json.loads(path.read_text(encoding='utf-8'))
        self.parts = dict(
            base=split['base'], novel=split['novel'], **split.get('groups', {})
        )
        self.out_file = out_file
        self.prediction = prediction

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep (label, predicted label) of each crop."""
        self.results.extend(
            (sample['label'], sample[self.prediction])
            for sample in data_samples
        )

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Return accuracies in 0 to 1."""
        labels, pred_labels = np.array(results).T
        names = np.array(self.dataset_meta['classes'])[labels]
        in_split = self.parts['base'] + self.parts['novel']
        parts = {key: np.isin(names, part) for key, part in self.parts.items()}
        parts['background'] = ~np.isin(names, in_split)
        correct = labels == pred_labels
        accuracies = {
            key: float(correct[chosen].mean())
            for key, chosen in parts.items()
            if chosen.any()
        }
        if self.out_file is not None:
            with atomic_write(self.out_file, 'w') as file:
                json.dump(accuracies, file, indent=2)
        return accuracies
