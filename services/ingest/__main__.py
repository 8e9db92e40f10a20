"""Starts the service: python -m services.ingest --role serve|consume|relay|migrate|all."""

import sys

from libs import hosting
from services.ingest.app import run
from services.ingest.settings import Settings

if __name__ == "__main__":
    sys.exit(hosting.main(Settings, run))
