"""Recipes: what each trains, and what is said of a file that is wrong."""

import dataclasses
from pathlib import Path

import pytest
import timm

from cellularity_core.errors import ModelError
from cellularity_core.training.augmentation import StainJitter
from cellularity_core.training.loop import Schedule
from cellularity_core.training.recipes import (
    Boosting,
    Cascade,
    Direct,
    Recipe,
    Segmentation,
    names,
    recipe,
)

STRONG = StainJitter(amount=0.35, offset=0.06, hue=0.09, blur=0.4, noise=4.0)
MILD = StainJitter(amount=0.05, offset=0.02, hue=0.01, blur=0.0, noise=0.0)


def slow(epochs: int, rate: float = 1e-4, final_rate: float = 1e-5) -> Schedule:
    return Schedule(
        epochs=epochs,
        rate=rate,
        final_rate=final_rate,
        warmup=0.0,
        optimiser="adam",
        decay=1e-2,
        keep_best=True,
    )


def quick(epochs: int) -> Schedule:
    return Schedule(
        epochs=epochs,
        rate=1e-3,
        final_rate=1e-6,
        warmup=0.2,
        optimiser="adamw",
        decay=1e-2,
        keep_best=False,
    )


def test_starter_field_by_field():
    direct = {
        "encoder": "tf_efficientnet_lite0",
        "init": "imagenet",
        "schedule": quick(16),
        "side": 224,
        "view_mpp": 1.0,
        "batch": 16,
        "views": 4,
        "zoom": 0.15,
        "jitter": STRONG,
        "frozen": False,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "arguments": {},
    }
    found = recipe("starter")
    assert found.segmentation == Segmentation(
        encoder="tf_efficientnet_lite0",
        decoder="fpn-light",
        init="imagenet",
        schedule=quick(90),
        side=256,
        view_mpp=0.5,
        disc_um=6.5,
        class_weights=(2.0, 2.0, 2.0, 1.0),
        batch=8,
        zoom=0.15,
        jitter=STRONG,
        fields_from=0.4,
    )
    assert found.cascade == Cascade(
        regressor="tf_efficientnet_lite0",
        init="imagenet",
        channels=3,
        frozen=quick(10),
        joint=None,
        side=224,
        joint_side=448,
        pool=2,
        views=6,
        batch=8,
    )
    assert found.boosting == Boosting(views=6, crops=4, rounds=600, rate=0.01)
    assert found.direct == Direct(head="regression", spread=0.0, **direct)
    assert found.direct_classes == Direct(head="classification", spread=0.04, **direct)
    assert "tissue source site A8" in found.chosen


PAPER_SEGMENTATION = Segmentation(
    encoder="resnet34-elu",
    decoder="fpn",
    init="random",
    schedule=slow(150),
    side=256,
    view_mpp=1.0,
    disc_um=7.5,
    class_weights=(1.0, 1.0, 4.0, 1.0),
    batch=8,
    zoom=0.0,
    jitter=MILD,
    fields_from=0.4,
)
PAPER_DIRECT = {
    "schedule": slow(100),
    "side": 224,
    "view_mpp": 1.0,
    "batch": 16,
    "views": 4,
    "spread": 0.0,
    "zoom": 0.15,
    "jitter": MILD,
    "frozen": False,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "arguments": {},
}


def paper_cascade(init: str, channels: int) -> Cascade:
    return Cascade(
        regressor="resnet34",
        init=init,
        channels=channels,
        frozen=slow(60),
        joint=slow(30, 1e-5, 1e-6),
        side=224,
        joint_side=256,
        pool=1,
        views=6,
        batch=8,
    )


def test_paper_field_by_field():
    found = recipe("paper")
    assert found.segmentation == PAPER_SEGMENTATION
    assert found.cascade == paper_cascade("random", 4)
    assert found.boosting == Boosting(views=6, crops=0, rounds=600, rate=0.01)
    xception = {"encoder": "legacy_xception", "init": "random", **PAPER_DIRECT}
    assert found.direct == Direct(head="regression", **xception)
    assert found.direct_classes == Direct(head="classification", **xception)


@pytest.mark.parametrize("decoder", ["unet", "fpn"])
@pytest.mark.parametrize(
    ("init", "encoder"), [("random", "resnet34-elu"), ("imagenet", "resnet34")]
)
def test_rows_of_table_1_differ_in_decoder_and_start(decoder, init, encoder):
    found = recipe(f"{decoder}-{init}")
    assert found.parts() == ("segmentation",)
    assert found.segmentation == dataclasses.replace(
        PAPER_SEGMENTATION, decoder=decoder, init=init, encoder=encoder
    )


@pytest.mark.parametrize("init", ["random", "imagenet"])
def test_rows_built_on_the_segmentation(init):
    trees, cascade = recipe(f"gbt-{init}"), recipe(f"sr-{init}")
    assert trees.parts() == ("segmentation", "boosting")
    assert trees.boosting == Boosting(views=6, crops=0, rounds=600, rate=0.01)
    assert cascade.parts() == ("segmentation", "cascade")
    assert cascade.cascade == paper_cascade(init, 4 if init == "random" else 3)
    for found in (trees, cascade):
        assert found.segmentation == recipe(f"fpn-{init}").segmentation


