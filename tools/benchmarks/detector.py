"""Time the parts of a detector that depend on its names, and its training.

All weights are random, as are images and class embeddings. In each of three
parts two jobs take turns, and the median of the rounds' ratios counts (those
that end in `_of_cpu` compare the seconds that the process had of the CPU, in
place of those that passed: where other jobs run, they differ less):

`nms_speedup`: post-processing of 1,000 proposals x 1,203 classes, score
threshold 0, by the host's `multiclass_nms` over ours; detections are the same,
or it raises.
`names_10000_over_80`: a prediction of a ViLD-ensemble Mask R-CNN (ResNet-50
FPN, both branches 4conv1fc) for 1,000 proposals with 10,000 names, over one
with 80. The memory that scoring and NMS of 10,000 names take at most is told
in `score_memory`, as a multiple of what the scores themselves take.
`train_over_host`: a training step of that detector over one of host Mask R-CNN
with a second box head of the same size, run on the same distilled boxes.

The last line is JSON.
"""
import argparse
import contextlib
import copy
import io
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

Seconds = List[Tuple[float, float]]  # of the clock, and of the CPU, per round

EMBED_DIMS = 512
NMS = dict(type='nms', iou_threshold=.5)
# conv_channels and fc_channels are those of each box head.
SIZES = dict(
    image=(1333, 800), proposals=1000, classes=1203, rois=512, distilled=300,
    detections=300, conv_channels=256, fc_channels=1024, repeats=3)
QUICK = dict(
    image=(96, 64), proposals=20, classes=100, rois=16, distilled=4,
    detections=5, conv_channels=16, fc_channels=64, repeats=1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/detector.py --device cuda',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda')
    parser.add_argument(
        '--quick', action='store_true',
        help='try the benchmark at a small size; its ratios say little')
    parser.add_argument(
        '--image', type=int, nargs=2, metavar=('WIDTH', 'HEIGHT'),
        help='of the network input (default: 1333 800)')
    parser.add_argument('--proposals', type=int, help='default: 1000')
    parser.add_argument(
        '--repeats', type=int, help='rounds of each part (default: 3)')
    args = parser.parse_args()
    for name, value in (QUICK if args.quick else SIZES).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    if min(*args.image, args.proposals, args.repeats) < 1:
        parser.error('--image, --proposals and --repeats must be positive')
    return args


def take_turns(jobs: Dict[str, Callable[[], Any]],
               repeats: int) -> List[Seconds]:
    """Run warm jobs in turn, and return the seconds of each one's rounds."""
    seconds: List[Seconds] = [[] for _ in jobs]
    for number in range(repeats):
        # The first of a round is not always the same one.
        for name, rounds in list(zip(jobs, seconds))[::(-1)**number]:
            _wait()
            start = time.perf_counter(), time.process_time()
            jobs[name]()
            _wait()
            rounds.append((time.perf_counter() - start[0],
                           time.process_time() - start[1]))
    for name, rounds in zip(jobs, seconds):
        whole, cpu = map(statistics.median, zip(*rounds))
        print(f'{name:40}{whole:10.3f} s, of the CPU {cpu:10.3f} s',
              flush=True)
    return seconds


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratios(name: str, over: Seconds, under: Seconds) -> Dict[str, float]:
    """Return the medians of the rounds' ratios, of the clock and the CPU."""
    pairs = [[a / b for a, b in zip(*both)] for both in zip(over, under)]
    return dict(zip((name, f'{name}_of_cpu'),
                    map(statistics.median, zip(*pairs))))


def unit_rows(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def draw_boxes(number: int, image: Tuple[int, int]) -> Tensor:
    """Return boxes (number, 4) xyxy in an image of (width, height).

    Coordinates are multiples of 1/4: the host's NMS, which shifts boxes by
    their class, does not round them.
    """
    size = torch.tensor(image)
    centres = torch.rand(number, 2) * size
    # Sides from 2 to 60 % of the image's, small ones more often
    sides = size * .02 * 30**torch.rand(number, 2)
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)
    boxes = (boxes.clamp(min=0).minimum(size.repeat(2)) * 4).round() / 4
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
    return boxes


