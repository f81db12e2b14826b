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
    - embeddings (Tensor): (P, D) float32

    Args: as of the host's ``PackDetInputs``.
    """

    def transform(self, results: dict) -> dict:
        """Pack; :class:`LoadProposalEmbeddings` must have run before.

        Raises:
            ValueError: If it has not, or a transform in between has dropped
                boxes, so that the embeddings no longer belong to them.
        """
        results = dict(results)
        if 'proposals' not in results or \
                'proposal_embeddings' not in results:
            raise ValueError(
                f'{type(self).__name__} finds no proposal embeddings: put '
                'LoadProposalEmbeddings into the pipeline before it')
        bboxes = results.pop('proposals').tensor
        embeddings = torch.from_numpy(results.pop('proposal_embeddings'))
        results.pop('proposals_scores', None)
        if len(bboxes) != len(embeddings):
            raise ValueError(
                f'image {results.get("img_id")}: {len(bboxes)} proposals for '
                f'{len(embeddings)} embeddings; a transform between '
                'LoadProposalEmbeddings and this one dropped boxes; only '
                'those that keep every box can be used there (Resize, '
                'RandomFlip)')
        packed = super().transform(results)
        packed['data_samples'].distill_instances = InstanceData(
            bboxes=bboxes.float(), embeddings=embeddings.float())
        return packed