@pytest.mark.parametrize(
    ("name", "part", "encoder", "init"),
    [
        ("resnet34-r-random", "direct", "resnet34", "random"),
        ("resnet34-r-imagenet", "direct", "resnet34", "imagenet"),
        ("resnet50-r-random", "direct", "resnet50", "random"),
        ("resnet50-r-imagenet", "direct", "resnet50", "imagenet"),
        ("xception-r-random", "direct", "legacy_xception", "random"),
        ("xception-r-imagenet", "direct", "legacy_xception", "imagenet"),
        ("xception-c-random", "direct_classes", "legacy_xception", "random"),
        ("xception-c-imagenet", "direct_classes", "legacy_xception", "imagenet"),
        ("akbar-inception-random", "direct", "inception_v3", "random"),
        ("akbar-inception", "direct", "inception_v3", "imagenet"),
    ],
)
def test_direct_rows(name, part, encoder, init):
    found = recipe(name)
    head = "regression" if part == "direct" else "classification"
    assert found.parts() == (part,)
    assert getattr(found, part) == Direct(encoder=encoder, init=init, head=head, **PAPER_DIRECT)


def test_the_foundation_encoder_is_frozen_and_sees_what_it_learnt_from():
    found = recipe("foundation-frozen").direct
    published = timm.get_pretrained_cfg(found.encoder)
    assert found.frozen
    assert (found.mean, found.std) == (published.mean, published.std)


def test_every_recipe_that_comes_along_is_sound_and_named():
    assert len(names()) >= 21
    for name in names():
        assert recipe(name).name == name


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


DIRECT = '[direct]\nencoder = "resnet18"\ninit = "random"\nhead = "regression"\n'
DIRECT += "schedule = { epochs = 3 }\n"


def test_a_users_own_file(tmp_path):
    path = written(tmp_path, DIRECT)
    assert recipe(path) == Recipe(
        name=str(path),
        direct=Direct("resnet18", "random", "regression", Schedule(epochs=3)),
    )


def test_a_base_is_a_name_or_a_file_beside_and_what_the_file_says_goes_over_it(tmp_path):
    (tmp_path / "first.toml").write_text('base = "paper"\n[direct.schedule]\nepochs = 7\n')
    found = recipe(written(tmp_path, 'base = "first.toml"\n[direct]\nbatch = 4\n'))
    assert found.direct.schedule == slow(7)
    assert found.direct.batch == 4
    assert found.segmentation == recipe("paper").segmentation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DIRECT.replace("init", "innit"), r"mine\.toml \[direct\].*'innit'.*did you mean init"),
        (DIRECT.replace("epochs = 3", "epoch = 3"), r"\[direct\.schedule\].*'epoch'.*epochs"),
        (DIRECT.replace("epochs = 3", 'epochs = "3"'), "epochs must be a whole number, not '3'"),
        (DIRECT.replace("epochs = 3", "epochs = true"), "epochs must be a whole number"),
        (DIRECT.replace("epochs = 3", "epochs = 0"), "epochs must be at least 1"),
        (DIRECT.replace("epochs = 3", "epochs = 3, rate = nan"), "rate must be above 0, not nan"),
        (DIRECT.replace("epochs = 3", 'epochs = 3, optimiser = "adamm"'), r"adam.*must be one of"),
        (DIRECT.replace("resnet18", "resnet81"), r"encoder: timm has no.*'resnet81'.*resnet\d"),
        (DIRECT.replace("resnet18", "vgg11-elu"), "only a ResNet"),
        (DIRECT.replace('"random"', '"imagnet"'), r"init must be.*did you mean imagenet"),
        (DIRECT.replace('"random"', '"w.safetensors"'), r"there is no file '.*w\.safetensors'"),
        (DIRECT.replace('init = "random"\n', ""), r"\[direct\] lacks the key 'init'"),
        (DIRECT.replace("regression", "classification"), 'direct] must have head = "regression"'),
        (DIRECT + "frozen = true\n", "freezes an encoder that starts random"),
        (DIRECT + "std = [0, 1, 1]\n", "std must be above 0"),
        (DIRECT + "arguments = 3\n", "arguments must be a table"),
        ("direct = 3", "direct must be a table"),
        ("[direkt]\n", r"no key 'direkt'.*did you mean direct"),
        ("[direct\n", "is not TOML.*line 1"),
        ("direct = " + "[" * 20_000, "nests lists without end"),
        ('chosen = "nothing"\n', "speaks of no method"),
        ('base = "papr"\n', r"no recipe 'papr'.*did you mean paper"),
        ('base = "mine.toml"\n', "circle: mine.toml -> mine.toml"),
        ("base = 4\n", "base must be"),
        ("[boosting]\n", r"\[boosting\] learns from the maps of a segmentation"),
        (
            'base = "starter"\n[segmentation]\nclass_weights = [1, 2]',
            r"class_weights must be a list of 4 values, not \[1, 2\]",
        ),
        ('base = "paper"\n[cascade]\nchannels = 5', "channels = 5 must be one of 3, 4"),
        ('base = "paper"\n[segmentation]\ndecoder = "upn"', "did you mean.*fpn"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, said):
    with pytest.raises(ModelError, match=said):
        recipe(written(tmp_path, text))


def test_an_unknown_name_and_a_missing_file_are_told_apart():
    with pytest.raises(ModelError, match=r"no recipe 'startr' \(did you mean starter"):
        recipe("startr")
    with pytest.raises(ModelError, match=r"no recipe file 'absent\.toml'"):
        recipe("absent.toml")


def test_a_part_that_is_not_there_is_asked_for_in_words():
    found = recipe("gbt-random")
    with pytest.raises(ModelError, match="'gbt-random' does not speak of cascade, only of segm"):
        found.needed(found.cascade, "cascade")