def measure_nms(args: argparse.Namespace) -> Dict[str, float]:
    """Compare the host's NMS with ours on realistic scores."""
    from mmdet.models.layers import multiclass_nms

    from ovd.models.task_modules import shared_box_nms
    bboxes = draw_boxes(args.proposals, args.image).to(args.device)
    cosines = unit_rows(args.proposals, EMBED_DIMS) @ unit_rows(
        args.classes + 1, EMBED_DIMS).T
    scores = (cosines / .01).softmax(dim=1).to(args.device)
    functions = dict(host=multiclass_nms, ours=shared_box_nms)
    jobs = {
        f'NMS of {args.classes} classes, {name}':
        lambda function=function: function(
            bboxes, scores, 0., NMS, args.detections)
        for name, function in functions.items()
    }
    expected, found = (job() for job in jobs.values())
    if not all(map(torch.equal, expected, found)):
        raise RuntimeError("our NMS has other detections than the host's")
    return ratios('nms_speedup', *take_turns(jobs, args.repeats))


def save_vocabulary(path: Path, number: int) -> List[str]:
    """Write class embeddings of ``number`` names; return these."""
    from ovd.artifacts.class_embeddings import ClassEmbeddings
    names = [f'name {i}' for i in range(number)]
    ClassEmbeddings(
        names, unit_rows(number, EMBED_DIMS),
        dict(name='generated', sha256='0' * 64), 'generated').save(path)
    return names


def build(args: argparse.Namespace, **roi_head: Any) -> nn.Module:
    """Return a Mask R-CNN whose RoI head differs from the host's."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    cfg = Config.fromstring(
        "_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'", '.py')
    model = cfg.model
    model.backbone.init_cfg = None
    model.roi_head.mask_head.class_agnostic = True
    model.roi_head.update(roi_head)
    for part in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        part.max_per_img = args.proposals
    model.train_cfg.rcnn.sampler.num = args.rois
    model.test_cfg.rcnn.update(
        score_thr=0., nms=NMS, max_per_img=args.detections)
    # The host lists every weight that it initialises.
    with DefaultScope.overwrite_default_scope('mmdet'), \
            contextlib.redirect_stdout(io.StringIO()), \
            contextlib.redirect_stderr(io.StringIO()):
        detector = MODELS.build(model)
        detector.init_weights()
    return detector.to(args.device)


def layers(args: argparse.Namespace) -> Dict[str, int]:
    """Return what the box heads of both detectors have in common."""
    return dict(
        num_shared_convs=4, num_shared_fcs=1,
        conv_out_channels=args.conv_channels,
        fc_out_channels=args.fc_channels)


def build_vild(args: argparse.Namespace, class_embeddings: Path) -> nn.Module:
    """Return a ViLD-ensemble Mask R-CNN, whose vocabulary is yet to be set."""
    return build(
        args,
        type='ViLDRoIHead',
        loss_distill=dict(type='DistillationLoss'),
        bbox_head=dict(
            layers(args),
            type='ViLDEnsembleBBoxHead',
            in_channels=256,
            num_classes=args.classes,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                class_embeddings=str(class_embeddings)),
            image_branch=layers(args)))


def build_host(args: argparse.Namespace) -> nn.Module:
    """Return host Mask R-CNN with a second box head for distilled boxes."""
    from mmdet.models.roi_heads import StandardRoIHead
    from mmdet.registry import MODELS
    from mmdet.structures.bbox import bbox2roi

    @MODELS.register_module(force=True)
    class TwoHeadRoIHead(StandardRoIHead):

        def __init__(self, *args, second_head: dict, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.second_head = MODELS.build(second_head)

        def loss(self, x: Any, rpn_results_list: Any,
                 batch_data_samples: Any) -> Dict[str, Tensor]:
            losses = super().loss(x, rpn_results_list, batch_data_samples)
            rois = bbox2roi([
                sample.distill_instances.bboxes
                for sample in batch_data_samples
            ])
            extractor = self.bbox_roi_extractor
            logits, _ = self.second_head(
                extractor(x[:extractor.num_inputs], rois))
            background = torch.full_like(
                rois[:, 0], logits.size(1) - 1, dtype=torch.long)
            losses['loss_second'] = F.cross_entropy(logits, background)
            return losses

    head = dict(
        layers(args), type='ConvFCBBoxHead', in_channels=256,
        num_classes=args.classes, reg_class_agnostic=True)
    return build(
        args, type='TwoHeadRoIHead', bbox_head=head,
        second_head=dict(head, with_reg=False))


def make_batch(args: argparse.Namespace) -> Dict[str, list]:
    """Return an image with ten objects and boxes to distil."""
    from mmdet.testing import demo_mm_inputs
    from mmengine.structures import InstanceData
    width, height = args.image
    data = demo_mm_inputs(
        1, [(3, height, width)], num_items=[10], num_classes=80,
        with_mask=True)
    sample = data['data_samples'][0]
    sample.set_metainfo(dict(scale_factor=(1., 1.)))
    sample.distill_instances = InstanceData(
        bboxes=draw_boxes(args.distilled, args.image),
        embeddings=unit_rows(args.distilled, EMBED_DIMS))
    sample.to(args.device)
    return data


@contextlib.contextmanager
def centred_embeddings(head: nn.Module, num_rois: int) -> Iterator[None]:
    """Have this head embed the regions of the next image about 0.

    A random network embeds all regions of an image nearly alike, and so gives
    all of them the same few names.
    """

    def centre(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
        if len(output) != num_rois:
            raise RuntimeError(f'the RPN proposed {len(output)} regions, '
                               f'not {num_rois}; take a larger image')
        mean = output.mean(dim=0)
        layer.bias.data -= mean
        return output - mean

    hooks = [layer.register_forward_hook(centre)
             for layer in (head.fc_cls, head.image_branch.fc_cls)]
    yield
    for hook in hooks:
        hook.remove()


def measure_names(args: argparse.Namespace,
                  folder: Path) -> Dict[str, float]:
    """Compare predictions with 10,000 and with 80 names."""
    names = save_vocabulary(folder / 'names.pth', 10_000)
    detector = build_vild(args, folder / 'names.pth').eval()
    batch = make_batch(args)
    detectors = {}
    for number in (80, 10_000):
        detectors[number] = copy.deepcopy(detector)
        head = detectors[number].roi_head.bbox_head
        head.set_vocabulary(names[:number], names[:number // 3])
        with centred_embeddings(head, args.proposals):
            found = detectors[number].test_step(batch)[0].pred_instances
        print(f'{number} names: {len(found)} detections, '
              f'{len(found.labels.unique())} of the names', flush=True)
    few, many = take_turns({
        f'prediction with {number} names':
        lambda model=model: model.test_step(batch)
        for number, model in detectors.items()
    }, args.repeats)
    return dict(
        ratios('names_10000_over_80', many, few),
        score_memory=measure_score_memory(args, head))


def measure_score_memory(args: argparse.Namespace,
                         head: nn.Module) -> float:
    """Return the peak of scoring and NMS in multiples of the scores."""
    from ovd.models.task_modules import shared_box_nms
    bboxes = draw_boxes(args.proposals, args.image).to(args.device)
    text, image = (unit_rows(args.proposals, EMBED_DIMS).to(args.device)
                   for _ in range(2))
    columns = head.num_classes + 1
    weight = torch.full((columns - 1, ), 2 / 3, device=args.device)

    def score() -> None:
        scores = head.classifier.ensemble(text, image, weight)
        shared_box_nms(bboxes, scores, 0., NMS, args.detections)

    return peak_bytes(score, args.device) / (4 * args.proposals * columns)


def peak_bytes(job: Callable[[], Any], device: str) -> float:
    """Return the largest sum of bytes of a job's tensors."""
    job()
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        return torch.cuda.max_memory_allocated() - before
    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU],
                     profile_memory=True) as profiler:
            job()
        trace = Path(folder) / 'trace.json'
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())['traceEvents']
    changes = sorted((event['ts'], event['args']['Bytes'])
                     for event in events if event['name'] == '[memory]')
    return max(itertools.accumulate(change for _, change in changes))


