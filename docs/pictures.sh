#!/usr/bin/env bash
# Makes the pictures of the README: the first ones of these prompts at seed 0, whatever they are.
#
#     docs/pictures.sh [RUN_OF_THE_EMBEDDED_MODEL] [RUN_ON_FASHION_MNIST]
#
# Without the runs, the pictures that need them stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
out=docs/images
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"

sfumato generate --no-watch --seed 0 -o "$scratch" --sheet "$out/gallery.png" \
    "red heart" "grinning face" "pizza, flat style" "sun, 3d style" \
    "tiger face" "rocket, flat style" "красное сердце" "солнце, плоский стиль" \
    "ракета, 3d стиль" "blue heart, flat style" "cat face" "purple heart" \
    "birthday cake" "clock, 3d style" "морда кота" \
    "sun" "banana" "yellow flower" "black cat" "orange fish" # failures
python - "$out/steps.png" <<'STEPS'
import sys

import sfumato
from sfumato.pictures.sheet import sheet

prompts = ("red heart", "pizza, flat style", "rocket, flat style", "cat face", "gift, 3d style")
model = sfumato.load()
asked = [(steps, prompt) for steps in (4, 8, 16) for prompt in prompts]
drawn = [model.generate([prompt], seed=0, steps=steps)[0] for steps, prompt in asked]
sheet(drawn, [f"{steps} steps: {prompt}" for steps, prompt in asked], len(prompts)).save(sys.argv[1])
STEPS
sfumato generate --no-watch --seed 0 -o "$scratch" --walk "$out/walk.png" "red heart"

if [ $# -ge 1 ]; then
    cp "$1/loss.png" "$out/loss.png"
fi
if [ $# -ge 2 ]; then
    sfumato generate --no-watch --seed 0 --count 8 --model "$2" -o "$scratch" \
        --sheet "$out/fashion-mnist.png" \
        "T-shirt/top" "Trouser" "Pullover" "Dress" "Coat" \
        "Sandal" "Shirt" "Sneaker" "Bag" "Ankle boot"
fi
