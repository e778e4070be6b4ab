"""Every network builds, has the right shape, and starts as it says."""

import pytest
import torch
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.networks.cascade import MaskRegressor
from cellularity_core.networks.encoders import (
    PACKAGED,
    create_classifier,
    create_encoder,
    score_places,
)
from cellularity_core.networks.segmentation import FPNDecoder

SEGMENTATION = {"kind": "segmentation", "encoder": "tf_efficientnet_lite0"}


@pytest.mark.parametrize("decoder", ["unet", "fpn", "fpn-light"])
@pytest.mark.parametrize("encoder", ["tf_efficientnet_lite0", "resnet18", "resnet34-elu"])
def test_segmentation_gives_four_logits_a_pixel(decoder, encoder):
    network = create({**SEGMENTATION, "encoder": encoder, "decoder": decoder}).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 4, 64, 96)


def test_the_papers_pyramid_joins_four_levels_at_stride_two():
    decoder = FPNDecoder([16, 24, 40, 112, 320])
    seen = {}
    decoder.dropout.register_forward_hook(lambda m, i, o: seen.update(merged=i[0].shape))
    pyramid = [
        torch.zeros(1, c, s, s)
        for c, s in zip([16, 24, 40, 112, 320], [32, 16, 8, 4, 2], strict=False)
    ]
    assert decoder.eval()(pyramid).shape == (1, 16, 64, 64)
    assert seen["merged"] == (1, 256, 32, 32)
    assert isinstance(decoder.dropout, nn.Dropout2d) and decoder.dropout.p == 0.5
    assert [lateral.kernel_size for lateral in decoder.laterals] == [(3, 3)] * 4


def test_elu_variant_puts_the_activation_before_the_norm():
    plain = create_encoder("resnet34")
    swapped = create_encoder("resnet34-elu")
    assert any(isinstance(m, nn.ReLU) for m in plain.modules())
    assert not any(isinstance(m, nn.ReLU) for m in swapped.modules())
    first = swapped.layer1[0].bn1
    assert isinstance(first[0], nn.ELU) and isinstance(first[1], nn.BatchNorm2d)
    x = torch.randn(2, 3, 64, 64)
    assert [f.shape for f in swapped(x)] == [f.shape for f in plain(x)]


@pytest.mark.parametrize("encoder", PACKAGED)
def test_imagenet_start_of_a_packaged_encoder(encoder):
    random, trained = (
        create_classifier(encoder, outputs=1, init=i) for i in ("random", "imagenet")
    )
    # He-initialised stems have zero-mean filters of one size; trained ones do not.
    assert not torch.allclose(random.conv_stem.weight, trained.conv_stem.weight)
    again = create_encoder(encoder, init="imagenet")
    torch.testing.assert_close(again.conv_stem.weight, trained.conv_stem.weight)
    assert (trained.bn1.running_var != 1).all()
    torch.testing.assert_close(again.bn1.running_mean, trained.bn1.running_mean)


def test_four_channel_start_keeps_the_mean_response():
    three = create_classifier("tf_efficientnet_lite0", outputs=1, init="imagenet").conv_stem
    four = create_classifier(
        "tf_efficientnet_lite0", outputs=1, init="imagenet", in_channels=4
    ).conv_stem
    grey = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(
        four(grey.repeat(1, 4, 1, 1)), three(grey.repeat(1, 3, 1, 1)), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("description", "match"),
    [
        ({"kind": "unknown"}, "choose one of segmentation, cascade, direct"),
        ({**SEGMENTATION, "decoder": "none"}, "choose one of unet, fpn"),
        ({**SEGMENTATION, "encoder": "resnet34x"}, "timm has no network"),
        ({**SEGMENTATION, "depth": 3}, "cannot be built from"),
        ({"kind": "direct", "encoder": "resnet18", "head": "x"}, "choose one of regression"),
    ],
)
def test_bad_descriptions_say_what_to_choose(description, match):
    with pytest.raises(ModelError, match=match):
        create(description)


def test_direct_heads():
    x = torch.randn(2, 3, 64, 64)
    for head in ("regression", "classification"):
        network = create({"kind": "direct", "encoder": "resnet18", "head": head}).eval()
        score = network(x)
        assert score.shape == (2,) and (score >= 0).all() and (score <= 1).all()
    logits = torch.full((1, 101), -50.0)
    logits[0, 37] = 50
    torch.testing.assert_close(network.score(logits), torch.tensor([0.37]))


def test_frozen_encoder_trains_the_head_only():
    network = create({"kind": "direct", "encoder": "resnet18", "frozen": True})
    names = {n for n, p in network.named_parameters() if p.requires_grad}
    assert names == {"network.fc.weight", "network.fc.bias"}


def test_cascade_scores_its_own_maps():
    part = {"encoder": "tf_efficientnet_lite0", "decoder": "fpn-light"}
    network = create(
        {
            "kind": "cascade",
            "segmentation": part,
            "regressor": {"encoder": "resnet18", "channels": 3},
            "pool": 2,
        }
    ).eval()
    x = torch.randn(1, 3, 64, 64)
    score, logits = network(x)
    assert score.shape == (1,) and logits.shape == (1, 4, 64, 64)
    maps = torch.nn.functional.avg_pool2d(network.segmentation(x).sigmoid(), 2)
    torch.testing.assert_close(score, network.regressor(maps))
    score.backward()
    assert network.segmentation.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("head", ["regression", "classification"])
def test_scores_of_places_average_to_that_of_the_image(head):
    torch.manual_seed(0)
    network = create(
        {"kind": "direct", "encoder": "resnet18", "head": head, "average": "scores"}
    ).eval()
    x = torch.rand(1, 3, 64, 128) * 2 - 1
    with torch.no_grad():
        logits = network.logits(x)
        places = [network.score(logits[..., i, j]) for i in range(2) for j in range(4)]
        score = network(x)
    assert logits.shape[2:] == (2, 4)
    torch.testing.assert_close(score, torch.stack(places).mean(dim=0))


def test_what_is_averaged_is_one_of_two():
    with pytest.raises(ModelError, match=r"'places' cannot be averaged.*features or scores"):
        create({"kind": "direct", "encoder": "resnet18", "head": "regression", "average": "places"})


def test_a_regressor_of_maps_can_score_every_place():
    torch.manual_seed(0)
    one = MaskRegressor("resnet18", channels=3, average="scores").eval()
    maps = torch.rand(2, 4, 64, 64)
    with torch.no_grad():
        places = score_places(one.network, maps[:, :3] * 2 - 1).sigmoid()
        torch.testing.assert_close(one(maps), places.mean(dim=(1, 2, 3)))
    assert places.shape == (2, 1, 2, 2)
