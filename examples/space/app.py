"""The page of `vitattn demo` as a Hugging Face Space; the folder `vitattn_widgets` lies beside this file."""

import sys

from vitattn_widgets.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", "--host", "0.0.0.0", "--no-browser", *sys.argv[1:]]))
