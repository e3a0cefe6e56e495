#!/usr/bin/env bash
# The embedded model: 64x64 stickers with transparent background, on an ordinary processor.
# Start it, stop it with Ctrl-C or a power cut, start it again: it goes on where it was.
# More arguments are handed on, for example: runs/laptop.sh --images 2000000
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -f runs/laptop/recipe.toml ]; then
    exec sfumato train -o runs/laptop --resume "$@"
fi
exec sfumato train emoji -o runs/laptop --recipe runs/laptop.toml "$@"
