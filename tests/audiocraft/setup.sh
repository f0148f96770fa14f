#!/usr/bin/env bash
# setup.sh FOLDER PYTHON CONSTRAINTS: a virtual environment FOLDER/venv in which AudioCraft trains on a CPU, and
# FOLDER/audiocraft-1.3.0, its source distribution, which has the configuration and music that the wheel lacks.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
folder=$1 python=$2 constraints=$here/$3
pip="$folder/venv/bin/pip"

command -v ffmpeg >/dev/null || apt-get install --yes --no-install-recommends ffmpeg ||
    { echo "AudioCraft writes its samples with ffmpeg: install it." >&2; exit 1; }

mkdir -p "$folder"
[ -x "$pip" ] || "$python" -m venv "$folder/venv"
# Install torch first: a package that accepts any torch would install the newest one, with CUDA.
"$pip" install --quiet --constraint "$constraints" torch 'setuptools<81' wheel
"$pip" install --quiet --constraint "$constraints" --requirement "$here/requirements.txt"
# These require a torch with CUDA. torchaudio works without its compiled parts.
"$pip" install --quiet --no-deps --constraint "$constraints" torchaudio xformers $(grep -o '^torchcodec' "$constraints" || true)
"$folder/venv/bin/python" -c 'import torch; raise SystemExit(torch.version.cuda is not None)' &&
    rm -f "$folder"/venv/lib/python3*/site-packages/torchaudio/lib/*.so

if [ ! -d "$folder/audiocraft-1.3.0" ]; then
    "$pip" download --quiet --no-deps --no-build-isolation --no-binary :all: --dest "$folder" audiocraft==1.3.0
    tar --extract --gzip --file "$folder/audiocraft-1.3.0.tar.gz" --directory "$folder"
fi
