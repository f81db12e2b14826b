#!/bin/sh
# The whole road in miniature, from nothing to a table and pictures.
set -eu
# shellcheck disable=SC2086  # the options below are lists
usage='usage: sh tools/demo.sh [--short] [--seed=N] [FOLDER]

Installs what is needed (see tools/environment.sh), then goes through every
step from raw images to a detector of novel classes, on a world small enough
for two CPU cores. Run again, it reuses the steps that are done and resumes
the one that was cut off.

  --seed=N another world and other weights to start from; default: 0
  --short  a fourth of the work, for tests: the detector stays half-trained
  FOLDER   where data, weights and results go; default: this repository. To
           start anew, remove from it data/miniature, work_dirs/miniature and
           pretrained/clip/miniature.pt

example: sh tools/demo.sh --seed=1 work_dirs/another_world'
short=
seed='--seed 0'
folder=
for argument; do
    case $argument in
        -h | --help) echo "$usage" && exit ;;
        --short) short=yes ;;
        --seed=*[!0-9]* | --seed=) echo "$usage" >&2 && exit 2 ;;
        --seed=*) seed="--seed ${argument#--seed=}" ;;
        -*) echo "$usage" >&2 && exit 2 ;;
        *)
            [ -z "$folder" ] || { echo "$usage" >&2 && exit 2; }
            folder=$argument
            ;;
    esac
done
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
script=$root/tools/demo.sh
[ -z "$folder" ] || mkdir -p "$folder"
folder=$(CDPATH='' cd -- "${folder:-$root}" && pwd)
start=$(date +%s)
. "$root/tools/environment.sh"
cd "$folder"
# Short commands where the folder is the repository, for people to copy.
here=
[ "$folder" = "$root" ] || here=$root/

data=data/miniature
work=work_dirs/miniature
configs=${here}configs/miniature
detector=$configs/vild-ensemble_mask-rcnn_r18_fpn_miniature.py
# One process where there is one GPU. On a CPU two processes with half a batch
# each are faster than two threads.
processes=$("$PYTHON" -c '
import torch
print(min(torch.cuda.device_count() or 2, 2))')
halves= clip_halves=
if [ "$processes" = 2 ]; then
    halves='--cfg-options train_dataloader.batch_size=4'
    clip_halves='--cfg-options train_dataloader.batch_size=64'
fi
world= clip= rpn= vild=
if [ -n "$short" ]; then
    world='--num-train 400 --num-val 80 --num-crops 5000'
    clip='--cfg-options train_cfg.max_iters=200 param_scheduler.1.end=200
          param_scheduler.1.T_max=170 train_cfg.val_interval=200'
    rpn='--cfg-options train_cfg.max_iters=100 param_scheduler.1.end=100
         param_scheduler.1.T_max=70'
    vild='--cfg-options train_cfg.max_iters=200 param_scheduler.1.end=200
          param_scheduler.1.T_max=170'
fi

# How many of the steps below are done, from the first on. A step that runs
# takes those after it off the count: what they made is out of date.
mkdir -p "$work"
count=$work/demo_steps_done
options="$seed${short:+ --short}"
if [ -e "$count" ]; then
    read -r done_before options_before <"$count"
    if [ "$options" != "$options_before" ]; then
        echo "$folder holds a run with $options_before, this one is with" \
            "$options: give another FOLDER, or remove from it what -h says" >&2
        exit 1
    fi
else
    done_before=0
fi
total=$(grep -c "^step ['\"]" "$script")
number=0
# Only the first step to run can have been cut off: the later ones start anew.
resume=--resume

# step TITLE OUTPUT INTERPRETER TOOL ARGUMENTS...: run a tool with python or sh,
# unless it is done and the file or folder OUTPUT is there.
step() {
    title=$1 output=$2 interpreter=$3 tool=$here$4
    shift 4
    number=$((number + 1))
    seconds=$(($(date +%s) - start))
    printf '\n[%d/%d] %s (%d:%02d)\n' "$number" "$total" "$title" \
        $((seconds / 60)) $((seconds % 60))
    if [ "$number" -le "$done_before" ] && [ -e "$output" ]; then
        echo "done before, reusing $output"
        return
    fi
    if [ -z "$resume" ]; then
        rm -rf "$output" # an earlier step ran: what rests on it is stale
    fi
    done_before=0
    resume=
    echo "$((number - 1)) $options" >"$count"
    echo "\$ $interpreter $tool $*"
    case $interpreter in
        python) "$PYTHON" "$tool" "$@" ;;
        sh) sh "$tool" "$@" ;;
    esac
    if [ ! -e "$output" ]; then
        echo "the step has not written $output" >&2
        exit 1
    fi
    echo "$number $options" >"$count"
}

