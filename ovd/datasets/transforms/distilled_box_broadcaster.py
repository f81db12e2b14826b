"""Move the boxes to distil together with the image, also where some drop."""

from copy import deepcopy
from typing import List, Optional, Sequence

import numpy as np
from mmdet.datasets.transforms import ProposalBroadcaster
from mmdet.registry import TRANSFORMS

# What belongs to the boxes, row by row
_ROWS = ('proposal_embeddings', 'proposals_to_embed')
# What belongs to annotated boxes, and must not meet the boxes to distil
_ANNOTATIONS = ('gt_masks', 'gt_instances_ids', 'gt_seg_map')
# Which draw again until an annotated box suits them, or more than once
_UNFIT = (
    'MinIoURandomCrop',
    'RandomChoice',
    'Rotate',
    'TranslateX',
    'TranslateY',
    'ShearX',
    'ShearY',
)


@TRANSFORMS.register_module()
class DistilledBoxBroadcaster(ProposalBroadcaster):
    """The host's wrapper, for transforms that drop boxes (RandomCrop).

    The host moves proposals as if they were annotated boxes. Which of them
    are still there travels as their labels, and their embeddings follow.

    Args:
        transforms (list): Transforms of image and boxes alike.

    Raises:
        ValueError: If one of them can't do the same to annotated boxes and
            to others.
    """

    def __init__(self, transforms: Sequence[dict] = ()) -> None:
        super().__init__(list(transforms))
        unfit = [
            name
            for name in (
                type(transform).__name__
                for transform in self.transforms.transforms
            )
            if name in _UNFIT
        ]
        if unfit:
            raise ValueError(
                f'{unfit[0]} draws anew for the boxes to distil, which the '
                f'host does not allow inside of {type(self).__name__}; take '
                'Resize, RandomResize, RandomChoiceResize, RandomCrop or '
                'RandomFlip'
            )

    def transform(self, results: dict) -> Optional[dict]:
        """Apply the transforms; None where they leave no annotated box.

        Raises:
            ValueError: If no transform has given boxes before.
        """
        if results.get('proposals') is None:
            raise ValueError(
                f'{type(self).__name__} finds no boxes to distil: put '
                'LoadProposalEmbeddings or LoadProposalsToEmbed before it'
            )
        return super().transform(results)

    def _process_input(self, data: dict) -> List[dict]:
        """Return the image twice: with its annotations, with proposals."""
        proposals = {
            key: value
            for key, value in data.items()
            if key not in _ANNOTATIONS
        }
        proposals = deepcopy(proposals)
        proposals['gt_bboxes'] = proposals['proposals']
        num_boxes = len(data['proposals'])
        proposals['gt_bboxes_labels'] = np.arange(num_boxes)
        proposals['gt_ignore_flags'] = np.zeros(num_boxes, bool)
        return [data, proposals]

    def _process_output(self, output_scatters: list) -> Optional[dict]:
        """Take the boxes that are left, and what belongs to them."""
        outputs, moved = output_scatters
        if outputs is None:  # the dataset takes another image
            return None
        if moved is None:  # the crop has objects, but none of these boxes
            left, boxes = np.arange(0), outputs['proposals'][:0]
        else:
            left, boxes = moved['gt_bboxes_labels'], moved['gt_bboxes']
        outputs['proposals'] = boxes
        for key in _ROWS:
            if key in outputs:
                outputs[key] = outputs[key][left]
        return outputs
