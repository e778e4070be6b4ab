"""The pixel size of a patch: as its file says it, as the user does, or assumed."""

import struct

import pytest
from images import FIELD, png, save, tiff
from PIL import Image, PngImagePlugin

from cellularity_core.errors import PixelSizeError
from cellularity_core.patch import collect, load_patch


class TestPixelSize:
    @pytest.mark.parametrize(
        "data",
        [
            tiff(photometric="rgb", resolution=(20_000, 20_000), resolutionunit="centimeter"),
            tiff(photometric="rgb", resolution=(50_800, 50_800), resolutionunit="inch"),
            tiff(photometric="rgb", description="Aperio Image |AppMag = 20|MPP = 0.5|x = 1"),
            tiff(photometric="rgb", resolution=(2, 2), imagej=True, metadata={"unit": "um"}),
            tiff(photometric="rgb", resolution=(2, 2), imagej=True, metadata={"unit": "micron"}),
            tiff(
                photometric="rgb",
                ome=True,
                metadata={"axes": "YXS", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm"},
            ),
            png(dpi=(50_800, 50_800)),
            save(Image.fromarray(FIELD), "JPEG", dpi=(50_800, 50_800)),
        ],
        ids=["cm", "inch", "aperio", "imagej-um", "imagej-micron", "ome", "png", "jpeg"],
    )
    def test_from_the_file(self, data: bytes) -> None:
        patch = load_patch(data, "a")
        assert patch.mpp == pytest.approx(0.5, rel=1e-4)
        assert (patch.mpp_source, patch.notes) == ("file", ())

    def test_from_exif(self) -> None:
        exif = Image.Exif()
        exif[282], exif[283], exif[296] = 40_000.0, 40_000.0, 3
        data = save(Image.fromarray(FIELD), "JPEG", exif=exif)
        assert load_patch(data, "a.jpg").mpp == pytest.approx(0.25)

    def test_description_in_a_png(self) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("Description", "scanner X; mpp=0.25")
        assert load_patch(png(pnginfo=info), "a.png").mpp == 0.25

    def test_description_outranks_a_screens_resolution(self) -> None:
        data = tiff(
            photometric="rgb",
            resolution=(72, 72),
            resolutionunit="inch",
            description="Aperio |MPP = 0.2525",
        )
        patch = load_patch(data, "a.tif")
        assert (patch.mpp, patch.mpp_source, patch.notes) == (0.2525, "file", ())

    @pytest.mark.parametrize(
        "data",
        [
            tiff(photometric="rgb", resolution=(72, 72), resolutionunit="inch"),
            png(dpi=(72, 72)),
            save(Image.fromarray(FIELD), "JPEG", dpi=(300, 300)),
            tiff(photometric="rgb", resolution=(20_000, 10_000), resolutionunit="centimeter"),
            tiff(photometric="rgb", description="MPP = 25"),
        ],
        ids=["tiff-72", "png-72", "jpeg-300", "not-square", "mpp-25"],
    )
    def test_implausible_is_not_believed(self, data: bytes) -> None:
        patch = load_patch(data, "a")
        assert (patch.mpp, patch.mpp_source) == (0.5, "default")
        assert patch.notes == ("pixel-size-implausible",)

    @pytest.mark.parametrize(
        "data",
        [
            tiff(photometric="rgb"),
            tiff(photometric="rgb", resolution=(1, 1), resolutionunit="none"),
            tiff(photometric="rgb", resolution=(77, 77), resolutionunit="inch").replace(
                struct.pack("<2I", 77, 1), bytes(8)
            ),
            save(Image.fromarray(FIELD), "JPEG"),
        ],
    )
    def test_none_in_the_file(self, data: bytes) -> None:
        patch = load_patch(data, "a")
        assert (patch.mpp, patch.mpp_source, patch.notes) == (0.5, "default", ())

    def test_the_user_wins(self) -> None:
        data = tiff(photometric="rgb", resolution=(20_000, 20_000), resolutionunit="centimeter")
        patch = load_patch(data, "a.tif", mpp=0.25)
        assert (patch.mpp, patch.mpp_source) == (0.25, "user")
        patch = load_patch(png(dpi=(72, 72)), "a.png", mpp=2)
        assert (patch.mpp, patch.mpp_source, patch.notes) == (2.0, "user", ())

    @pytest.mark.parametrize("mpp", [0.0, 0.099, 2.01, 353.0, -0.5, float("nan"), float("inf")])
    def test_the_user_can_be_wrong(self, mpp: float) -> None:
        with pytest.raises(PixelSizeError, match=r"for a\.png, and a patch has 0\.1 to 2"):
            load_patch(png(), "a.png", mpp=mpp)
        with pytest.raises(PixelSizeError, match="for all images"):
            collect(["nowhere"], mpp=mpp)

    def test_turned_pixels_keep_their_sides(self) -> None:
        """2 % longer along x in the file; turned by orientation, still within what is square."""
        options = {"resolution": (20_000, 20_400), "resolutionunit": "centimeter"}
        data = tiff(photometric="rgb", extratags=[(274, "H", 1, 6, True)], **options)
        assert load_patch(data, "a.tif").mpp == pytest.approx(0.5 / 1.02**0.5, rel=1e-5)
