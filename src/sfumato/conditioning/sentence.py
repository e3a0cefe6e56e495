"""Sentence encoders such as all-MiniLM-L6-v2, frozen: token states and the pooled sentence.

"red heart" and "blue heart" are nearly the same sentence; their token states are what tells a
network the colour.
"""

from __future__ import annotations

import json

from torch import Tensor, nn

from sfumato.conditioning.huggingface import Pretrained
from sfumato.conditioning.locate import Located
from sfumato.errors import SfumatoError

POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class Sentence(Pretrained):
    """A sentence-transformers model (Reimers & Gurevych 2019, 1908.10084).

    The pooled state is the mean of the token states, or the first of them where the model's
    folder says so, scaled to length 1.  Layers behind the pooling are left out: a projection is
    learned in any case.

    Raises:
        SfumatoError: for another kind of pooling.
    """

    kind = "sentence"
    classes: dict[str, str] = {}

    def __init__(self, located: Located) -> None:
        super().__init__(located)
        self.pooling = self._stated()

    def _class_for(self, model_type: str) -> str:
        return "AutoModel"

    def _stated(self) -> str:
        path = self.folder / "1_Pooling" / "config.json"
        if not path.is_file():
            return "mean"
        try:
            said = json.loads(path.read_bytes())
            modes = [name for name, on in said.items() if on is True and "pooling_mode" in name]
            if isinstance(said.get("pooling_mode"), str):  # as newer versions write it
                modes = [f"pooling_mode_{said['pooling_mode']}"]
        except (ValueError, AttributeError) as error:
            raise SfumatoError(f"{path} is damaged. Copy the text encoder again.") from error
        known = {**POOLINGS, "pooling_mode_mean": "mean", "pooling_mode_cls": "cls"}
        if len(modes) != 1 or modes[0] not in known:
            raise SfumatoError(
                f"{self.folder} pools its tokens in a way that is not known here "
                f"({', '.join(modes) or 'none'}). Take a model that takes their mean."
            )
        return known[modes[0]]

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        pooled = states[:, 0] if self.pooling == "cls" else super().pooled(states, mask)
        return nn.functional.normalize(pooled, dim=-1)

    def depends_on(self) -> dict[str, str]:
        return {**super().depends_on(), "pooling": self.pooling}
