"""Downloads: the real kagglehub and medmnist clients against a local stand-in for the network."""

import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from kdnb.core.errors import UserError
from kdnb.core.settings import Settings
from kdnb.data.dataset import load
from kdnb.data.registry import about, download, registered

medmnist = pytest.importorskip("medmnist", reason="needs the package medmnist")
BRAIN = registered()["brain_tumor"]


@contextmanager
def served(answers):
    """A server on the loopback: path ending → (status, type, bytes).

    Yields its address and the requests it got.
    """
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            seen.append((self.path, self.headers.get("Authorization"), body))
            found = next(
                (a for end, a in answers.items() if self.path.endswith(end)),
                (404, "text/plain", b"no"),
            )
            self.send_response(found[0])
            self.send_header("Content-Type", found[1])
            self.send_header("Content-Length", str(len(found[2])))
            self.end_headers()
            self.wfile.write(found[2])

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def brain_archive():
    rng, file = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part in ("Training", "Testing"):
            for label in BRAIN["classes"]:
                for i in range(6):
                    image = io.BytesIO()
                    Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(
                        image, "JPEG"
                    )
                    archive.writestr(f"{part}/{label}/{i}.jpg", image.getvalue())
    return file.getvalue()


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    pytest.importorskip("kagglehub", reason="needs the package kagglehub")
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "my-own-token")
    monkeypatch.setenv("DISABLE_KAGGLE_CACHE", "1")

    def point(address):
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, address)

    return point


@pytest.mark.slow
def test_kagglehub_fetches_with_the_users_token_and_the_set_loads(kaggle, tmp_path, monkeypatch):
    monkeypatch.delenv("KDNB_DATA", raising=False)  # where the set that it comes from may lie
    answers = {
        "/GetDataset": (200, "application/json", b'{"currentVersionNumber": 3}'),
        "/DownloadDataset": (200, "application/zip", brain_archive()),
    }
    with served(answers) as (address, seen):
        kaggle(address)
        folder = download("brain_tumor")
        assert folder.name == "3" and len(list(folder.rglob("*.jpg"))) == 48
        assert {token for _, token, _ in seen} == {"Bearer my-own-token"}
        assert all(name in seen[0][2] for name in BRAIN["kaggle"].split("/"))
        assert download("brain_tumor") == folder  # from the cache
        assert sum("Download" in path for path, _, _ in seen) == 1
    found = load(
        Settings.checked(
            {"dataset": "brain_tumor", "data": str(folder), "runs_dir": str(tmp_path / "runs")}
        )
    )
    assert len(found.table) == 48 and set(found.table["published_split"]) == {"train", "test"}


@pytest.mark.parametrize("status", [403, 500])
def test_a_refused_download_is_one_line(kaggle, status):
    with served({"/GetDataset": (status, "text/plain", b"no")}) as (address, _):
        kaggle(address)
        with pytest.raises(
            UserError, match="no download of 'masoudnickparvar.*check your Kaggle token"
        ) as error:
            download("brain_tumor")
    assert "\n" not in str(error.value)


