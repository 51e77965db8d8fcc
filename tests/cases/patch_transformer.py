"""A transformer over patches of four pixels, whose last feature maps are its tokens."""

import torch
from torch import nn


class PatchTransformer(nn.Module):
    """Two blocks, and the mean over all places."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def tokens(self, x):
        return self.blocks(self.patches(x).flatten(2).transpose(1, 2))

    def forward(self, x):
        return self.head(self.tokens(x).mean(1))


def patch_transformer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PatchTransformer().double().eval()
