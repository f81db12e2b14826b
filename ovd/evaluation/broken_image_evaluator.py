"""Evaluation where some images could not be read."""

from typing import Any, Optional, Sequence

from mmdet.registry import EVALUATOR
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement


@EVALUATOR.register_module()
class BrokenImageEvaluator(Evaluator):
    """The host's, for which a broken image is one without predictions.

    So its objects count as missed, and no metric gets better by it.
    """

    def process(
        self,
        data_samples: Sequence[BaseDataElement],
        data_batch: Optional[Any] = None,
    ) -> None:
        """Hand a batch on to the metrics.

        Args:
            data_samples (Sequence[BaseDataElement]): With predictions; those
                of :class:`~ovd.datasets.EvaluatedDataset`'s black samples
                are emptied.
            data_batch (Any, optional): From the data loader.
        """
        for sample in data_samples:
            if sample.get('broken_image'):
                sample.pred_instances = sample.pred_instances[:0]
        super().process(data_samples, data_batch)
