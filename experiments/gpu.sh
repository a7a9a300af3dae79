#!/usr/bin/env bash
# What is measured on a machine with one GPU, within a budget of minutes and resumable: the tests of the device, times beside
# PyTorch's there, then pairs and larger sets of VGG11 trained, fused and fine-tuned, and the repairs of what the models are
# there for. A step that is done leaves a mark and is passed over by the next run; a step that fails or runs out of time does not
# stop the others.
#
# usage: experiments/gpu.sh RESULTS
#   DEVICE=cuda        where to compute; cpu tries the script itself
#   SECONDS_LEFT=720   budget of the whole run
#   SCALE=full         small: the small variants of the experiments
#   OTFUSE=FILE        the command, RUNTIME=FILE the example `runtime`, TESTS=FILE the test `device`, where they are built already;
#                      else cargo builds them with the feature of the device
#   PYTHON=python3     with torch, for the times beside PyTorch's; without torch these are left out, and said
#   CIFAR=data/cifar10 CIFAR-10 as binary batches
#   VGG=models/cifar10-vgg11  a pair of trained VGG11, vgg11_seed0.pt and vgg11_seed1.pt; without, only networks trained here are fused
set -u
cd "$(dirname "$0")/.."
results=${1:?usage: experiments/gpu.sh RESULTS}
device=${DEVICE:-cuda}
budget=${SECONDS_LEFT:-720}
scale=${SCALE:-full}
python=${PYTHON:-python3}
cifar=${CIFAR:-data/cifar10}
vgg=${VGG:-models/cifar10-vgg11}
started=$(date +%s)
mkdir -p "$results"

features=()
[ "$device" = cpu ] || features=(--features "${device%%:*}")
variant=()
[ "$scale" = full ] || variant=(--variant "$scale")

left() { echo $((budget - $(date +%s) + started)); }

# step NAME SECONDS COMMAND..: once, at most so long, its output in RESULTS/NAME.log
step() {
    local name=$1 most=$2 now
    shift 2
    if [ -e "$results/$name.done" ]; then
        echo "$name: done before"
        return
    fi
    now=$(left)
    if [ "$now" -lt 10 ]; then
        echo "$name: no time left"
        return
    fi
    [ "$most" -lt "$now" ] || most=$now
    local began=$SECONDS
    if timeout --signal=INT --kill-after=10 "$most" "$@" >"$results/$name.log" 2>&1; then
        touch "$results/$name.done"
        echo "$name: $((SECONDS - began)) s"
    else
        echo "$name: ended with $? after $((SECONDS - began)) s; see $name.log"
    fi
}

otfuse=${OTFUSE:-target/release/otfuse}
runtime=${RUNTIME:-target/release/examples/runtime}
if [ -z "${OTFUSE:-}" ]; then
    step build-command 3000 cargo build --release -p otfuse-cli "${features[@]}"
fi
if [ -z "${RUNTIME:-}" ]; then
    step build-runtime 3000 cargo build --release -p otfuse-runtime --example runtime "${features[@]}"
fi

if [ -n "${TESTS:-}" ]; then
    step device-tests 180 "$TESTS"
elif [ "$device" != cpu ]; then
    step device-tests 600 cargo test --release -p otfuse-runtime --test device "${features[@]}"
fi

if "$python" -c 'import torch' 2>/dev/null; then
    step times 120 "$python" benches/runtime.py --rounds 3 --threads "$(nproc)" --device "$device" --program "$runtime"
else
    echo "times: $python has no torch, nothing is timed beside it"
fi

data=()
if [ -d "$cifar" ]; then
    data=(--set "data=cifar10:$cifar")
    if [ -e "$vgg/vgg11_seed0.pt" ]; then
        pair=("$vgg/vgg11_seed0.pt" "$vgg/vgg11_seed1.pt" --arch vgg --device "$device" --json)
        step fuse 60 "$otfuse" fuse "${pair[@]}" --data "cifar10:$cifar" -o "$results/fused.pt"
        step thorough 180 "$otfuse" fuse "${pair[@]}" --data "cifar10:$cifar" --effort thorough -o "$results/thorough.pt"
        step pairs "$(($(left) / 2))" "$otfuse" experiment experiments/cifar10-vgg11.yml "${variant[@]}" "${data[@]}" \
            --set "models=$vgg" --device "$device" -o "$results/pairs" --report "$results/pairs.html"
    else
        echo "fuse, thorough, pairs: no trained pair in $vgg; VGG names its folder"
    fi
    step many "$(left)" "$otfuse" experiment experiments/cifar10-vgg11-many.yml "${variant[@]}" "${data[@]}" \
        --device "$device" -o "$results/many" --report "$results/many.html"
else
    echo "pairs, many: no CIFAR-10 in $cifar; CIFAR names its folder"
fi
echo "$(left) s left"
