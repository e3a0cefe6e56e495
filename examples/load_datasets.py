"""Fetch a public data set: its licence first, then size, download, checksum, unpacking.

    python examples/load_datasets.py --dataset tiny-imagenet

The same as `sfumato data fetch tiny-imagenet`. Flickr30k is given away by its makers on request
only, so there it tells where to ask and where to put the files.
"""

import argparse
from collections.abc import Sequence

from sfumato.data.online.catalogue import CATALOGUE
from sfumato.interfaces.cli.app import app


def main(argv: Sequence[str] | None = None) -> None:
    """Hand the name over to `sfumato data fetch`; ends the process with its exit code."""
    known = [entry.name for entry in CATALOGUE]
    parser = argparse.ArgumentParser(description="Fetch a public data set.")
    parser.add_argument("--dataset", default="flickr30k", help=f"one of {', '.join(known)}")
    parser.add_argument("--output_dir", help="where to; by default where trainings look for it")
    parser.add_argument("--mirror", help="an address that holds the files under their names")
    parser.add_argument("--yes", action="store_true", help="the terms are known; do not ask")
    args = parser.parse_args(argv)
    command = ["data", "fetch", args.dataset]
    command += ["--output", args.output_dir] if args.output_dir else []
    command += ["--mirror", args.mirror] if args.mirror else []
    command += ["--yes"] if args.yes else []
    app(command, prog_name="sfumato")


if __name__ == "__main__":
    main()
