"""Give training the boxes of an image that CLIP has yet to embed."""

from typing import Any, Dict, Optional

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from ovd.artifacts.proposals import Proposals, image_key, load_proposals
from ovd.datasets.box_selection import BoxSelection, annotated_boxes

from .original_frame import check_original_frame


@TRANSFORMS.register_module()
class LoadProposalsToEmbed(BaseTransform):
    """Select boxes as an extraction of embeddings does, for training.

    It stands in the place of :class:`LoadProposalEmbeddings` where there is
    no store, together with :class:`~ovd.engine.hooks.ImageEmbeddingHook`,
    which embeds the boxes.

    Required keys: ``img_id``, ``img_path``, ``height``, ``width`` and, for
    annotated boxes, ``instances``. Added keys, P boxes:

    - proposals (HorizontalBoxes): (P, 4) float32 xyxy, pixels of the original
      image; ``ProposalBroadcaster`` moves them with it
    - proposals_to_embed (ndarray): the same (P, 4), which nothing moves

    Args:
        proposals (str, optional): Proposals file. It is read when first
            used. None embeds none. Defaults to None.
        boxes (dict, optional): Options of
            :class:`~ovd.datasets.box_selection.BoxSelection`.

    Raises:
        ValueError: If an option is unknown, or no box would be selected.
    """

    def __init__(
        self,
        proposals: Optional[str] = None,
        boxes: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.proposals_file = proposals
        self.selection = BoxSelection.from_options(
            boxes or {}, proposals is not None
        )
        if self.selection.whole_image:
            raise ValueError(
                'whole_image=True is for stores: training '
                'distils boxes of objects'
            )
        self._proposals: Optional[Proposals] = None

    def __getstate__(self) -> Dict[str, Any]:
        # A spawned worker reads the file, which is less than it is in memory.
        return {**self.__dict__, '_proposals': None}

    @property
    def proposals(self) -> Optional[Proposals]:
        """The proposals of all images, None without a file.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged or holds something else.
        """
        if self._proposals is None and self.proposals_file is not None:
            self._proposals = load_proposals(self.proposals_file)
        return self._proposals

    def transform(self, results: dict) -> dict:
        """Add the boxes of an image.

        Raises:
            KeyError: If the proposals lack the image.
            ValueError: If a proposal lies outside the image, or the image is
                not of the size that the annotation file says.
        """
        check_original_frame(results, type(self).__name__)
        size_hw = results['height'], results['width']
        key = image_key(results['img_path'])
        if tuple(results.get('ori_shape', size_hw)[:2]) != size_hw:
            height, width = results['ori_shape'][:2]
            raise ValueError(
                f'{key} has {width} x {height} pixels, the annotation file '
                f'says {size_hw[1]} x {size_hw[0]}'
            )
        entry = None if self.proposals is None else self.proposals[key]
        try:
            found = self.selection.select(
                results['img_id'], entry, annotated_boxes(results), size_hw
            )
        except ValueError as error:
            raise ValueError(
                f'{self.proposals_file}, {key}: {error}'
            ) from error
        results['proposals'] = HorizontalBoxes(found['bboxes'].copy())
        results['proposals_to_embed'] = found['bboxes']
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(proposals={self.proposals_file!r}, '
            f'boxes={self.selection.settings()})'
        )