def npz(shape, classes, count=30):
    rng, arrays = np.random.default_rng(1), {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue(), arrays


def settings(tmp_path, flag="breastmnist", **others):
    (tmp_path / "sets").mkdir(exist_ok=True)
    given = {
        "dataset": f"medmnist:{flag}",
        "data": str(tmp_path / "sets"),
        "runs_dir": str(tmp_path / "runs"),
    }
    return Settings.checked({"image_size": 64, "split": "published", **given, **others})


@pytest.mark.parametrize(
    ("flag", "shape", "classes"), [("breastmnist", (64, 64), 2), ("bloodmnist", (64, 64, 3), 8)]
)
def test_medmnist_file_is_read_with_its_own_parts(tmp_path, flag, shape, classes):
    content, arrays = npz(shape, classes)
    (tmp_path / "sets").mkdir(exist_ok=True)
    (tmp_path / "sets" / f"{flag}_64.npz").write_bytes(content)
    for data in ("sets", f"sets/{flag}_64.npz"):
        found = load(settings(tmp_path, flag, data=str(tmp_path / data)))
        assert found.classes == tuple(sorted(medmnist.INFO[flag]["label"].values()))
        assert len(found.classes) == classes
        assert found.table["part"].value_counts().to_dict() == {"train": 30, "val": 30, "test": 30}
        row = found.rows("test")[7]
        image = arrays["test_images"][7]
        np.testing.assert_array_equal(
            found.pixels[row], image if image.ndim == 3 else np.stack([image] * 3, -1)
        )
        assert found.table["label"][row] == medmnist.INFO[flag]["label"][str(7 % classes)]
        assert any("unknown patients" in note for note in found.notes)


def test_medmnist_takes_the_smallest_file_that_is_large_enough(tmp_path):
    (tmp_path / "sets").mkdir(exist_ok=True)
    for name, side in (("breastmnist", 28), ("breastmnist_128", 128), ("breastmnist_224", 224)):
        (tmp_path / "sets" / f"{name}.npz").write_bytes(npz((side, side), 2, 4)[0])
    widths = {
        size: set(load(settings(tmp_path, image_size=size)).table["width"])
        for size in (64, 128, 256)
    }
    assert widths == {64: {128}, 128: {128}, 256: {224}}


def test_medmnist_downloads_what_is_not_there_and_checks_it(tmp_path, monkeypatch):
    content, _ = npz((64, 64), 2)
    with served({"breastmnist_64.npz": (200, "application/octet-stream", content)}) as (
        address,
        seen,
    ):
        info = medmnist.INFO["breastmnist"]
        monkeypatch.setitem(info, "url_64", f"{address}/breastmnist_64.npz")
        monkeypatch.setitem(info, "MD5_64", "0" * 32)
        with pytest.raises(
            UserError, match="breastmnist_64.npz is not to be had .*by hand from https://zenodo"
        ):
            load(settings(tmp_path))
        assert not list((tmp_path / "sets").iterdir())
        monkeypatch.setitem(info, "MD5_64", hashlib.md5(content).hexdigest())
        assert len(load(settings(tmp_path)).table) == 90
        asked = len(seen)
        load(settings(tmp_path))
        assert len(seen) == asked  # from disk


@pytest.mark.parametrize("flag", ["nosuchmnist", "chestmnist", "organmnist3d", ""])
def test_medmnist_sets_that_cannot_be_used_are_named(tmp_path, flag):
    with pytest.raises(UserError, match="cannot be used: accepted are pathmnist, dermamnist"):
        load(settings(tmp_path, flag))


def test_what_is_known_of_a_set_is_told():
    assert about("medmnist:breastmnist")["licence"].startswith("CC BY")
    assert "zenodo" in about("medmnist:breastmnist")["url"]
    assert about("phantom_brain")["licence"] == "MIT" and "own data" in about("custom")["licence"]
    assert "Nickparvar" in about("brain_tumor")["citation"]


def test_medmnist_bad_files_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "sets").mkdir(exist_ok=True)
    (tmp_path / "sets" / "breastmnist_64.npz").write_bytes(npz((64, 64), 2)[0][:5000])
    with pytest.raises(
        UserError, match="is no complete file of breastmnist .*delete it and run again"
    ):
        load(settings(tmp_path))
    of_another_set, _ = npz((64, 64), 5)  # more labels
    (tmp_path / "sets" / "breastmnist_64.npz").write_bytes(of_another_set)
    with pytest.raises(UserError, match="is no complete file of breastmnist"):
        load(settings(tmp_path))
    with pytest.raises(UserError, match="does not exist: name the folder"):
        load(settings(tmp_path, data=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="is no file of breastmnist"):
        (tmp_path / "other.npz").touch()
        load(settings(tmp_path, data=str(tmp_path / "other.npz")))
    monkeypatch.setitem(__import__("sys").modules, "medmnist", None)
    with pytest.raises(UserError, match="pip install medmnist"):
        load(settings(tmp_path))
