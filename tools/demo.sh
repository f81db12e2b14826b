#!/bin/sh
# The whole road in miniature, from nothing to a table and pictures.
set -eu
usage='usage: sh tools/demo.sh

Installs what is needed (see tools/environment.sh), then goes all the way from
raw images to a detector of novel classes, on a world small enough for two CPU
cores. Run again, it reuses the steps that are done and resumes
the one that was cut off. To start anew:
  rm -r data/miniature pretrained/clip/miniature.pt work_dirs/miniature'
case ${1:-} in
    '') ;;
    -h | --help) echo "$usage" && exit ;;
    *) echo "$usage" >&2 && exit 2 ;;
esac
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
start=$(date +%s)
. "$root/tools/environment.sh"
cd "$root"

data=data/miniature
work=work_dirs/miniature
configs=configs/miniature
detector=vild-ensemble_mask-rcnn_r18_fpn_miniature

# How many of the steps below are done, from the first on. A step that runs
# takes those after it off the count: what they made is out of date.
mkdir -p "$work"
count=$work/demo_steps_done
done_before=$(cat "$count" 2>/dev/null || echo 0)
total=$(grep -c "^step ['\"]" tools/demo.sh)
number=0
# Only the first step to run can have been cut off: the later ones start anew.
resume=--resume

# step TITLE OUTPUT COMMAND...: run a tool, unless it is done and the file or
# folder OUTPUT is there.
step() {
    title=$1 output=$2
    shift 2
    number=$((number + 1))
    seconds=$(($(date +%s) - start))
    printf '\n[%d/%d] %s (%d:%02d)\n' "$number" "$total" "$title" \
        $((seconds / 60)) $((seconds % 60))
    if [ "$number" -le "$done_before" ] && [ -e "$output" ]; then
        echo "done before, reusing $output"
        return
    fi
    done_before=0
    resume=
    echo $((number - 1)) >"$count"
    echo "\$ python $*"
    "$PYTHON" "$@"
    if [ ! -e "$output" ]; then
        echo "the step has not written $output" >&2
        exit 1
    fi
    echo "$number" >"$count"
}

step 'Render the miniature world' $data/annotations/48_17.json \
    tools/build_miniature.py
step 'Hide the novel classes from training' \
    $data/annotations/instances_train_48_17_1.json \
    tools/build_zsl_dataset.py configs/_base_/datasets/miniature_instance.py \
    --split $data/annotations/48_17.json
step 'Train a small CLIP on captioned crops' pretrained/clip/miniature.pt \
    tools/train.py $configs/clip_rn_miniature.py $resume
step 'Embed the class names' $data/prompt/vild.pth \
    tools/class_embeddings.py vild --dataset miniature
step 'Train the region proposal network on base boxes' \
    $work/rpn/last_checkpoint \
    tools/train.py $configs/rpn_r18_fpn_miniature.py $resume
step 'Propose boxes in the training images' \
    $data/proposals/rpn_train_48_17.safetensors \
    tools/test.py $configs/rpn_r18_fpn_miniature_train.py $work/rpn \
    --out $data/proposals/rpn_train_48_17.safetensors
step 'Embed the proposals with CLIP' \
    $data/proposal_embeddings/miniature/manifest.json \
    tools/train.py $configs/proposal_feature_extractor.py
step 'Distil CLIP into the detector' $work/vild/last_checkpoint \
    tools/train.py $configs/$detector.py $resume
step 'Test ViLD-text' $work/metrics/vild-text.json \
    tools/test.py $configs/vild-text_mask-rcnn_r18_fpn_miniature.py \
    $work/vild --metrics $work/metrics/vild-text.json
step 'Test ViLD-image' $work/metrics/vild-image.json \
    tools/test.py $configs/vild-image_mask-rcnn_r18_fpn_miniature.py \
    $work/vild --metrics $work/metrics/vild-image.json
step 'Test ViLD-ensemble' $work/metrics/vild-ensemble.json \
    tools/test.py $configs/$detector.py \
    $work/vild --metrics $work/metrics/vild-ensemble.json
step "Test the teacher, CLIP on the detector's boxes" \
    $work/metrics/clip-on-boxes.json \
    tools/test.py $configs/clip-on-boxes_mask-rcnn_r18_fpn_miniature.py \
    $work/vild --metrics $work/metrics/clip-on-boxes.json
step 'Collect the table' $work/results.json \
    tools/collect_results.py $work/metrics --out $work/results.json
step 'Detect whatever words are given' $work/pictures \
    tools/image_demo.py $data/val/000001.png $configs/$detector.py \
    $work/vild --texts 'red circle, striped blue star' \
    --out-dir $work/pictures

printf '\n'
cat $work/results.txt
printf '\nThe table: %s\nPictures:\n' "$work/results.json"
ls $work/pictures/* | sed 's/^/  /'
seconds=$(($(date +%s) - start))
printf 'In all %d:%02d.\n' $((seconds / 60)) $((seconds % 60))
