"""Starts the service: python -m services.render --role serve|consume|relay|migrate|all."""

import sys

from libs import hosting
from services.render.app import run
from services.render.settings import Settings

if __name__ == "__main__":
    sys.exit(hosting.main(Settings, run))
