"""Starts the service: python -m services.segment --role serve|consume|relay|migrate|all."""

import sys

from libs import hosting
from services.segment.app import run
from services.segment.settings import Settings

if __name__ == "__main__":
    sys.exit(hosting.main(Settings, run))
