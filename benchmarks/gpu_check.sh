#!/usr/bin/env bash
# Prove and time the GPU paths on a CUDA machine with torch and numba-cuda; no network, no install, no git
# checkout. What else the parts need the doctor names if it is missing: bring it in a folder (pip install
# --no-deps --target FOLDER NAME...) and put that on PYTHONPATH.
# Usage: benchmarks/gpu_check.sh DIR [PART...]
#   doctor says in five lines what is here and what would be run, and runs nothing else.
#   PART: kernels rows loss network train sanitize efficiency ablation; without one, all in this order.
# DIR gets gpu_check.tar.gz, which has all records and logs and is made anew every few seconds, so that
# what was found is there whenever the machine goes; and gpu_check.log. Records go to DIR/parts, or to
# GPU_CHECK_WORK where only the archive is to lie in DIR.
# A part ends at its limit, GPU_CHECK_SECONDS (480), all of them at the budget, GPU_CHECK_BUDGET (1500):
# each gets SIGINT, keeps what it has, and what was not begun is named.
# GPU_CHECK_DRY=1 runs every part on the CPU at tiny sizes; tests that need a GPU are only collected.
# A copied folder says its commit in the file .commit (git rev-parse HEAD >.commit).
# Exit status: 0 all passed; 1 something failed or ran out of time; 2 usage; 3 no CUDA device;
# 4 no GPU kernel (parts that need none were run); 5 compute-sanitizer is not installed (part sanitize alone).
set -uo pipefail
known="kernels rows loss network train sanitize efficiency ablation"
usage() {
    echo "usage: benchmarks/gpu_check.sh DIR [PART...]    PART: doctor $known" >&2
    exit "$1"
}
[ "${1:-}" = --help ] && usage 0
[ "${1:-}" = doctor ] && [ $# -eq 1 ] && set -- "$(mktemp -d)" doctor
[ $# -ge 1 ] || usage 2
for part in "${@:2}"; do
    case " doctor $known " in *" $part "*) ;; *) usage 2 ;; esac
done
parts=${*:2}
parts=${parts:-$known}
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
limit=${GPU_CHECK_SECONDS:-480} budget=${GPU_CHECK_BUDGET:-1500} dry=${GPU_CHECK_DRY:-}

# numba-cuda takes the compiler of the CUDA installation where no wheel brings one; its other libraries
# stay out of the way of torch's own.
if [ -z "${CUDA_HOME:-}" ]; then
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    [ -d "${nvcc%/bin/nvcc}/nvvm" ] && export CUDA_HOME=${nvcc%/bin/nvcc}
fi
if [ -n "${CUDA_HOME:-}" ]; then
    export LD_LIBRARY_PATH="$CUDA_HOME/nvvm/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
# A kernel's cache knows its own file alone, not the functions of other files that it inlines: a folder
# for each state of the sources, which the next call finds again.
sources=$(find fast -name '*.py' -exec sha256sum {} + | sort | sha256sum | cut -c 1-12)
export NUMBA_CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/topodistill/gpu-check-$sources PYTHONUNBUFFERED=1
mkdir -p "$NUMBA_CACHE_DIR" || exit 2

planned=$parts
[ "$parts" = doctor ] && planned=$known
"$python" - "$planned" "$budget" "$out" <<'PYTHON'
import os, shutil, sys, traceback
from importlib.util import find_spec
from importlib.metadata import PackageNotFoundError, version

def installed(name):
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"

parts, budget, out = sys.argv[1:]
needed = {
    "hypothesis": "kernels", "jaxtyping": "all", "pytest": "kernels, rows", "pytest_benchmark": "rows",
    "safetensors": "ablation", "scipy": "rows, ablation", "tensorboard": "train, ablation", "tqdm": "all",
    "tyro": "train, efficiency, ablation", "docstring_parser": "as tyro", "typeguard": "as tyro",
}
missing = [f"{n} ({parts_of})" for n, parts_of in needed.items() if find_spec(n) is None]
print(f"gpu_check: Python {sys.version.split()[0]},", ", ".join(
    installed(n) for n in ("torch", "numba", "numba-cuda", "numpy")), "missing:", *missing or ["nothing"])
print("gpu_check: CUDA_HOME", os.environ.get("CUDA_HOME", "none"), *(
    f"{tool} {'found' if shutil.which(tool) else 'missing'}" for tool in ("nvcc", "compute-sanitizer")))
import torch
status = 0 if torch.cuda.is_available() else 3
if status:
    print("gpu_check: torch sees no CUDA device")
    print("gpu_check: kernels were not tried")
