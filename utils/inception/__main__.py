"""Download the weights of the 2015 Inception graph, or convert them.

python -m utils.inception --download
python -m utils.inception --convert FILE --output FILE
"""

from pathlib import Path

from utils.cli import Parser, UserError, run_script
from utils.inception.download import TGZ_BYTES, TGZ_URL, cached_archive, download
from utils.inception.files import convert, read_weights


def main():
    options = parse()
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
        action = "--download:" if options.download else "--convert:"
        raise UserError(str(error).replace("--inception_path:", action)) from None
    _, sha256 = read_weights(path)
    print(f"{path}: the 2015 Inception network, sha256 {sha256}; use it with --inception_path {path}")


def parse():
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
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
