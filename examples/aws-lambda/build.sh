#!/usr/bin/env bash
# Make function.zip: the handler, a model, potstill-runtime, numpy and onnxruntime for Lambda's Linux.
#     examples/aws-lambda/build.sh MODEL [OUTPUT.zip] [x86_64|aarch64]
# MODEL is a folder written by `potstill export`. PYTHON (default: python3) is a Python with pip, of the version that the
# function runs on: the code is compiled for it, since Lambda's folders are read-only and importing source takes longer.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
model="$(cd "${1:?MODEL, a folder written by potstill export}" && pwd)"
output="$(realpath "${2:-function.zip}")"
machine="${3:-x86_64}"
python="${PYTHON:-python3}"
version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

"$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder" "$here/../../packages/potstill-runtime"
"$python" -m pip install --quiet --no-compile --target "$folder/function" --only-binary :all: --python-version "$version" \
  --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" --platform "manylinux2014_$machine" \
  "$folder"/potstill_runtime-*.whl
# tests, headers and tools that no forecast imports
find "$folder/function" -type d \( -name tests -o -name include -o -name f2py -o -name __pycache__ \) -prune -exec rm -rf {} +
rm -rf "$folder"/function/onnxruntime/{quantization,tools,transformers,datasets,backend} "$folder/function/bin"
cp "$here/handler.py" "$folder/function/"
"$python" -m compileall -q --invalidation-mode unchecked-hash "$folder/function"
cp -r "$model" "$folder/function/model"
(cd "$folder/function" && rm -f "$output" && "$python" -m zipfile -c "$output" *)
echo "$output: $(du -m "$output" | cut -f1) MB, unpacked $(du -sm "$folder/function" | cut -f1) MB (limit: 250 MB)"