step 'Render the miniature world' $data/annotations/48_17.json \
    python tools/build_miniature.py $seed $world
step 'Hide the novel classes from training' \
    $data/annotations/instances_train_48_17_1.json \
    python tools/build_zsl_dataset.py \
    "${here}configs/_base_/datasets/miniature_instance.py" \
    --split $data/annotations/48_17.json --overwrite
step 'Train a small CLIP on captioned crops' pretrained/clip/miniature.pt \
    sh tools/dist_train.sh "$configs/clip_rn_miniature.py" "$processes" $clip_halves \
    $seed $resume $clip
step 'Embed the class names' $data/prompt/vild.pth \
    python tools/class_embeddings.py vild --dataset miniature --overwrite
step 'Train the region proposal network on base boxes' \
    $work/rpn/last_checkpoint \
    sh tools/dist_train.sh "$configs/rpn_r18_fpn_miniature.py" "$processes" $halves \
    $seed $resume $rpn
step 'Propose boxes in the training images' \
    $data/proposals/rpn_train_48_17.safetensors \
    python tools/test.py "$configs/rpn_r18_fpn_miniature_train.py" $work/rpn \
    --out $data/proposals/rpn_train_48_17.safetensors
step 'Embed the proposals with CLIP' \
    $data/proposal_embeddings/miniature \
    python tools/train.py "$configs/proposal_feature_extractor.py"
step 'Distil CLIP into the detector' $work/vild-ensemble/last_checkpoint \
    sh tools/dist_train.sh "$detector" "$processes" $halves $seed $resume $vild
step 'Test ViLD-ensemble' $work/metrics/ViLD-ensemble.json \
    python tools/test.py "$detector" $work/vild-ensemble \
    --out $work/predictions.json --metrics $work/metrics/ViLD-ensemble.json
step 'Test its text branch alone' $work/metrics/ViLD-text.json \
    python tools/test.py "$detector" $work/vild-ensemble \
    --metrics $work/metrics/ViLD-text.json \
    --cfg-options model.roi_head.bbox_head.scoring=text
step 'Test its image branch alone' $work/metrics/ViLD-image.json \
    python tools/test.py "$detector" $work/vild-ensemble \
    --metrics $work/metrics/ViLD-image.json \
    --cfg-options model.roi_head.bbox_head.scoring=image
step "Test the teacher, CLIP on the detector's boxes" \
    $work/metrics/CLIP-on-boxes.json \
    python tools/test.py "$configs/clip-on-boxes_mask-rcnn_r18_fpn_miniature.py" \
    $work/vild-ensemble --metrics $work/metrics/CLIP-on-boxes.json
step 'Draw what is found' $work/pictures \
    python tools/image_demo.py "$data/val/00000[1-8].png" "$detector" \
    $work/vild-ensemble --out-dir $work/pictures
step 'Detect whatever words are given' $work/pictures_of_words \
    python tools/image_demo.py "$data/val/00000[1-4].png" "$detector" \
    $work/vild-ensemble --out-dir $work/pictures_of_words \
    --texts 'red circle, striped blue star, heart, ring, something green'
step 'Compare the methods' $work/results.json \
    python tools/compare_results.py --out $work/results.json \
    ViLD-text=$work/metrics/ViLD-text.json \
    ViLD-image=$work/metrics/ViLD-image.json \
    ViLD-ensemble=$work/metrics/ViLD-ensemble.json \
    CLIP-on-boxes=$work/metrics/CLIP-on-boxes.json \
    --note 'ViLD-text and ViLD-image are the two heads of the one ensemble.'

printf '\n'
cat $work/results.txt
printf '\nThe table:\n  %s\nPictures:\n' "$folder/$work/results.json"
for picture in "$folder/$work"/results.png "$folder/$work"/pictures*/*; do
    printf '  %s\n' "$picture"
done
seconds=$(($(date +%s) - start))
printf 'In all %d:%02d.\n' $((seconds / 60)) $((seconds % 60))
