"""Rollout and gradient times attention: against a transformer written out, and the same in three libraries."""

import pytest
import torch
from cases.vision_transformers import hugging_face_vit, three_with_the_same_weights, timm_vit, torchvision_vit
from torch import nn
from torch.nn.functional import interpolate

from captum_paramsal.comparison import preset
from captum_paramsal.errors import LayerError

METHODS = ("attention_rollout", "gradient_x_attention")
LABELS = torch.tensor([2, 0])


def images(size=(8, 12)):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Written(nn.Module):
    """Two layers of attention over patches of four pixels, which keeps its shares if it is asked to."""

    def __init__(self, *, class_token):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 6)) if class_token else None
        self.first, self.second = (nn.MultiheadAttention(6, 2, batch_first=True) for _ in range(2))
        self.norm, self.mlp, self.head = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x, keep=None):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        for attention in (self.first, self.second):
            if keep is None:
                mixed = attention(tokens, tokens, tokens, need_weights=False)[0]
            else:
                mixed = written_out(attention, tokens, keep)
            tokens = tokens + mixed
            tokens = tokens + self.mlp(self.norm(tokens)).relu()
        return self.head(tokens.mean(1) if self.token is None else tokens[:, 0])


def written_out(attention, tokens, keep):
    query, key, value = (tokens @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
    heads = []
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        shares = (query[..., part] @ key[..., part].transpose(1, 2) / 3**0.5).softmax(-1)
        keep.append(shares)
        heads.append(shares @ value[..., part])
    return torch.cat(heads, dim=-1) @ attention.out_proj.weight.T + attention.out_proj.bias


def written_map(model, image, label, method, *, class_token):
    """The map of one image before it is enlarged, by loops."""
    keep = []
    score = model(image[None], keep)[0, label]
    gradients = torch.autograd.grad(score, keep)
    tokens = keep[0].shape[-1]
    rolled = torch.eye(tokens, dtype=torch.float64)
    for layer in (0, 2):
        shares, slopes = (torch.stack([two[layer][0], two[layer + 1][0]]) for two in (keep, gradients))
        if method == "attention_rollout":
            rolled = (0.5 * shares.mean(0) + 0.5 * torch.eye(tokens)) @ rolled
        else:
            rolled = rolled + (shares * slopes).clamp(min=0).mean(0) @ rolled
    if method == "gradient_x_attention":
        rolled = rolled - torch.eye(tokens)
    row = rolled[0, 1:] if class_token else rolled.mean(0)
    return row.detach().reshape(1, image.shape[1] // 4, image.shape[2] // 4)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_transformer_that_is_written_out(method, class_token):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Written(class_token=class_token).double().eval()
    batch = images()
    expected = torch.stack(
        [
            written_map(model, image, label, method, class_token=class_token)
            for image, label in zip(batch, LABELS.tolist(), strict=True)
        ]
    )
    found = preset(method, model)(batch, target=LABELS)
    torch.testing.assert_close(found, interpolate(expected, (8, 12), mode="bilinear").expand_as(batch))


@pytest.mark.parametrize("method", METHODS)
def test_three_libraries_have_the_same_maps(method):
    models = three_with_the_same_weights(16, 4, 2, 2, 8, 16, 5)
    batch = images((16, 16))
    maps = {name: preset(method, model)(batch, target=LABELS) for name, model in models.items()}
    for other in maps.values():
        torch.testing.assert_close(other, maps["timm"], rtol=1e-6, atol=1e-9)
    assert maps["timm"].flatten(1).std(dim=1).min() > 0
    # A share of the rows, of which the class token has the rest.
    if method == "attention_rollout":
        torch.testing.assert_close(maps["timm"][0], preset(method, models["timm"])(batch, target=LABELS * 0 + 4)[0])
    else:
        assert not torch.allclose(maps["timm"][0], preset(method, models["timm"])(batch, target=LABELS * 0 + 4)[0])


@pytest.mark.parametrize("make", [torchvision_vit, timm_vit, hugging_face_vit])
def test_models_of_libraries_as_they_come(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make((16, 4, 2, 2, 8, 16, 5)).eval()
    maps = preset("gradient_x_attention", model)(images((16, 16)).float(), target=LABELS)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize("method", METHODS)
def test_windows_are_refused(method):
    models = pytest.importorskip("torchvision.models", exc_type=Exception)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = models.SwinTransformer([2, 2], 8, [1, 1], [2, 4], [4, 4], num_classes=4).eval()
    with pytest.raises(LayerError, match=f"the same tokens of places.* for '{method}', got shares"):
        preset(method, model)(images((32, 32)).float(), target=LABELS)
