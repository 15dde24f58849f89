#!/bin/sh
# tree.sh PRESET FOLDER: configures and builds the project into FOLDER by a preset of CMakePresets.json.
set -eu
cmake --preset "$1" -B "$2" --log-level=WARNING
cmake --build "$2"
