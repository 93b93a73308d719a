"""The net. `unet.create_model` takes the arguments of the configuration's section "model"
and gives two pure functions, `apply` and `init`, over a flat dictionary of parameters;
`layers` holds its parts, `ops` and `winograd` the same operations in forms that XLA runs
fast. Images come in, float32 [batch height width 1]; logits go out.
"""
