"""The public data sets that `sfumato data fetch` knows: where they lie, their terms, their sums.

What stands here was published with the sets: sizes and MD5 sums are those that their publishers,
or the libraries that have fetched them for years, state.  No SHA-256 is stated for any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sfumato.data.online.download import Digest
from sfumato.errors import SfumatoError
from sfumato.locale import translate


@dataclass(frozen=True)
class Remote:
    """One file of a data set.

    Attributes:
        name: what it is called here.
        size: in bytes.
        digest: what it hashes to.
        folders: addresses it lies at, without its name; the next is asked when one fails.
    """

    name: str
    size: int
    digest: Digest
    folders: tuple[str, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """All its addresses."""
        return tuple(f"{folder}/{self.name}" for folder in self.folders)


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: what to write where DATA is asked for.
        title: key of the message that says what it holds.
        terms: key of the message with its licence or terms.
        page: where its publisher describes it.
        files: what is downloaded; empty where that is left to the user.
        unpacked: bytes it takes in the end; 0 if the files are used as they come.
        members: upper bound of the files inside an archive.
        how: key of the message that says how to get it, where ``files`` is empty.
        aliases: other names for it.
    """

    name: str
    title: str
    terms: str
    page: str
    files: tuple[Remote, ...] = ()
    unpacked: int = 0
    members: int = 0
    how: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


def _idx(folders: tuple[str, ...], *files: tuple[str, int, str]) -> tuple[Remote, ...]:
    return tuple(
        Remote(f"{stem}-ubyte.gz", size, Digest("md5", md5), folders) for stem, size, md5 in files
    )


CATALOGUE = (
    Entry(
        "mnist",
        "fetch.mnist",
        "fetch.mnist.terms",
        "http://yann.lecun.com/exdb/mnist/",
        _idx(
            (
                "https://storage.googleapis.com/cvdf-datasets/mnist",
                "https://ossci-datasets.s3.amazonaws.com/mnist",
            ),
            ("train-images-idx3", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("train-labels-idx1", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            ("t10k-images-idx3", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            ("t10k-labels-idx1", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    Entry(
        "fashion-mnist",
        "data.fashion",
        "fetch.fashion.terms",
        "https://github.com/zalandoresearch/fashion-mnist",
        _idx(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            ),
            ("train-images-idx3", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    Entry(
        "cifar10",
        "fetch.cifar10",
        "fetch.cifar10.terms",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (
            Remote(
                "cifar-10-binary.tar.gz",
                170_052_171,
                Digest("md5", "c32a1d4ab5d03f1284b67883e8d87530"),
                ("https://www.cs.toronto.edu/~kriz",),
            ),
        ),
        unpacked=185_000_000,
        members=100,
        aliases=("cifar-10",),
    ),
    Entry(
        "tiny-imagenet",
        "fetch.tiny",
        "fetch.tiny.terms",
        "http://cs231n.stanford.edu/",
        (
            Remote(
                "tiny-imagenet-200.zip",
                248_100_043,
                Digest("md5", "90528d7ca1a48142e341f4ef8d21d0de"),
                ("http://cs231n.stanford.edu",),
            ),
        ),
        unpacked=600_000_000,  # 240 MB in 120,000 files, each of which takes whole blocks
        members=200_000,
    ),
    Entry(
        "flickr30k",
        "fetch.flickr",
        "fetch.flickr.terms",
        "https://shannon.cs.illinois.edu/DenotationGraph/",
        how="fetch.flickr.how",
    ),
    Entry(
        "clipart",
        "fetch.clipart",
        "fetch.clipart.terms",
        "https://openclipart.org/",
        how="fetch.clipart.how",
        aliases=("openclipart",),
    ),
)
"""All of them."""


def entry(name: str) -> Entry:
    """The data set of a name.

    Raises:
        SfumatoError: it is not known; the nearest name is offered.
    """
    known = {one: found for found in CATALOGUE for one in (found.name, *found.aliases)}
    if name.lower() in known:
        return known[name.lower()]
    names = [found.name for found in CATALOGUE]
    near = get_close_matches(name.lower(), known, n=1)
    hint = translate("fetch.near", name=repr(near[0])) + " " if near else ""
    said = translate("fetch.unknown", name=repr(name), hint=hint, known=", ".join(names))
    raise SfumatoError(said)


def lies_at(found: Entry) -> Path | None:
    """Where the loader of a data set would find it on this machine, None if nowhere."""
    if found.name == "mnist":
        from sfumato.data.sources.idx import find_mnist

        return find_mnist()
    if found.name == "fashion-mnist":
        from sfumato.data.sources.idx import find_fashion_mnist

        return find_fashion_mnist()
    if found.name == "cifar10":
        from sfumato.data.sources.cifar import find_cifar

        return find_cifar()
    if found.name == "tiny-imagenet":
        from sfumato.data.sources.tiny_imagenet import find_tiny_imagenet

        return find_tiny_imagenet()
    if found.name == "flickr30k":
        from sfumato.data.sources.flickr import find_flickr

        return find_flickr()
    from sfumato.data.sources.clipart import find_clipart

    return find_clipart()
