"""What was found by trying files of scanners and of model sets broken, by name."""

import io
import shutil
import struct
from pathlib import Path

import fuzz_formats as formats
import fuzz_models as networks
import numpy as np
import onnx
import pytest
import tifffile
from fuzz_targets import seeds

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.errors import ModelError, SlideError
from cellularity_core.model_store import default_root
from cellularity_core.scorer import Scorer
from cellularity_core.slides.reading import Slide


class TestNetworks:
    def test_damage_is_found_before_anything_is_parsed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parsed: list[str] = []
        monkeypatch.setattr(
            "cellularity_core.passes.CompiledNetwork", lambda graph, *_: parsed.append(graph.name)
        )
        shutil.copytree(default_root() / DEFAULT_SET, tmp_path / "m")
        Scorer.open("m", root=tmp_path, device="cpu")
        assert "direct-r.onnx" in parsed
        for name in ("direct-r.onnx", "direct-r.safetensors"):
            parsed.clear()
            whole = (tmp_path / "m" / name).read_bytes()
            (tmp_path / "m" / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(ModelError, match=r"has the checksum .* altered or damaged"):
                Scorer.open("m", root=tmp_path, device="cpu")
            assert "direct-r.onnx" not in parsed
            (tmp_path / "m" / name).write_bytes(whole)

    def test_a_step_that_lacks_its_inputs_is_refused(self, tmp_path: Path) -> None:
        """It ended the process."""
        model = onnx.load_from_string(networks.graph())
        model.graph.node[-1].op_type = "Pad"
        del model.graph.node[-1].attribute[:]
        with pytest.raises(ModelError, match=r"cannot be loaded \(.*; restore the model set"):
            networks.read_graph(model.SerializeToString(), tmp_path)

    @pytest.mark.parametrize("place", ["../secret", "/etc/hostname"])
    def test_weights_outside_of_the_set_are_not_read(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "secret").write_bytes(bytes(1000))
        model = onnx.load_from_string(networks.graph())
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = place
        with pytest.raises(ModelError, match="outside"):
            networks.read_graph(model.SerializeToString(), tmp_path)

    def test_a_graph_that_gives_something_else_is_refused(self, tmp_path: Path) -> None:
        model = onnx.load_from_string(networks.graph())
        model.graph.output[0].name = "image"
        with pytest.raises(ModelError, match="neither scores nor maps"):
            networks.read_graph(model.SerializeToString(), tmp_path)


def test_tiles_of_a_gigabyte_are_refused(tmp_path: Path) -> None:
    """OpenSlide asked for 550 GB, and GLib ended the process."""
    data = bytearray(seeds("SVS")[0])
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        at = file.pages.first.tags[323].valueoffset
    data[at : at + 4] = struct.pack("<I", 2**30 + 128)
    (tmp_path / "s.svs").write_bytes(data)
    with pytest.raises(SlideError, match="tiles have 1,073,741,952 pixels a side"):
        Slide(tmp_path / "s.svs")


def test_directories_that_lead_back_are_listed_once(tmp_path: Path) -> None:
    """Two that name each other as the next were read for ever."""
    data = bytearray(seeds("SVS")[0])
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        first, second = file.pages[0], file.pages[1]
        at = second.offset + 2 + 12 * len(second.tags)
    data[at : at + 4] = struct.pack("<I", first.offset)
    (tmp_path / "s.svs").write_bytes(data)
    with pytest.raises(SlideError, match="breaks off"):
        Slide(tmp_path / "s.svs")


def test_a_slide_without_tiles_of_a_scanner_that_needs_none(tmp_path: Path) -> None:
    (tmp_path / "s.ndpi").write_bytes(seeds("NDPI")[0])
    slide = Slide(tmp_path / "s.ndpi")
    assert (slide.width, slide.height, slide.mpp) == (512, 256, 0.5)
    seen, truth = (
        pixels.mean(axis=-1).ravel()
        for pixels in (slide.picture(64, 64, 64, 1), formats.PIXELS[64:128, 64:128])
    )
    assert np.corrcoef(seen, truth)[0, 1] > 0.8
