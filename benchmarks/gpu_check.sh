#!/usr/bin/env bash
# Prove and time the GPU paths on a CUDA machine with torch, numba-cuda, hypothesis, pytest,
# pytest-benchmark, scipy and jaxtyping; no network, no install, no git checkout.
# Usage: benchmarks/gpu_check.sh DIR [PART]
#   PART, each under 9 minutes: kernels rows network loss train efficiency ablation sanitize.
#   Without one: all of them, one after the other.
# Each part writes records and logs to DIR as it goes; at its time limit, GPU_CHECK_SECONDS or 480 s,
# it gets SIGINT, and keeps what it has. A copied folder says its commit in the file .commit (git rev-parse HEAD >.commit).
# Exit status: 0 all passed; 1 something failed or ran out of time; 2 usage; 3 no CUDA device;
# 4 no GPU kernel; 5 compute-sanitizer is not installed (part sanitize alone).
set -uo pipefail
parts="kernels rows network loss train efficiency ablation sanitize"
usage() {
    echo "usage: benchmarks/gpu_check.sh DIR [PART]    PART: $parts" >&2
    exit "$1"
}
[ "${1:-}" = --help ] && usage 0
[ $# -eq 1 ] || [ $# -eq 2 ] || usage 2
if [ $# -eq 2 ]; then
    case " $parts " in *" $2 "*) parts=$2 ;; *) usage 2 ;; esac
fi
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
limit=${GPU_CHECK_SECONDS:-480}

# numba-cuda takes the compiler of the CUDA installation where no wheel brings one.
if [ -z "${CUDA_HOME:-}" ] && [ -d /usr/local/cuda ]; then export CUDA_HOME=/usr/local/cuda; fi
if [ -n "${CUDA_HOME:-}" ]; then
    export LD_LIBRARY_PATH="$CUDA_HOME/lib64:$CUDA_HOME/nvvm/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
# A kernel's cache knows its own file alone, not the functions of other files that it inlines.
NUMBA_CACHE_DIR=$(mktemp -d) || exit 2
export NUMBA_CACHE_DIR PYTHONUNBUFFERED=1
trap 'rm -rf "$NUMBA_CACHE_DIR"' EXIT

"$python" - <<'PYTHON' || exit $?
import sys
import torch
import fast

if not torch.cuda.is_available():
    print("gpu_check: torch sees no CUDA device; nothing was run", file=sys.stderr)
    sys.exit(3)
print("gpu_check:", torch.cuda.get_device_name(), "torch", torch.__version__)
try:
    fast.rips_persistence(torch.zeros(2, 2, device="cuda"))
except RuntimeError as error:
    print(f"gpu_check: there are no GPU kernels to run: {error}", file=sys.stderr)
    sys.exit(4)
PYTHON

limited() { # LOG COMMAND...: SIGINT at the limit, and the output to a log as well
    local log=$1
    shift
    timeout --signal=INT --kill-after=20 "$limit" "$@" 2>&1 | tee "$out/$log"
    return "${PIPESTATUS[0]}"
}

# Other people's deprecations are no failure here; plugins of our settings may be missing.
tests() { # LOG ARGUMENTS...: pytest exits 5 when it finds nothing, a failure here
    local log=$1
    shift
    limited "$log" "$python" -m pytest -W default -o addopts="--import-mode=importlib -ra" \
        -p no:cacheprovider -m gpu "$@"
}

run_part() {
    case $1 in
    # Only the files with GPU tests: others need packages that a GPU machine need not have.
    kernels) tests gpu_tests.log tests/fast/test_rips_gpu.py tests/fast/test_loss_gpu.py ;;
    rows) tests gpu_rows.log benchmarks/test_gpu.py --benchmark --noisy --record-to "$out" ;;
    network | loss | train | ablation)
        limited "gpu_$1.log" "$python" -m "benchmarks.gpu_$1" --out "$out"
        ;;
    efficiency)
        limited gpu_efficiency.log "$python" -m train.efficiency --device cuda --output "$out"
        ;;
    sanitize)
        if ! command -v compute-sanitizer >/dev/null; then
            echo "gpu_check: compute-sanitizer is not installed; part sanitize was not run" >&2
            return 5
        fi
        local status=0
        limit=$((limit / 2))
        for tool in memcheck racecheck; do
            limited "gpu_$tool.log" compute-sanitizer --tool "$tool" --error-exitcode 9 \
                "$python" -m benchmarks.gpu_sanitize --out "$out" || status=1
        done
        return $status
        ;;
    esac
}

failed=0
for part in $parts; do
    begin=$SECONDS
    run_part "$part"
    status=$?
    echo "gpu_check: $part exit $status after $((SECONDS - begin)) s"
    if [ "$status" -eq 5 ] && [ "$part" = sanitize ]; then
        [ "$parts" = sanitize ] && exit 5
    elif [ "$status" -ne 0 ]; then
        failed=1
    fi
done
exit $failed
