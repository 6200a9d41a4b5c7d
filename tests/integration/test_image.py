# SPDX-License-Identifier: GPL-2.0-or-later
"""`make image`: what is in the archive, and that it is all that nuncio needs. Engines have their own tests."""

import hashlib
import json
import subprocess
import tarfile

import pytest

from daemon import LOADED, NUNCIO, REPOSITORY, WRAPPER


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The archive, unpacked."""
    path = tmp_path_factory.mktemp("image")
    archive = path / "image.tar"
    subprocess.run([REPOSITORY / "scripts/make-image", NUNCIO, LOADED, "1.2.3", archive], check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(path)
    return path


def blob(image, descriptor):
    data = (image / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (descriptor["size"], descriptor["digest"])
    return data


def test_archive(image):
    """For those who read OCI's index, and for older ones of Docker: the same image."""
    assert json.loads((image / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    manifest = json.loads(blob(image, json.loads((image / "index.json").read_text())["manifests"][0]))
    config = json.loads(blob(image, manifest["config"]))
    layer = manifest["layers"][0]
    blob(image, layer)
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    assert config["config"]["Entrypoint"] == ["/usr/bin/nuncio"]
    (docker,) = json.loads((image / "manifest.json").read_text())
    assert docker == {"Config": "blobs/" + manifest["config"]["digest"].replace(":", "/"),
                      "RepoTags": ["nuncio:1.2.3", "nuncio:latest"],
                      "Layers": ["blobs/" + layer["digest"].replace(":", "/")]}


@pytest.mark.skipif(bool(WRAPPER), reason="what wraps nuncio is not in the image")
def test_it_is_all_there(image, web):
    """Configured by its environment alone; a registry over HTTP and DNS needs the most libraries, and is tried."""
    (docker,) = json.loads((image / "manifest.json").read_text())
    root = web.path / "root"
    root.mkdir()
    with tarfile.open(image / docker["Layers"][0]) as tar:
        tar.extractall(root)
    (root / "etc/nuncio/services.json").write_text(web.registry.path.read_text())
    inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ASAN_OPTIONS=detect_leaks=0", "NUNCIO_REGISTRY=file:/etc/nuncio/services.json",
              "NUNCIO_LINKS=9000=web 9001=db,registry=etcd://etcd.invalid/", "unshare", "--mount", "sh", "-c",
              f"mkdir {root}/proc && mount -t proc proc {root}/proc && exec chroot {root} /usr/bin/nuncio run --once"]
    done = subprocess.run(web.app.command(*inside), capture_output=True, text=True, timeout=120)
    assert done.returncode == 5, done.stderr  # no answer of etcd
    assert "etcd.invalid" in done.stderr
    assert web.app.reaches("127.0.0.1:9000")
