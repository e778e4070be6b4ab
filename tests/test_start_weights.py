"""What a network starts from: a user's file, timm's cache, or a clear refusal in time."""

import socket
import time

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.networks.encoders import check_init, create_classifier, create_encoder

FROZEN = {"kind": "direct", "encoder": "test_vit", "frozen": True}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def saved(path, name="test_vit", **arguments):
    """A randomly drawn network of timm in a file; the network."""
    torch.manual_seed(5)
    network = timm.create_model(name, **arguments)
    save_file(network.state_dict(), path)
    return network


@pytest.mark.parametrize("classes", [0, 7])
def test_a_file_fills_all_but_the_head(tmp_path, classes):
    path = tmp_path / "w.safetensors"
    source = saved(path, num_classes=classes).state_dict()
    check_init("test_vit", str(path))
    found = create_classifier("test_vit", outputs=1, init=str(path)).state_dict()
    for key, value in found.items():
        if not key.startswith("head."):
            torch.testing.assert_close(value, source[key], rtol=0, atol=0)
    assert found["head.weight"].shape[0] == 1


def test_a_file_starts_the_pyramid_of_a_segmentation(tmp_path):
    path = tmp_path / "w.safetensors"
    source = saved(path, "resnet18").state_dict()
    found = create_encoder("resnet18", init=str(path)).state_dict()
    torch.testing.assert_close(found["layer4.0.conv1.weight"], source["layer4.0.conv1.weight"])


def test_weights_of_another_size_of_grid_are_interpolated(tmp_path):
    path = tmp_path / "w.safetensors"
    saved(path, num_classes=0, img_size=224)
    check_init("test_vit", str(path))
    assert create_classifier("test_vit", outputs=1, init=str(path)).pos_embed.shape[1] == 101


@pytest.mark.parametrize(
    ("encoder", "arguments", "said"),
    [
        ("resnet18", {}, r"does not fit 'resnet18': of \d+ tensors \d+ missing \('"),
        ("vit_tiny_patch16_224", {}, r"of another shape \('cls_token'\)"),
        ("test_vit", {"init_values": 1e-5}, r"missing \('blocks\.0\.ls1\.gamma'\)"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, encoder, arguments, said):
    path = tmp_path / "w.safetensors"
    saved(path, num_classes=0)
    with pytest.raises(ModelError, match=said):
        check_init(encoder, str(path), arguments=arguments)
    with pytest.raises(ModelError, match="does not fit"):
        create_classifier(encoder, outputs=1, init=str(path), arguments=arguments)


def test_weights_with_more_layers_than_the_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    saved(path, num_classes=0, init_values=1e-5)
    with pytest.raises(ModelError, match=r"not expected \('blocks\.0\.ls1\.gamma'\)"):
        check_init("test_vit", str(path))
    check_init("test_vit", str(path), arguments={"init_values": 1e-5})


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match="holds no weights that can be read"):
        check_init("test_vit", str(path))


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    torch.save(Trap(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds no weights that can be read"):
        check_init("test_vit", str(tmp_path / "w.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("size", [(160, 160), (224, 224), (251, 243), (40, 90)])
def test_a_transformer_takes_patches_of_any_size(size):
    network = create({"kind": "direct", "encoder": "test_vit"}).eval()
    assert network(torch.zeros(2, 3, *size)).shape == (2,)


def test_a_network_of_one_size_is_refused_by_name():
    with pytest.raises(ModelError, match=r"'beit_base.*any size.*convolutional"):
        create({"kind": "direct", "encoder": "beit_base_patch16_224"})


@pytest.mark.parametrize("encoder", ["resnet18", "test_vit"])
def test_arguments_that_the_network_does_not_know_are_refused(encoder):
    with pytest.raises(ModelError, match=rf"'{encoder}' with {{'depht': 3}}.*'depht'"):
        check_init(encoder, "random", arguments={"depht": 3})


def test_a_frozen_encoder_sees_its_own_normalisation_and_never_changes(tmp_path):
    path = tmp_path / "w.safetensors"
    source = saved(path, "test_vit", num_classes=0)
    network = create({**FROZEN, **IMAGENET}, str(path))
    pixels = torch.rand(2, 3, 160, 160)
    mean, std = (torch.tensor(IMAGENET[k]).view(3, 1, 1) for k in ("mean", "std"))
    expected = source.eval()((pixels - mean) / std)
    network.train()
    found = network.network.forward_head(
        network.network.forward_features(network.rescale(pixels * 2 - 1)), pre_logits=True
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    network(pixels * 2 - 1).sum().backward()
    optimiser.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"network.head.weight", "network.head.bias"}


def test_a_frozen_convolutional_encoder_keeps_its_statistics(tmp_path):
    path = tmp_path / "w.safetensors"
    saved(path, "resnet18")
    network = create({**FROZEN, "encoder": "resnet18"}, str(path)).train()
    before = network.network.bn1.running_mean.clone()
    network(torch.randn(4, 3, 64, 64))
    torch.testing.assert_close(network.network.bn1.running_mean, before, rtol=0, atol=0)
    assert isinstance(network.network.bn1, nn.BatchNorm2d)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **named):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "hub"


@pytest.mark.parametrize("encoder", ["resnet34", "legacy_xception"])
@pytest.mark.usefixtures("offline", "no_cache")
def test_without_a_network_imagenet_is_refused_at_once(encoder):
    began = time.monotonic()
    with pytest.raises(ModelError, match=rf"'{encoder}' cannot be fetched.*package: tf_eff.*lite0"):
        check_init(encoder, "imagenet")
    with pytest.raises(ModelError, match="cannot be fetched"):
        create_classifier(encoder, outputs=1, init="imagenet")
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("no_cache")
def test_a_server_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: time.sleep(30))
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"no answer within 1 s"):
        check_init("resnet34", "imagenet", wait=1)
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("offline")
def test_weights_in_the_cache_need_no_network(no_cache):
    repository = timm.get_pretrained_cfg("test_resnet").hf_hub_id
    snapshot = no_cache / f"models--{repository.replace('/', '--')}" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    source = saved(snapshot / "model.safetensors", "test_resnet").state_dict()
    check_init("test_resnet", "imagenet")
    found = create_classifier("test_resnet", outputs=1, init="imagenet").state_dict()
    torch.testing.assert_close(found["conv1.0.weight"], source["conv1.0.weight"])


def test_starts_that_need_no_network():
    check_init("resnet34-elu", "random")
    check_init("tf_efficientnet_lite0", "imagenet")


@pytest.mark.parametrize(
    ("encoder", "init", "said"),
    [
        ("resnet34-elu", "imagenet", "use 'resnet34', or init"),
        ("resnet34", "absent.safetensors", "'absent.safetensors' is no start"),
        ("resnet43", "imagenet", "timm has no network 'resnet43'; did you mean resnet"),
        ("vgg11-elu", "random", "only a ResNet"),
    ],
)
def test_starts_that_cannot_be(encoder, init, said):
    with pytest.raises(ModelError, match=said):
        check_init(encoder, init)
