#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/*.txt, with hashes and without the name of any host.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_CUSTOM_COMPILE_COMMAND="make lock"
lock() {
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --output-file "requirements/$1.txt" "${@:2}"
}
echo "uv>=0.13" | lock uv -
# One resolution for everything, so that no two sets disagree.
lock dev --group dev --extra all pyproject.toml
# Hatchling and editables install this project itself, without a download at build time.
printf 'hatchling\neditables\n' | lock run --constraint requirements/dev.txt --extra all pyproject.toml -
# Connectors need the contracts and what they deliver with, nothing of ours.
printf 'aiosmtplib\ngoogleapis-common-protos\ngrpcio\nprotobuf\n' | lock connectors --constraint requirements/dev.txt -
for service in ingest profile segment recommend render training; do
  lock "$service" --constraint requirements/dev.txt --extra "$service" pyproject.toml
done
