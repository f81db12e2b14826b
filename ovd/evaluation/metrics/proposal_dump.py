"""Write what an RPN finds as a proposals file, and how much it finds."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Dict, Optional, Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger

from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import (
    Entry,
    Proposals,
    check_suffix,
    image_key,
    save_proposals,
    select_proposals,
)
from ovd.artifacts.provenance import check_same_source
from ovd.artifacts.seen_classes import explain_leak, find_seen_novel
from ovd.datasets.gzsl_split import describe_annotations
from ovd.datasets.image_names import read_images

from ..ground_truth import GroundTruth
from ..prediction_spool import Spool, find_places, read_found
from .proposal_recall import ProposalRecall


@METRICS.register_module()
class ProposalDump(ProposalRecall):
    """Keep the boxes of all images, from all processes, in one file.

    Boxes are xyxy in pixels of the original image (the host rescales them in
    ``predict``), clipped to it; those without an area are dropped. Images are
    in the order of their ids. Then the recall of what is in the file is
    measured; its names and the numbers of images and proposals are returned.

    Args:
        ann_file (str): Annotation file of the dataset; its digest is noted.
        out_file (str, optional): ``.safetensors`` or ``.pkl`` to write;
            ``tools/test.py --out`` sets it.
        num_max_proposals (int, optional): The best of one image to keep; None
            keeps all. Defaults to None.
        recall_ann_file (str, optional): The file that ``ann_file`` was split
            from, to measure recall on: a training file has no novel objects.
            Where it does not exist, ``ann_file`` is measured on.
        provenance (dict, optional): More to note, such as the checkpoint.
            ``trained_on`` is which classes that has seen.
        **kwargs: As for :class:`ProposalRecall`.
    """

    def __init__(
        self,
        ann_file: PathLike,
        out_file: Optional[str] = None,
        num_max_proposals: Optional[int] = None,
        recall_ann_file: Optional[PathLike] = None,
        provenance: Optional[Dict[str, Any]] = None,
        **kwargs: Any,
    ) -> None:
        whole, lacking = ann_file, recall_ann_file
        if recall_ann_file is not None and Path(recall_ann_file).is_file():
            whole, lacking = recall_ann_file, None
        super().__init__(whole, **kwargs)
        self.proposals_of = str(ann_file)
        self.lacking = lacking
        # Not `out_file`, to which the base class writes COCO json.
        self.proposals_file = out_file
        self.num_max_proposals = num_max_proposals
        self.provenance = dict(provenance or {})
        self._size = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Put the best boxes of each image on disk.

        Raises:
            ValueError: If there is no ``out_file``, or one that can't be
                written: before the work is done, not after it. Also if a box
                or score is not finite.
        """
        if self._spool is None:
            self._check_files()
        spool = self._open_spool()
        for sample in data_samples:
            found = self._select(sample)
            count = len(found['scores'])
            spool.add(
                sample['img_id'],
                np.zeros(count, int),
                found['scores'],
                found['bboxes'],
                name=image_key(sample['img_path']),
            )

    def _select(self, sample: dict) -> Entry:
        """Return the proposals of an image that are kept, best first."""
        height, width = sample['ori_shape'][:2]
        bboxes, scores = (
            sample['pred_instances'][name].detach().cpu().float().numpy()
            for name in ('bboxes', 'scores')
        )
        if not (np.isfinite(bboxes).all() and np.isfinite(scores).all()):
            raise ValueError(
                f'the RPN gives a box or score of {sample["img_path"]} that '
                'is not finite: its training diverged'
            )
        limits = np.array([width, height] * 2, np.float32)
        return select_proposals(
            dict(bboxes=bboxes.clip(0, limits), scores=scores),
            self.num_max_proposals,
        )

    def _check_files(self) -> None:
        """Raise for what would fail at the end; warn of leaks."""
        check_suffix(self._require_out_file())
        if not is_main_process():
            return
        # What can't be written fails here, and not when the work is done
        folder = Path(self._require_out_file()).parent
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        if self.ann_file != self.proposals_of:
            check_same_source(
                describe_annotations(self.proposals_of),
                describe_annotations(self.ann_file),
                'ann_file',
                'recall_ann_file',
            )
        if leak := explain_leak(self._seen_novel()):
            MMLogger.get_current_instance().warning(leak)

    def evaluate(self, size: int) -> Dict[str, float]:
        """Write the file and measure, on the first process.

        Args:
            size (int): Number of images of the dataset.

        Returns:
            dict: The metrics, on every process.
        """
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: Sequence[Spool]) -> Dict[str, float]:
        """Write what the processes found, then measure it.

        Raises:
            ValueError: If an image of the dataset is missing, or two have
                one name.
        """
        out_file = self._require_out_file()
        self._check_images(
            {
                image_id: place.name
                for image_id, (_, place) in find_places(results).items()
            }
        )
        proposals = merge(results)
        save_proposals(out_file, proposals, self._describe())
        counts = dict(
            num_images=len(proposals), num_proposals=proposals.num_boxes
        )
        MMLogger.get_current_instance().info(
            f'{counts["num_proposals"]:,} proposals of '
            f'{counts["num_images"]:,} images are in {out_file}'
        )
        del proposals  # recall takes them from the spools again
        return {
            **{f'proposals/{name}': n for name, n in counts.items()},
            **super().compute_metrics(results),
        }

    def _check_images(self, names: Dict[Any, str]) -> None:
        """Raise unless these are the images of the dataset.

        Args:
            names (dict): Image id -> name ``'<folder>/<file>'``.
        """
        images = {
            image.id: image.file_name or image.coco_url
            for image in read_images(self.proposals_of)
        }
        missing = [image_id for image_id in images if image_id not in names]
        if missing and len(names) < self._size:
            raise ValueError(
                f'no proposals came for {len(missing)} of {len(images)} '
                f'images of {self.proposals_of}, the first is '
                f'{images[missing[0]]} (id {missing[0]}): nothing is written'
            )
        for image_id in names:
            if image_id not in images:
                raise ValueError(
                    f'proposals came for {names[image_id]} (id {image_id}), '
                    f'which {self.proposals_of} lacks: ann_file of '
                    'ProposalDump must be that of the dataset'
                )
        first: Dict[str, Any] = {}
        for image_id, name in names.items():
            if first.setdefault(name, image_id) != image_id:
                raise ValueError(
                    f'the images {first[name]} and {image_id} share their '
                    f'folder and file name, {name}, by which proposals are '
                    'found: put them into folders of different names'
                )

    def load_truth(self) -> GroundTruth:
        """Read what recall is measured on: the images of the dataset."""
        truth = super().load_truth()
        if self.ann_file != self.proposals_of:
            truth = truth.of_images(
                image.id for image in read_images(self.proposals_of)
            )
            MMLogger.get_current_instance().info(
                f'recall is measured on {self.ann_file}, on those of its '
                f'images alone that {self.proposals_of} has'
            )
        novel = {truth.cat_ids[name] for name in truth.groups['novel']}
        if novel and not any(
            annotation.category_id in novel
            for annotations in truth.annotations.values()
            for annotation in annotations
        ):
            MMLogger.get_current_instance().warning(
                f'{self.ann_file} has no novel objects, so that their recall '
                'is not known: it needs the file that this was split from'
                + (
                    f', {self.lacking}, which does not exist'
                    if self.lacking
                    else ' (recall_ann_file)'
                )
            )
        return truth

    def _require_out_file(self) -> str:
        if self.proposals_file is None:
            raise ValueError(
                'ProposalDump has no file to write to: give --out FILE '
                '(.safetensors or .pkl)'
            )
        return self.proposals_file

    def _seen_novel(self) -> Any:
        """Return novel classes that the checkpoint was trained on."""
        meta = self.dataset_meta or {}
        return find_seen_novel(
            self.provenance.get('trained_on', ()),
            meta.get('novel_classes', ()),
        )

    def _describe(self) -> Dict[str, Any]:
        """Return what made the file."""
        described = dict(
            self.provenance,
            num_max_proposals=self.num_max_proposals,
            annotations=describe_annotations(self.proposals_of),
        )
        if 'trained_on' in described:
            described['seen_novel_classes'] = self._seen_novel()
        return described


def merge(spools: Sequence[Spool]) -> Proposals:
    """Return the proposals of all processes, held once."""
    places = [place for _, place in find_places(spools).values()]
    offsets = np.zeros(len(places) + 1, np.int64)
    np.cumsum([place.count for place in places], out=offsets[1:])
    bboxes = np.empty((offsets[-1], 4), np.float32)
    scores = np.empty(offsets[-1], np.float32)
    for start, (_, found) in zip(offsets, read_found(spools)):
        stop = start + len(found.scores)
        bboxes[start:stop], scores[start:stop] = found.bboxes, found.scores
    return Proposals([place.name for place in places], bboxes, scores, offsets)
