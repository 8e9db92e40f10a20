"""Starts the service: python -m services.profile --role serve|consume|relay|migrate|all."""

import sys

from libs import hosting
from services.profile.app import run
from services.profile.settings import Settings

if __name__ == "__main__":
    sys.exit(hosting.main(Settings, run))
