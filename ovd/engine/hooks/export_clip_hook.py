"""Write the CLIP that was trained to the file that later steps load."""

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class ExportCLIPHook(Hook):
    """Call the model's ``export`` when training is over.

    Args:
        out_file (str): Where the state dict goes.
    """

    def __init__(self, out_file: str) -> None:
        self.out_file = out_file

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the file and say where it is."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        model.export(self.out_file)
        runner.logger.info(f'CLIP is written to {self.out_file}')
