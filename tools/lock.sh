#!/bin/sh
# Renews both lock files (needs `uv`). Neither may hold the address of a registry.
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet"
${UV:-uv} pip compile pyproject.toml --all-extras $common "$@" -o requirements.lock
${UV:-uv} pip compile pyproject.toml --all-extras --group dev $common "$@" -c requirements.lock -o requirements-dev.lock
