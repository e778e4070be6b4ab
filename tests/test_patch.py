"""Images in: formats, colours, sizes, damage, folders, ZIPs and manifests."""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from cellularity_core.errors import CellularityError, PatchError, PixelSizeError
from cellularity_core.patch import Patch, Rejected, collect, load_all, load_patch

FIELD = np.random.default_rng(1).integers(0, 256, (70, 96, 3), np.uint8)
"""Noise, 70 rows by 96 columns, so that any shift or swap shows."""

SMOOTH = np.stack(
    np.broadcast_arrays(np.arange(96) + 90, np.arange(70)[:, None] + 60, np.uint8(170)), axis=-1
).astype(np.uint8)
"""A gradient that JPEG keeps to a level or two."""


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """Bytes of an image as Pillow writes them."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(pixels: np.ndarray = FIELD, **options: object) -> bytes:
    """Bytes of a PNG."""
    return save(Image.fromarray(pixels), "PNG", **options)


def tiff(pixels: np.ndarray = FIELD, **options: object) -> bytes:
    """Bytes of a TIFF as tifffile writes them."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def bare_png(width: int, height: int) -> bytes:
    """A PNG that is its header alone."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))


def bare_jpeg(width: int, height: int) -> bytes:
    """A JPEG that is its frame header alone."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xc0" + frame


