"""The classic U-Net of this project in PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (32, 64, 128, 256, 512)
SIZE = (96, 128)
BATCH = 8


class Block(nn.Module):
    """Two 3x3 convolutions, each with group norm and ReLU; with a shortcut or not."""

    def __init__(self, inputs: int, outputs: int, residual: bool):
        super().__init__()

        def conv(channels, size):
            return nn.Conv2d(channels, outputs, size, padding=size // 2, bias=False)

        self.conv_a, self.conv_b = conv(inputs, 3), conv(outputs, 3)
        self.norm_a, self.norm_b = nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)
        self.residual = residual
        if residual and inputs != outputs:
            self.shortcut, self.norm_shortcut = (
                conv(inputs, 1),
                nn.GroupNorm(8, outputs),
            )

    def forward(self, x):
        y = F.relu(self.norm_a(self.conv_a(x)), inplace=True)
        y = self.norm_b(self.conv_b(y))
        if self.residual:
            same = x.shape == y.shape
            y = y + (x if same else self.norm_shortcut(self.shortcut(x)))
        return F.relu(y)


class UNet(nn.Module):
    """The U-Net of `nerve_jax.model.unet` with one block per level, without presence head."""

    def __init__(self, widths=WIDTHS, residual=False, stem_stride=1):
        super().__init__()
        inputs = (stem_stride**2, *widths[:-1])
        pairs = list(zip(inputs, widths, strict=True))
        self.encoder = nn.ModuleList(Block(a, b, residual) for a, b in pairs)
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2) for b, a in upwards
        )
        self.decoder = nn.ModuleList(Block(2 * a, a, residual) for _, a in upwards)
        self.head = nn.Conv2d(widths[0], stem_stride**2, 1)
        self.stem_stride = stem_stride

    def forward(self, images):
        mean = images.mean((1, 2, 3), keepdim=True)
        spread = images.std((1, 2, 3), keepdim=True, correction=0)
        x = F.pixel_unshuffle((images - mean) / (spread + 1e-3), self.stem_stride)
        skips = []
        for number, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if number else x)
            skips.append(x)
        for number, (upsample, block) in enumerate(
            zip(self.upsample, self.decoder, strict=True)
        ):
            x = block(torch.cat([upsample(x), skips[-2 - number]], 1))
        return F.pixel_shuffle(self.head(x), self.stem_stride)

    def load(self, params: dict) -> "UNet":
        """Take the weights of a `nerve_jax` model of the same shape."""
        state = {}
        for name, values in params.items():
            if name.startswith("presence"):
                continue
            parts = name.split("/")
            if parts[0] in ("encoder", "decoder"):
                del parts[2]  # the only block of its level
            kind = parts.pop()
            values = torch.from_numpy(np.array(values, np.float32))
            if kind == "kernel" and parts[0] == "upsample":
                values = values.permute(2, 3, 0, 1)
            elif kind == "kernel" and values.ndim == 2:
                values = values.T[..., None, None]
            elif kind == "kernel":
                values = values.permute(3, 2, 0, 1)
            state[".".join([*parts, "bias" if kind == "bias" else "weight"])] = values
        self.load_state_dict(state)
        return self


def make_step(
    model: UNet,
    images: np.ndarray,
    masks: np.ndarray,
    *,
    compiled: bool,
    last: bool,
    dtype: str,
    device: str = "cpu",
):
    """A call that takes one step of Adam on the same batch.

    Args:
      model: with random weights.
      images: uint8 [batch height width].
      masks: the same, 0 to 255.
      compiled: by torch.compile.
      last: whether arrays lie as channels_last.
      dtype: "float32" or "bfloat16" (autocast).
      device: "cpu" or "cuda", where a call may return before its step has ended.
    """
    form = torch.channels_last if last else torch.contiguous_format
    model = model.to(device, memory_format=form)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x, y = (
        torch.from_numpy(grey)[:, None].to(device, torch.float32).div(255)
        for grey in (images, masks)
    )
    x = x.to(memory_format=form)
    forward = torch.compile(model) if compiled else model

    def call():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = forward(x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), y)
        loss.backward()
        optimizer.step()

    return call
