#!/usr/bin/env bash
# Makes the pictures of the README: the first ones of fixed prompts at seed 0, whatever they are.
# The gallery has the prompts of `sfumato.evaluation.plan`; the failures are the samples that the
# judge of a report recognises least.
#
#     docs/pictures.sh [RUN_OF_THE_EMBEDDED_MODEL] [REPORT_ON_IT] [RUN_ON_FASHION_MNIST]
#
# Without run and report, the pictures that need them stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
out=docs/images
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"

python - "$out/gallery.png" <<'GALLERY'
import sys

import sfumato
from sfumato.evaluation.plan import FIXED
from sfumato.pictures.sheet import sheet

model = sfumato.load()
drawn = [model.generate([prompt], seed=0)[0] for prompt in FIXED]
sheet(drawn, FIXED, 6).save(sys.argv[1])
GALLERY
python - "$out/steps.png" <<'STEPS'
import sys

import sfumato
from sfumato.evaluation.plan import FIXED
from sfumato.pictures.sheet import sheet

prompts = FIXED[:5]
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
    python - "$2/report.json" "$scratch" "$out/worst.png" <<'WORST'
import json
import sys
from pathlib import Path

import sfumato
from sfumato.evaluation.plan import Wanted
from sfumato.evaluation.samples import Studio, straight
from sfumato.pictures.sheet import sheet

report = json.loads(Path(sys.argv[1]).read_text("utf-8"))
wanted = [Wanted(**one) for one in report["parts"]["agreement"]["worst"]]
studio = Studio(sfumato.load(), "", Path(sys.argv[2]), report["settings"]["seed"])
drawn = [straight(image) for image in studio.draw(wanted)]
sheet(drawn, [wish.prompt for wish in wanted], 6).save(sys.argv[3])
WORST
fi
if [ $# -ge 3 ]; then
    sfumato generate --no-watch --seed 0 --count 8 --model "$3" -o "$scratch" \
        --sheet "$out/fashion-mnist.png" \
        "T-shirt/top" "Trouser" "Pullover" "Dress" "Coat" \
        "Sandal" "Shirt" "Sneaker" "Bag" "Ankle boot"
fi