class TestPixels:
    def test_png_comes_as_it_is(self) -> None:
        patch = load_patch(png(), "a.png")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.pixels.flags.c_contiguous
        assert (patch.width, patch.height) == (96, 70)
        assert (patch.mpp, patch.mpp_source, patch.notes) == (0.5, "default", ())
        assert patch.sha256 == hashlib.sha256(b"70x96x3:" + FIELD.tobytes()).hexdigest()

    def test_digest_depends_on_shape_and_every_pixel_only(self) -> None:
        tall = load_patch(png(FIELD.reshape(96, 70, 3)), "a.png")
        changed = FIELD.copy()
        changed[-1, -1, -1] ^= 1
        digests = {load_patch(png(p), "a.png").sha256 for p in (FIELD, changed)} | {tall.sha256}
        assert len(digests) == 3
        other = load_patch(tiff(), "other.tif", mpp=0.25)
        assert other.sha256 == load_patch(png(), "a.png").sha256

    @pytest.mark.parametrize("quality", [95, 75])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg(self, quality: int, progressive: bool) -> None:
        data = save(Image.fromarray(SMOOTH), "JPEG", quality=quality, progressive=progressive)
        np.testing.assert_allclose(load_patch(data, "a.jpg").pixels, SMOOTH.astype(int), atol=6)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"compression": "lzw"},
            {"compression": "lzw", "predictor": True},
            {"compression": "zlib"},
            {"compression": "packbits"},
            {"compression": "zstd"},
            {"tile": (32, 48)},
            {"tile": (32, 48), "compression": "zlib"},
            {"rowsperstrip": 7, "compression": "lzw"},
            {"bigtiff": True},
            {"byteorder": ">"},
            {"photometric": "rgb", "planarconfig": "separate"},
        ],
    )
    def test_tiff_layouts(self, options: dict[str, object]) -> None:
        pixels = np.moveaxis(FIELD, -1, 0) if "planarconfig" in options else FIELD
        options = {"photometric": "rgb"} | options
        patch = load_patch(tiff(np.ascontiguousarray(pixels), **options), "a.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)

    @pytest.mark.parametrize(
        "data",
        [
            tiff(SMOOTH, compression="jpeg", photometric="rgb"),
            tiff(SMOOTH, compression="jpeg", photometric="rgb", tile=(32, 48)),
            tiff(
                SMOOTH,
                compression="jpeg",
                photometric="rgb",
                compressionargs={"outcolorspace": "rgb"},
            ),
            save(Image.fromarray(SMOOTH), "TIFF", compression="jpeg"),
        ],
        ids=["strip", "tile", "rgb", "pillow"],
    )
    def test_tiff_with_jpeg(self, data: bytes) -> None:
        """But for the last rows, into which a tile's padding bleeds."""
        pixels = load_patch(data, "a.tif").pixels
        np.testing.assert_allclose(pixels[:60], SMOOTH[:60].astype(int), atol=6)

    def test_tiff_written_by_another_program(self) -> None:
        data = save(Image.fromarray(FIELD), "TIFF", compression="tiff_lzw")
        np.testing.assert_array_equal(load_patch(data, "a.tif").pixels, FIELD)

    @pytest.mark.parametrize("step", [256, 257])
    def test_sixteen_bit_is_scaled(self, step: int) -> None:
        """Both habits of widening 8 bits to 16 give the 8 bits back."""
        wide = (FIELD.astype(np.uint16) * step).astype(np.uint16)
        patch = load_patch(tiff(wide, photometric="rgb"), "a.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ("scaled-to-8-bit",)

    @pytest.mark.parametrize(("shift", "bits"), [(0, 8), (4, 12)])
    def test_cameras_keep_fewer_bits_in_sixteen(self, shift: int, bits: int) -> None:
        wide = FIELD.astype(np.uint16) << shift
        assert wide.max() < 1 << bits
        patch = load_patch(tiff(wide, photometric="rgb"), "a.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)

    @pytest.mark.parametrize(("top", "dtype"), [(1, "f4"), (255, "f8"), (65535, "f4"), (1, "f2")])
    def test_floating_point(self, top: float, dtype: str) -> None:
        data = (FIELD / 255 * top).astype(dtype)
        patch = load_patch(tiff(data, photometric="rgb"), "a.tif")
        np.testing.assert_allclose(patch.pixels, FIELD.astype(int), atol=1)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1e6])
    def test_floating_point_that_is_no_light(self, bad: float) -> None:
        data = FIELD.astype("f4")
        data[3, 4, 1] = bad
        with pytest.raises(PatchError, match="floating-point samples"):
            load_patch(tiff(data, photometric="rgb"), "a.tif")

    def test_sixteen_bit_png(self) -> None:
        grey = FIELD[..., 0].astype(np.uint16) * 257
        patch = load_patch(save(Image.fromarray(grey), "PNG"), "a.png")
        np.testing.assert_array_equal(patch.pixels, np.repeat(FIELD[..., :1], 3, axis=2))
        assert patch.notes == ("single-channel", "scaled-to-8-bit")


GREY = np.repeat(FIELD[..., :1], 3, axis=2)


class TestColours:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_grey_becomes_rgb_with_a_note(self, kind: str) -> None:
        patch = load_patch(save(Image.fromarray(FIELD[..., 0]), kind), "a")
        np.testing.assert_array_equal(patch.pixels, GREY)
        assert patch.notes == ("single-channel",)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_one_bit(self, kind: str) -> None:
        bits = FIELD[..., 0] > 127
        patch = load_patch(save(Image.fromarray(bits), kind), "a")
        np.testing.assert_array_equal(patch.pixels[..., 1], np.where(bits, 255, 0))
        assert patch.notes == ("single-channel",)

    def test_inverted_grey_tiff(self) -> None:
        patch = load_patch(tiff(255 - FIELD[..., 0], photometric="miniswhite"), "a.tif")
        np.testing.assert_array_equal(patch.pixels, GREY)

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_palette(self, kind: str) -> None:
        image = Image.fromarray(SMOOTH).quantize(200)
        patch = load_patch(save(image, kind), "a")
        np.testing.assert_array_equal(patch.pixels, np.array(image.convert("RGB")))
        assert patch.notes == ()

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_alpha_is_shown_on_white(self, kind: str) -> None:
        alpha = np.full((70, 96), 255, np.uint8)
        alpha[:, :30], alpha[:, 30:60] = 0, 128
        patch = load_patch(save(Image.fromarray(np.dstack([FIELD, alpha])), kind), "a")
        assert (patch.pixels[:, :30] == 255).all()
        half = FIELD[:, 30:60] * (128 / 255) + 255 * (127 / 255)
        np.testing.assert_allclose(patch.pixels[:, 30:60], half, atol=0.51)
        np.testing.assert_array_equal(patch.pixels[:, 60:], FIELD[:, 60:])
        assert patch.notes == ("alpha-flattened",)

    def test_opaque_alpha_needs_no_note(self) -> None:
        opaque = np.dstack([FIELD, np.full((70, 96), 255, np.uint8)])
        patch = load_patch(png(opaque), "a.png")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ()

    def test_premultiplied_alpha(self) -> None:
        alpha = np.full((70, 96, 1), 128, np.uint8)
        associated = np.concatenate([(FIELD * (128 / 255)).astype(np.uint8), alpha], axis=2)
        data = tiff(associated, photometric="rgb", extrasamples=["assocalpha"])
        expected = FIELD * (128 / 255) + 127
        np.testing.assert_allclose(load_patch(data, "a.tif").pixels, expected, atol=1)

    def test_a_fourth_channel_that_is_no_alpha_is_left_out(self) -> None:
        four = np.dstack([FIELD, np.zeros((70, 96), np.uint8)])
        data = tiff(four, photometric="rgb", extrasamples=["unspecified"])
        np.testing.assert_array_equal(load_patch(data, "a.tif").pixels, FIELD)

    def test_grey_with_alpha(self) -> None:
        pair = np.dstack([FIELD[..., 0], np.full((70, 96), 255, np.uint8)])
        pair[:10, :, 1] = 0
        patch = load_patch(png(pair), "a.png")
        assert (patch.pixels[:10] == 255).all()
        np.testing.assert_array_equal(patch.pixels[10:], GREY[10:])
        assert patch.notes == ("single-channel", "alpha-flattened")

    def test_transparent_colour_of_a_png(self) -> None:
        pixels = FIELD.copy()
        pixels[:10] = (1, 2, 3)
        patch = load_patch(png(pixels, transparency=(1, 2, 3)), "a.png")
        assert (patch.pixels[:10] == 255).all()
        indexed = save(Image.fromarray(pixels).quantize(256), "PNG", transparency=b"\0" * 256)
        assert (load_patch(indexed, "p.png").pixels == 255).all()

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind: str) -> None:
        ink = Image.fromarray(SMOOTH).convert("CMYK")
        options = {"quality": 95} if kind == "JPEG" else {}
        patch = load_patch(save(ink, kind, **options), "a")
        np.testing.assert_allclose(patch.pixels, SMOOTH.astype(int), atol=8)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
    def test_embedded_profile_is_converted(self, kind: str) -> None:
        """A profile with red and blue primaries swapped: the file's red is sRGB's blue."""
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        swapped = srgb.replace(b"rXYZ", b"tmp1").replace(b"bXYZ", b"rXYZ").replace(b"tmp1", b"bXYZ")
        options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
        data = save(Image.fromarray(SMOOTH), kind, icc_profile=swapped, **options)
        patch = load_patch(data, "a")
        np.testing.assert_allclose(patch.pixels, SMOOTH[..., ::-1].astype(int), atol=4)
        assert patch.notes == ("icc-converted",)

    def test_srgb_profile_changes_no_pixel(self) -> None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        patch = load_patch(png(icc_profile=srgb), "a.png")
        np.testing.assert_array_equal(patch.pixels, FIELD)

    def test_broken_profile_is_left_out(self) -> None:
        patch = load_patch(png(icc_profile=b"no profile"), "a.png")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ("icc-ignored",)

    def test_profile_of_another_colour_space_is_left_out(self) -> None:
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        patch = load_patch(png(icc_profile=lab), "a.png")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ("icc-ignored",)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
    def test_orientation_as_pillow_turns_it(self, kind: str, orientation: int) -> None:
        turn = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }
        image = Image.fromarray(SMOOTH)
        upright = image.transpose(turn[orientation]) if orientation > 1 else image
        if kind == "TIFF":
            data = tiff(SMOOTH, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        else:
            exif = Image.Exif()
            exif[274] = orientation
            options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
            data = save(image, kind, exif=exif, **options)
        patch = load_patch(data, "a")
        np.testing.assert_allclose(patch.pixels, np.array(upright).astype(int), atol=4)


class TestPages:
    def test_first_of_several_pages(self) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for page in (FIELD, FIELD[::-1], FIELD[:, ::-1]):
                writer.write(page, photometric="rgb", contiguous=False)
        patch = load_patch(buffer.getvalue(), "a.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ("multi-page",)

    @pytest.mark.parametrize("order", [(1, 2, 4), (4, 1, 2)])
    def test_largest_level_of_a_pyramid(self, order: tuple[int, ...]) -> None:
        large = np.random.default_rng(2).integers(0, 256, (280, 384, 3), np.uint8)
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for step in order:
                level = np.ascontiguousarray(large[::step, ::step])
                writer.write(level, photometric="rgb", subfiletype=int(step > 1), contiguous=False)
        patch = load_patch(buffer.getvalue(), "a.tif")
        np.testing.assert_array_equal(patch.pixels, large)
        assert patch.notes == ("pyramid",)

    def test_levels_in_sub_directories(self) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer, ome=True) as writer:
            metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
            writer.write(FIELD, photometric="rgb", subifds=1, metadata=metadata)
            half = np.ascontiguousarray(FIELD[::2, ::2])
            writer.write(half, photometric="rgb", subfiletype=1)
        patch = load_patch(buffer.getvalue(), "a.ome.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert (patch.mpp, patch.mpp_source) == (0.25, "file")
        assert patch.notes == ("pyramid",)

    def test_real_slide_region(self, data_root: Path) -> None:
        patch = load_patch((data_root / "slides" / "cmu-1-small-region.svs").read_bytes(), "s.svs")
        assert patch.pixels.shape == (2967, 2220, 3)
        assert (patch.mpp, patch.mpp_source) == (0.499, "file")
        assert 180 < patch.pixels.mean() < 230


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


def test_no_personal_data_is_kept() -> None:
    exif = Image.Exif()
    exif[315], exif[270] = "Dr. Somebody", "Patient 4711"
    patch = load_patch(save(Image.fromarray(FIELD), "JPEG", exif=exif), "a.jpg")
    assert (patch.name, patch.notes) == ("a.jpg", ())


WHOLE = {
    "png": png(),
    "jpeg": save(Image.fromarray(SMOOTH), "JPEG"),
    "tiff-strips": tiff(photometric="rgb", compression="lzw", rowsperstrip=16),
    "tiff-tiles": tiff(photometric="rgb", tile=(32, 32)),
    "tiff-jpeg": tiff(SMOOTH, photometric="rgb", compression="jpeg", tile=(64, 64)),
    "tiff-float": tiff((FIELD / 255).astype("f4"), photometric="rgb", compression="zlib"),
    "tiff-palette": save(Image.fromarray(SMOOTH).quantize(16), "TIFF"),
    "png-palette": save(Image.fromarray(SMOOTH).quantize(16), "PNG", transparency=3),
}


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", r"bad\.png is empty \(0 bytes\); copy or export"),
            (b"hello, this is a letter", "is not an image; give PNG, JPEG or TIFF"),
            (bytes(5000), "is not an image; give PNG"),
            (png()[:2000], "is a PNG that is damaged, breaks off"),
            (png()[:20], "is a PNG that is damaged, breaks off"),
            (WHOLE["jpeg"][:300], "is a JPEG that is damaged, breaks off"),
            (WHOLE["jpeg"][: len(WHOLE["jpeg"]) // 2 + 200], "is a JPEG that is damaged"),
            (WHOLE["tiff-strips"][:5000], "TIFF that"),
            (tiff(photometric="rgb")[:9000], "TIFF that breaks off or lacks parts; copy"),
            (b"II*\0", "is a TIFF that is damaged"),
            (b"\xff\xd8\xff", "is a JPEG that is damaged"),
            (bare_png(50_000, 50_000), "is 50000 x 50000 pixels, more than the 4096.*crop it"),
            (bare_jpeg(50_000, 50_000), "is 50000 x 50000 pixels, more than the 4096"),
            (bare_png(4097, 100), "is 4097 x 100 pixels, more than the 4096"),
            (png(FIELD[:63]), "is 96 x 63 pixels, less than the 64.*larger field"),
            (tiff(FIELD[:, :20], photometric="rgb"), "is 20 x 70 pixels, less than the 64"),
            (bare_png(0, 0), "is 0 x 0 pixels, less than"),
            (save(Image.fromarray(FIELD), "GIF"), "is a GIF, which is not read; export it as PNG"),
            (save(Image.fromarray(FIELD), "BMP"), "is a BMP, which is not read"),
            (save(Image.fromarray(FIELD), "WEBP"), "is a WebP, which is not read"),
            (b"%PDF-1.7", "is a PDF, which is not read"),
            (b"\0\0\0\x18ftypheic", "is a HEIF or video file, which"),
            (bytes(128) + b"DICM", "is a DICOM file, which is not read"),
            (b"PK\x03\x04 and so on", "is a ZIP within another file; unpack it"),
            (
                save(
                    Image.fromarray(FIELD),
                    "PNG",
                    save_all=True,
                    append_images=[Image.fromarray(255 - FIELD)],
                ),
                "is an animation; export one frame",
            ),
            (tiff(np.zeros((5, 70, 96), np.uint8), planarconfig="separate", photometric="rgb"),
             "holds 5 channels"),
            (tiff(photometric="rgb", compression="webp"), r"compression 50001\); save it with LZW"),
            (tiff(photometric="cielab"), r"photometric 8\); save it as an RGB"),
            (tiff(FIELD.astype(np.complex64), photometric="rgb"), "is a TIFF that is damaged"),
        ],
    )  # fmt: skip
    def test_says_what_to_do_in_one_sentence(self, data: bytes, words: str) -> None:
        with pytest.raises(PatchError, match=words) as caught:
            load_patch(data, "bad.png")
        text = str(caught.value)
        assert text.startswith("bad.png ")
        assert text.endswith(".")
        assert "\n" not in text

    def test_content_decides_not_the_extension(self) -> None:
        np.testing.assert_array_equal(load_patch(png(), "a.jpg").pixels, FIELD)
        np.testing.assert_array_equal(load_patch(tiff(photometric="rgb"), "a.png").pixels, FIELD)

    def test_a_huge_tiff_is_refused_from_its_header(self) -> None:
        data = bytearray(tiff(photometric="rgb", compression="lzw"))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            for code in (256, 257):
                at = file.pages.first.tags[code].valueoffset
                data[at : at + 2] = struct.pack("<H", 50_000)
        with pytest.raises(PatchError, match="is 50000 x 50000 pixels"):
            load_patch(bytes(data), "huge.tif")

    def test_a_strip_that_unpacks_to_far_more_stays_bounded(self) -> None:
        """A deflate strip of 200 MB for 20 kB of pixels is cut or refused, not unpacked."""
        data = bytearray(tiff(photometric="rgb", compression="zlib"))
        bomb = zlib.compress(bytes(200_000_000), 9)
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            tags = file.pages.first.tags
            for code, value in ((273, len(data)), (279, len(bomb))):
                tag = tags[code]
                form = {3: "<H", 4: "<I"}[int(tag.dtype)]
                if form == "<H":
                    data[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
                    form = "<I"
                data[tag.valueoffset : tag.valueoffset + 4] = struct.pack(form, value)
        import tracemalloc

        tracemalloc.start()
        try:
            patch = load_patch(bytes(data) + bomb, "bomb.tif")
        except PatchError:
            patch = None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000
        assert patch is None or patch.pixels.max() == 0

    def test_a_jpeg_tile_larger_than_it_may_be(self) -> None:
        data = WHOLE["tiff-jpeg"]
        frame = struct.pack(">HH", 64, 64)
        assert frame in data
        forged = data.replace(frame, struct.pack(">HH", 60_000, 60_000))
        with pytest.raises(PatchError, match="breaks off or lacks parts"):
            load_patch(forged, "forged.tif")

    def test_warnings_of_pillow_stay_inside(self) -> None:
        exif = Image.Exif()
        exif[274] = 1
        broken = exif.tobytes()[:-9] + b"\xff" * 9
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            load_patch(save(Image.fromarray(SMOOTH), "JPEG", exif=broken), "a.jpg")
        assert not seen


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file with bytes overwritten, cut out or cut off."""
    data = bytearray(WHOLE[draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(draw(st.integers(0, 6))):
        near = draw(st.sampled_from([64, 600, len(data)]))
        for side in (0, 1):
            at = draw(st.integers(0, min(near, len(data) - 1)))
            at = len(data) - 1 - at if side else at
            new = draw(st.binary(max_size=6))
            data[at : at + len(new)] = new
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        del data[at : at + draw(st.integers(0, 200))]
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=400, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=400)))
@example(b"II*\0\x08\0\0\0")
def test_no_bytes_raise_anything_but_a_patch_error(data: bytes) -> None:
    try:
        patch = load_patch(data, "x")
    except CellularityError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert message.startswith("x ")
        return
    assert patch.pixels.dtype == np.uint8
    assert patch.pixels.ndim == 3
    assert patch.pixels.shape[2] == 3
    assert min(patch.pixels.shape[:2]) >= 64
    assert max(patch.pixels.shape[:2]) <= 4096
    assert 0.1 <= patch.mpp <= 2


def names(items: Iterator[Patch | Rejected]) -> list[tuple[str, bool]]:
    """Names in order, and whether each is a patch."""
    return [(item.name, isinstance(item, Patch)) for item in items]


class TestCollect:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        root = tmp_path / "case 7"
        (root / "sub" / "deep").mkdir(parents=True)
        (root / ".git").mkdir()
        (root / "b.png").write_bytes(png())
        (root / "a.tif").write_bytes(tiff(photometric="rgb"))
        (root / "sub" / "b.png").write_bytes(png(255 - FIELD))
        (root / "sub" / "deep" / "broken.png").write_bytes(png()[:900])
        (root / "notes.txt").write_text("not an image")
        for hidden in (".DS_Store", "._a.tif", ".git/x.png", "Thumbs.db"):
            (root / hidden).write_bytes(b"x")
        return root

    def test_folder_in_order_and_on_after_errors(self, folder: Path) -> None:
        items = list(collect([folder]))
        assert names(iter(items)) == [
            ("a.tif", True),
            ("b.png", True),
            ("notes.txt", False),
            ("sub/b.png", True),
            ("sub/deep/broken.png", False),
        ]
        assert isinstance(items[2], Rejected)
        assert items[2].reason.startswith("notes.txt is not an image")

    def test_single_files_with_the_same_name(self, folder: Path) -> None:
        paths = [folder / "b.png", folder / "sub" / "b.png", folder / "b.png"]
        assert [i.name for i in collect(paths)] == ["b.png", "sub/b.png", "case 7/b.png"]
        again = [folder / "b.png"] * 3
        assert [i.name for i in collect(again)] == ["b.png", "case 7/b.png", "case 7/b (2).png"]

    def test_missing_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "none").mkdir()
        missing, empty = collect([tmp_path / "gone.png", tmp_path / "none"])
        assert missing == Rejected("gone.png", "gone.png is not there; check the path.")
        assert isinstance(empty, Rejected)
        assert "none is a folder with no files in it" in empty.reason

    def test_one_image_at_a_time(self, folder: Path) -> None:
        items = collect([folder])
        assert next(items).name == "a.tif"
        (folder / "b.png").write_bytes(b"")
        second = next(items)
        assert isinstance(second, Rejected)
        assert "b.png" in second.reason

    def test_manifest(self, folder: Path) -> None:
        manifest = folder / "MANIFEST.csv"
        manifest.write_text(
            "\ufeffpatient,Image,mpp\np1,b.png,0.25\np2,sub/b.png,\np3,gone.png,0.5\n"
            "p4,a.tif,353\np5,a.tif,wide\np6,../case 7/a.tif,1\n\n"
        )
        items = list(collect([manifest], mpp=0.4))
        assert names(iter(items)) == [
            ("b.png", True),
            ("sub/b.png", True),
            ("gone.png", False),
            ("a.tif", False),
            ("MANIFEST.csv/a.tif", False),
            ("case 7/a.tif", True),
        ]
        assert [i.mpp for i in items if isinstance(i, Patch)] == [0.25, 0.4, 1.0]
        assert {i.mpp_source for i in items if isinstance(i, Patch)} == {"user"}
        reasons = [i.reason for i in items if isinstance(i, Rejected)]
        assert "is not there" in reasons[0]
        assert "353 um/px was given for a.tif" in reasons[1]
        assert "'wide', which is no number" in reasons[2]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"", "has the columns none"),
            (b"file,mpp\na.png,1\n", "columns file, mpp and needs 'image'"),
            (b"image\n", "lists no images"),
            (b'image\n"a' + b"b" * 200_000 + b'"\n', "not a readable CSV"),
        ],
    )
    def test_bad_manifest(self, tmp_path: Path, text: bytes, words: str) -> None:
        (tmp_path / "m.csv").write_bytes(text)
        (item,) = collect([tmp_path / "m.csv"])
        assert isinstance(item, Rejected)
        assert words in item.reason

    def test_an_image_named_csv_is_an_image(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_bytes(png())
        assert names(collect([tmp_path / "m.csv"])) == [("m.csv", True)]

    def test_real_folder(self, data_root: Path) -> None:
        items = collect([data_root / "ucsb_breast"])
        counts = [isinstance(item, Patch) for item in items]
        assert (sum(counts), len(counts)) == (34, 35)

    def test_upload_of_one_file(self) -> None:
        assert names(load_all(png(), "up.png")) == [("up.png", True)]
        assert names(load_all(b"", "up.png")) == [("up.png", False)]
