"""Check what prompts are learned from; write them to where detectors look."""

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.clip.text_encoder import LEARNED
from ovd.datasets.gzsl_header import load_header


@HOOKS.register_module()
class ExportPromptsHook(Hook):
    """Write class embeddings with the learned contexts when training is over.

    They are of all names of the annotation file, base, novel and others, as
    ``tools/class_embeddings.py learned`` makes them; that tool reads the
    contexts out of the file, for names of other data sets.

    Args:
        out_file (str): The ``.pth`` to write.
    """

    def __init__(self, out_file: str) -> None:
        self.out_file = out_file

    def before_train(self, runner: Runner) -> None:
        """Check the regions that a :class:`PromptLearner` is to learn from.

        Raises:
            ValueError: If another CLIP embedded them, or they are of as many
                groups.
        """
        dataset = runner.train_dataloader.dataset
        _unwrap(runner.model).check_regions(
            dataset.clip, dataset.embed_dims, len(dataset.group_sizes)
        )

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the file and say where it is."""
        model = _unwrap(runner.model)
        dataset = runner.train_dataloader.dataset
        names = [
            category.name
            for category in load_header(dataset.ann_file).categories
        ]
        ClassEmbeddings(
            names,
            model.embed_classes(names),
            model.clip,
            LEARNED,
            dict(
                precision=model.teacher.precision,
                synonyms=None,
                iou_ranges=[list(item) for item in dataset.iou_ranges],
            ),
            model.context.detach().cpu(),
        ).save(self.out_file)
        runner.logger.info(
            f'class embeddings of {len(names)} names with the learned '
            f'prompts are written to {self.out_file}'
        )


def _unwrap(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
