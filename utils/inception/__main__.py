"""Fetch the weights of the 2015 Inception graph, or convert them.

python -m utils.inception --download
python -m utils.inception --convert FILE --output FILE
"""

import os
from pathlib import Path

import torch

from utils.cli import Parser, UserError, run_script
from utils.inception.files import (
    TGZ_BYTES,
    TGZ_URL,
    cached_archive,
    download,
    read_weights,
    write_safetensors,
)


def convert(source, output):
    """Write the Inception weights in `source` as `output`: .pth (torch-fidelity's form) or .safetensors."""
    output = Path(output)
    if output.suffix not in (".pth", ".safetensors"):
        raise UserError(f"--output: {output} must end in .pth or .safetensors")
    tensors, _ = read_weights(source)
    try:
        if output.suffix == ".safetensors":
            write_safetensors(tensors, output)
        else:
            part = output.with_name(f"{output.name}.{os.getpid()}.part")
            torch.save(tensors, part)
            os.replace(part, output)
    except (OSError, RuntimeError) as error:
        raise UserError(f"--output: {output} cannot be written ({str(error).splitlines()[0]})") from None


def main():
    parser = Parser(
        prog="python -m utils.inception",
        description="Fetch or convert the weights of the 2015 Inception graph.",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--download", action="store_true", help=f"fetch {TGZ_URL} ({TGZ_BYTES:,} bytes)")
    action.add_argument(
        "--convert", metavar="FILE", help="read a .pb, .tgz, .pth or .safetensors and write it as --output"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file to write; for --download by default in the cache, where it is found again",
    )
    parser.add_argument("--url", default=TGZ_URL, help="where --download fetches the archive from")
    options = parser.parse_args()
    if options.convert is not None and not options.output:
        raise UserError("--output: --convert needs a file to write, ending in .pth or .safetensors")
    path = Path(options.output or cached_archive())
    try:
        if options.convert is not None:
            convert(options.convert, path)
        elif options.output and path.exists():
            raise UserError(f"--output: {path} exists; delete it or name another file")
        else:
            download(options.url, path, expected_bytes=TGZ_BYTES, check=read_weights)
    except UserError as error:
        raise UserError(
            str(error).replace("--inception_path:", "--download:" if options.download else "--convert:")
        ) from None
    _, sha256 = read_weights(path)
    print(f"{path}: the 2015 Inception network, sha256 {sha256}; use it with --inception_path {path}")


if __name__ == "__main__":
    run_script(main)
