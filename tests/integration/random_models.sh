#!/bin/sh
# The generated model folders are, byte for byte, those that the committed vectors were made from.
#   random_models.sh MAKE_RANDOM_MODEL     run in the project's root; the argument is the built tests/tools/make_random_model.c
set -eu
tool=$1
sums=$PWD/tests/fixtures/models/SHA256SUMS
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in $("$tool" --list); do
  "$tool" "$name" "$scratch/$name"
  grep "  $name/" "$sums" > "$scratch/expected"
  (cd "$scratch" && sha256sum --check --quiet expected)
  rm -rf "${scratch:?}/$name"
done