def measure_training(args: argparse.Namespace,
                     folder: Path) -> Dict[str, float]:
    """Compare training steps of ViLD-ensemble and of the host."""
    from mmengine.optim import OptimWrapper
    names = save_vocabulary(folder / 'classes.pth', args.classes)
    vild = build_vild(args, folder / 'classes.pth')
    # As many novel classes as LVIS has; the image shows others.
    vild.roi_head.bbox_head.set_vocabulary(
        names, names[args.classes * 866 // 1203:])
    host = build_host(args)
    batch = make_batch(args)

    def job(model: nn.Module) -> Callable[[], Any]:
        # A rate of 0 costs as much, and no weight runs away.
        optimizer = torch.optim.SGD(model.parameters(), lr=0., momentum=.9)
        wrapper = OptimWrapper(optimizer)
        return lambda: model.train().train_step(copy.deepcopy(batch), wrapper)

    jobs = {
        'training step of ViLD-ensemble': job(vild),
        'training step of host, two box heads': job(host),
    }
    for step in jobs.values():
        step()
    return ratios('train_over_host', *take_turns(jobs, args.repeats))


def main() -> None:
    args = parse_args()
    import ovd.models  # noqa: F401  (registers, and gives mmcv its ops)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        result = dict(
            measure_nms(args),
            **measure_names(args, Path(folder)),
            **measure_training(args, Path(folder)))
    for name, value in result.items():
        print(f'{name:28}{value:8.3f}')
    print(json.dumps({name: round(value, 3)
                      for name, value in result.items()}))


if __name__ == '__main__':
    main()
