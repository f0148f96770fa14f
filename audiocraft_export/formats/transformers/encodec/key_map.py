"""Map the tensor names of a compression model between AudioCraft and transformers.

Both libraries number the layers of a SEANet. In AudioCraft, convolutions are nested one level deeper, transposed
convolutions have another name, and the two parts of weight_norm have their older names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..key_map import KeyMap

LEAVES = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1",
          "weight": "weight", "bias": "bias"}
CONVOLUTION = {"conv.conv": "conv", "conv.norm": "norm"}
UPSAMPLING = {"convtr.convtr": "conv", "convtr.norm": "norm"}
BLOCK = {f"{module}.{source}": f"{module}.{target}"
         for module in ("block.*", "shortcut") for source, target in CONVOLUTION.items()}
LSTM = {f"lstm.{name}_l*": f"lstm.{name}_l*" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
CODEBOOKS = {f"quantizer.vq.layers.*._codebook.{name}": f"quantizer.layers.*.codebook.{name}"
             for name in ("inited", "cluster_size", "embed", "embed_avg")}
Layer = Mapping[str, str]  # names in transformers by names in AudioCraft
ACTIVATION: Layer = {}


def _leaves(modules: Layer) -> Layer:
    """Return the names of the parameters of modules."""
    return {f"{source}.{leaf}": f"{target}.{LEAVES[leaf]}" for source, target in modules.items() for leaf in LEAVES}


def layers_by_side(config: Mapping[str, Any]) -> Mapping[str, Sequence[Layer]]:
    """Return the layers of encoder and decoder in the order of transformers, from the values of EncodecConfig."""
    convolution, upsampling, block = map(_leaves, (CONVOLUTION, UPSAMPLING, BLOCK))
    blocks, stages = [block] * config["num_residual_layers"], config["upsampling_ratios"]
    downsampling_stages = [layer for _ in stages for layer in (*blocks, ACTIVATION, convolution)]
    upsampling_stages = [layer for _ in stages for layer in (ACTIVATION, upsampling, *blocks)]
    return {"encoder": [convolution, *downsampling_stages, LSTM, ACTIVATION, convolution],
            "decoder": [convolution, LSTM, *upsampling_stages, ACTIVATION, convolution]}


def encodec_key_map(config: Mapping[str, Any]) -> KeyMap:
    """Return the map between the tensor names of a codec, from the values of EncodecConfig."""
    rules = dict(CODEBOOKS)
    for side, layers in layers_by_side(config).items():
        of_audiocraft = [(number, layer) for number, layer in enumerate(layers)
                         if layer is not LSTM or config["num_lstm_layers"]]  # AudioCraft does not number a missing LSTM
        for number, (target_number, layer) in enumerate(of_audiocraft):
            rules.update({f"{side}.model.{number}.{source}": f"{side}.layers.{target_number}.{target}"
                          for source, target in layer.items()})
    return KeyMap(rules)
