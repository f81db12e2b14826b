"""Write what an RPN finds as a proposals file."""
from typing import Any, Dict, Optional, Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ovd.artifacts.proposals import image_key, save_proposals, select_proposals
from ovd.datasets.gzsl_split import describe_annotations


@METRICS.register_module()
class ProposalDump(BaseMetric):
    """Keep the boxes of all images, from all processes, in one file.

    Boxes are xyxy in pixels of the original image (the host rescales them in
    ``predict``), clipped to it; those without an area are dropped. Returns
    the numbers of images and proposals.

    Args:
        out_file (str, optional): ``.safetensors`` or ``.pkl`` to write;
            ``tools/test.py --out`` sets it.
        num_max_proposals (int, optional): The best of one image to keep; None
            keeps all. Defaults to None.
        ann_file (str, optional): Annotation file of the images; its digest
            is noted in the file.
        provenance (dict, optional): More to note, such as the checkpoint.
        collect_device (str): As for the host. Defaults to ``'cpu'``.
        prefix (str, optional): Before the names of the two numbers. Defaults
            to ``'proposals'``.
    """

    default_prefix = 'proposals'

    def __init__(self,
                 out_file: Optional[str] = None,
                 num_max_proposals: Optional[int] = None,
                 ann_file: Optional[str] = None,
                 provenance: Optional[Dict[str, Any]] = None,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_file = out_file
        self.num_max_proposals = num_max_proposals
        self.ann_file = ann_file
        self.provenance = dict(provenance or {})

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the best boxes of each image.

        Raises:
            ValueError: If there is no ``out_file``: before the work is done,
                not after it.
        """
        self._require_out_file()
        for sample in data_samples:
            height, width = sample['ori_shape'][:2]
            found = sample['pred_instances']
            limits = np.array([width, height] * 2, np.float32)
            bboxes = found['bboxes'].detach().cpu().numpy()
            entry = dict(
                bboxes=bboxes.astype(np.float32).clip(0, limits),
                scores=found['scores'].detach().cpu().numpy().astype(
                    np.float32))
            self.results.append((image_key(sample['img_path']),
                                 select_proposals(entry,
                                                  self.num_max_proposals)))

    def compute_metrics(self, results: list) -> Dict[str, int]:
        """Write the file; called on one process, with all results."""
        out_file = self._require_out_file()
        proposals = dict(results)
        if len(proposals) < len(results):
            raise ValueError(
                f'{len(results) - len(proposals)} images share their folder '
                'and file name with others, by which proposals are found: '
                'put them into folders of different names')
        save_proposals(out_file, proposals, self._describe())
        MMLogger.get_current_instance().info(
            f'proposals of {len(proposals)} images are in {out_file}')
        return dict(
            num_images=len(proposals),
            num_proposals=sum(
                len(entry['scores']) for entry in proposals.values()))

    def _require_out_file(self) -> str:
        if self.out_file is None:
            raise ValueError(
                'ProposalDump has no file to write to: give --out FILE '
                '(.safetensors or .pkl)')
        return self.out_file

    def _describe(self) -> Dict[str, Any]:
        """Return what made the file."""
        described = dict(
            self.provenance, num_max_proposals=self.num_max_proposals)
        if self.ann_file is not None:
            described['annotations'] = describe_annotations(self.ann_file)
        return described
