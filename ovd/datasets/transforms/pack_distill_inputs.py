"""Pack an image, its annotations and what is distilled from CLIP."""

import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.structures import InstanceData


@TRANSFORMS.register_module()
class PackDistillInputs(PackDetInputs):
    """The host's packing, with boxes to distill apart from proposals.

    The host would put ``results['proposals']`` into
    ``data_sample.proposals``, and a two-stage detector would then train on
    them in place of its RPN's. So they are taken out before, and travel as
    ``data_sample.distill_instances``, P boxes:

    - bboxes (Tensor): (P, 4) float32 xyxy, pixels of the network input
    - embeddings (Tensor): (P, D) float32; or, where
      :class:`~ovd.engine.hooks.ImageEmbeddingHook` makes them later,
    - original_bboxes (Tensor): (P, 4) float32 xyxy, pixels of the image file,
      whose path is ``distill_instances.img_path``

    Args: as of the host's ``PackDetInputs``.
    """

    def transform(self, results: dict) -> dict:
        """Pack; one of the transforms that give such boxes must have run.

        Raises:
            ValueError: If none has, or a transform in between has dropped
                boxes, so that the embeddings no longer belong to them.
        """
        results = dict(results)
        given = {
            name: torch.from_numpy(results.pop(key)).float()
            for key, name in (
                ('proposal_embeddings', 'embeddings'),
                ('proposals_to_embed', 'original_bboxes'),
            )
            if key in results
        }
        if 'proposals' not in results or len(given) != 1:
            raise ValueError(
                f'{type(self).__name__} finds no proposal embeddings: put '
                'LoadProposalEmbeddings into the pipeline before it, or, '
                'without a store, LoadProposalsToEmbed; not both'
            )
        bboxes = results.pop('proposals').tensor
        ((name, values),) = given.items()
        results.pop('proposals_scores', None)
        if len(bboxes) != len(values):
            raise ValueError(
                f'image {results.get("img_id")}: {len(bboxes)} proposals for '
                f'{len(values)} {name.replace("_", " ")}; a transform between '
                'the one that gives them and this one dropped boxes; put '
                'it inside of DistilledBoxBroadcaster'
            )
        packed = super().transform(results)
        packed['data_samples'].distill_instances = InstanceData(
            metainfo=dict(img_path=results.get('img_path')),
            bboxes=bboxes.float(),
            **given,
        )
        return packed
