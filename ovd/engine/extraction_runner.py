"""A runner for jobs that train nothing."""

from typing import Any, Dict, Optional

from mmdet.registry import LOOPS, RUNNERS
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import nn


@RUNNERS.register_module()
class ExtractionRunner(Runner):
    """Run the loop of ``train_cfg`` with a frozen model.

    ``runner_type='ExtractionRunner'`` in a config makes ``tools/train.py``
    use it. Against the host's: no optimizer, no weight initialisation, no
    checkpoints, no hooks, and no wrapper around the model, which has nothing
    to synchronise.

    Args:
        train_dataloader (dict): Handed to the loop as it is.
        train_cfg (dict): Config of the loop.
        kwargs: As for the host's runner.
    """

    def __init__(
        self,
        *,
        train_dataloader: Dict[str, Any],
        train_cfg: Dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._train_dataloader = train_dataloader
        self._train_loop = train_cfg

    def wrap_model(
        self, model_wrapper_cfg: Optional[Dict], model: nn.Module
    ) -> nn.Module:
        """Move the model to this process's device, unwrapped."""
        return model.to(get_device())

    def train(self) -> nn.Module:
        """Run the loop to its end and return the model."""
        self._train_loop = loop = LOOPS.build(
            self._train_loop,
            default_args=dict(runner=self, dataloader=self._train_dataloader),
        )
        loop.run()
        return self.model
