"""Starts the service: python -m services.recommend --role serve|consume|relay|migrate|all."""

import sys

from libs import hosting
from services.recommend.app import run
from services.recommend.settings import Settings

if __name__ == "__main__":
    sys.exit(hosting.main(Settings, run))