else:
    seen = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    print("gpu_check:", ", ".join(
        f"{d.name} ({d.major}.{d.minor}, {d.total_memory / 2**30:.0f} GiB)" for d in seen),
        "CUDA", torch.version.cuda)
    try:
        import fast
        fast.rips_persistence(torch.zeros(2, 2, device="cuda"))
        print("gpu_check: kernels work")
    except Exception as error:
        traceback.print_exc()
        print(f"gpu_check: there are no GPU kernels to run: {error}")
        status = 4
print(f"gpu_check: would run {parts} within {budget} s, and write {out}/gpu_check.tar.gz")
sys.exit(status)
PYTHON
found=$?
[ "$parts" = doctor ] && exit 0
case $found in
0 | 4) ;;
3) [ -n "$dry" ] || { echo "gpu_check: nothing was run" >&2 && exit 3; } ;;
*) exit "$found" ;;
esac

work=${GPU_CHECK_WORK:-$out/parts}
mkdir -p "$work" || exit 2
pack() { # what is there, in place of the archive before
    tar -czf "$out/.unfinished" -C "$work" . 2>/dev/null
    mv "$out/.unfinished" "$out/gpu_check.tar.gz"
}
while sleep "${GPU_CHECK_PACK_SECONDS:-5}"; do pack; done >/dev/null 2>&1 &
packing=$!
trap 'kill $packing 2>/dev/null; wait $packing 2>/dev/null; pack' EXIT
trap 'exit 1' INT TERM HUP

limited() { # LOG COMMAND...: SIGINT at the limit, and the output to the logs as well
    local log=$1 left=$((budget - SECONDS))
    shift
    [ $left -lt "$limit" ] && limit=$left
    timeout --signal=INT --kill-after=20 "$limit" "$@" 2>&1 | tee "$work/$log" | tee -a "$out/gpu_check.log"
    return "${PIPESTATUS[0]}"
}

# Other people's deprecations are no failure here; plugins of our settings may be missing.
tests() { # LOG ARGUMENTS...: pytest exits 5 when it finds nothing, a failure here
    local log=$1 each=()
    shift
    "$python" -c 'import pytest_timeout' 2>/dev/null && each=(--timeout 120)
    [ -n "$dry" ] && each+=(--collect-only -q)
    limited "$log" "$python" -m pytest -W default -o addopts="--import-mode=importlib -ra" \
        -p no:cacheprovider -m gpu "${each[@]}" "$@"
}

small=() costs=() device=cuda
if [ -n "$dry" ]; then
    small=(--device cpu --small) costs=(--models tiny-student --voxels 500 --repeats 1) device=cpu
fi

run_part() {
    case $1 in
    # Only the files with GPU tests: others need packages that a GPU machine need not have.
    kernels) tests gpu_tests.log tests/fast/test_rips_gpu.py tests/fast/test_loss_gpu.py ;;
    rows) tests gpu_rows.log benchmarks/test_gpu.py --benchmark --noisy --record-to "$work" ;;
    network | loss | train | ablation)
        limited "gpu_$1.log" "$python" -m "benchmarks.gpu_$1" --out "$work" "${small[@]}"
        ;;
    efficiency)
        limited gpu_efficiency.log "$python" -m train.efficiency --device "$device" --output "$work" \
            "${costs[@]}"
        ;;
    sanitize)
        local tool status=0 tools="memcheck racecheck"
        if [ -n "$dry" ]; then
            limited gpu_sanitize.log "$python" -m benchmarks.gpu_sanitize --out "$work" "${small[@]}"
            return
        fi
        if ! command -v compute-sanitizer >/dev/null; then
            echo "gpu_check: compute-sanitizer is not installed; part sanitize was not run" >&2
            return 5
        fi
        limit=$((limit / 2))
        for tool in $tools; do
            limited "gpu_$tool.log" compute-sanitizer --tool "$tool" --error-exitcode 9 \
                "$python" -m benchmarks.gpu_sanitize --out "$work" || status=1
        done
        return $status
        ;;
    esac
}

failed=0 whole=$limit
for part in $parts; do
    [ "$part" = doctor ] && continue
    if [ "$found" -eq 4 ] && case $part in network | efficiency) false ;; esac then
        echo "gpu_check: $part needs the kernels; not run"
        continue
    fi
    if [ $((budget - SECONDS)) -lt 5 ]; then
        echo "gpu_check: the budget of $budget s is used; $part was not run"
        failed=1
        continue
    fi
    begin=$SECONDS limit=$whole
    run_part "$part"
    status=$?
    pack
    echo "gpu_check: $part exit $status after $((SECONDS - begin)) s" | tee -a "$out/gpu_check.log"
    if [ "$status" -eq 5 ] && [ "$part" = sanitize ]; then
        [ "$parts" = sanitize ] && exit 5
    elif [ "$status" -ne 0 ]; then
        failed=1
    fi
done
[ "$found" -eq 4 ] && exit 4
exit $failed
