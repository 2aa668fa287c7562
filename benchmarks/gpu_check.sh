#!/usr/bin/env bash
# Prove the GPU kernels on a CUDA machine with torch, numba-cuda and pytest; under 9 minutes.
# Usage: benchmarks/gpu_check.sh DIR    (records and logs go to DIR)
# Exit status: 0 all passed; 1 a test or a case failed; 2 usage; 3 no CUDA device; 4 no GPU kernel.
set -uo pipefail
if [ $# -ne 1 ]; then
    echo "usage: benchmarks/gpu_check.sh DIR" >&2
    exit 2
fi
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2

python3 - <<'PYTHON' || exit $?
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

# Only the files with GPU tests: others need packages that a GPU machine need not have.
# pytest exits 5 when it finds nothing to run: here that is a failure, not a pass.
PYTHONUNBUFFERED=1 timeout 240 python3 -m pytest tests/fast/*_gpu.py -m gpu 2>&1 | tee "$out/gpu_tests.log"
tests=${PIPESTATUS[0]}
PYTHONUNBUFFERED=1 timeout 260 python3 -m pytest benchmarks/test_gpu.py -m gpu --benchmark --noisy \
    --record-to "$out" 2>&1 | tee "$out/gpu_rows.log"
rows=${PIPESTATUS[0]}

echo "gpu_check: tests exit $tests: $(tail -n 1 "$out/gpu_tests.log")"
echo "gpu_check: rows exit $rows: $(tail -n 1 "$out/gpu_rows.log")"
[ "$tests" -eq 0 ] && [ "$rows" -eq 0 ]
