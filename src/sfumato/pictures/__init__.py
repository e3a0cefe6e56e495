"""Everything that turns numbers into something to look at: pictures, sheets, curves, previews.

One file an idea: `tensors` (tensor <-> picture), `files` and `metadata` (saving, with the
settings inside), `sheet` and `strip` (many pictures in one), `terminal` (a preview in the
terminal), `curves` (the training curves).  Only `tensors` needs torch.
"""
