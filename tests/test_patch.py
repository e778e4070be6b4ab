"""A patch from bytes: pixels, colours and pages, against what was written."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from images import FIELD, SMOOTH, png, save, tiff
from PIL import Image, ImageCms

from cellularity_core import notes
from cellularity_core.errors import PatchError
from cellularity_core.patch import load_patch


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
        assert patch.notes == ("cmyk-converted",)

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
        assert patch.notes == ()

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
        assert patch.notes == (("turned",) if orientation > 1 else ())


class TestPages:
    def test_first_of_several_pages(self) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for page in (FIELD, FIELD[::-1], FIELD[:, ::-1]):
                writer.write(page, photometric="rgb", contiguous=False)
        patch = load_patch(buffer.getvalue(), "a.tif")
        np.testing.assert_array_equal(patch.pixels, FIELD)
        assert patch.notes == ("page-1-of-3",)
        assert "holds 3 pages; page 1 was read and no other" in notes.sentences(patch.notes)

    def test_a_page_of_its_own_beside_a_pyramid_is_told(self) -> None:
        large = np.repeat(np.repeat(FIELD, 4, axis=0), 4, axis=1)
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for page in (large, large[::2, ::2], FIELD[:, :70]):
                page = np.ascontiguousarray(page)
                writer.write(page, photometric="rgb", contiguous=False)
        assert load_patch(buffer.getvalue(), "a.tif").notes == ("pyramid", "page-1-of-3")

    @pytest.mark.parametrize(
        ("order", "told"), [((1, 2, 4), ()), ((4, 1, 2), ("page-2-of-3",))], ids=["first", "second"]
    )
    def test_largest_level_of_a_pyramid(self, order: tuple[int, ...], told: tuple[str]) -> None:
        large = np.random.default_rng(2).integers(0, 256, (280, 384, 3), np.uint8)
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            for step in order:
                level = np.ascontiguousarray(large[::step, ::step])
                writer.write(level, photometric="rgb", subfiletype=int(step > 1), contiguous=False)
        patch = load_patch(buffer.getvalue(), "a.tif")
        np.testing.assert_array_equal(patch.pixels, large)
        assert patch.notes == ("pyramid", *told)

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


def test_no_personal_data_is_kept() -> None:
    exif = Image.Exif()
    exif[315], exif[270] = "Dr. Somebody", "Patient 4711"
    patch = load_patch(save(Image.fromarray(FIELD), "JPEG", exif=exif), "a.jpg")
    assert (patch.name, patch.notes) == ("a.jpg", ())
