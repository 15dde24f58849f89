# The front door. Everything is built by CMake (CMakePresets.json); each target here is one thing that a person wants.

SECONDS ?= 60
PREFIX  ?= /usr/local
CTEST   := ctest --test-dir build --output-on-failure --parallel $(shell nproc)

.PHONY: menu demo build test check emu cuda-toolkit gpu bench lint fuzz reference install clean tests base toolkit

menu:
	@echo 'recto: text in, vectors out, inside a byte budget, with the same bits every time'
	@echo
	@echo '  make demo        set up, build, fetch a model, search a small corpus        (first of all)'
	@echo '  make build       build/recto and build/librecto.a'
	@echo '  make test        set up and run all tests, sanitizers and fuzz targets too  (minutes)'
	@echo '  make check       build and run the fast tests                               (while working)'
	@echo '  make emu         build/emu/recto, whose device "cuda" is an emulator; needs no GPU'
	@echo '  make cuda-toolkit get the CUDA compiler where this machine has none         (105 MB)'
	@echo '  make gpu         all that only a GPU can tell: cases, sanitizer, benchmarks  (PARTS=...)'
	@echo '  make bench       recto and its peers, interleaved; build/bench/results.json'
	@echo '  make lint        the rules that scripts can check'
	@echo '  make fuzz        fuzz each loader for SECONDS=$(SECONDS)'
	@echo '  make reference   make the golden values anew and compare'
	@echo '  make install     into PREFIX=$(PREFIX), below DESTDIR if set'
	@echo '  make clean       empty build/, but for the Python environments of bench and reference'

demo: build
	@weights/fetch all-minilm-l6-v2
	@scripts/demo

build: base build/build.ninja
	@cmake --build build --target recto recto_archive

test: toolkit tests
	@weights/fetch all-minilm-l6-v2
	@cmake --build build
	@scripts/test

check: tests
	@cmake --build build
	@$(CTEST) --label-regex '^fast$$'

emu: tests
	@cmake --build build --target recto_emu

cuda-toolkit:
	@scripts/setup cuda
	@scripts/cuda_toolkit

gpu:
	@scripts/gpu $(PARTS)

bench: build
	@cmake --build build --target recto-bench
	@weights/fetch all-minilm-l6-v2
	@$$(scripts/venv peers) profiling/bench.py

lint: build
	@sh tests/lint/includes.sh .
	@sh tests/lint/style.sh .
	@sh tests/lint/symbols.sh build/librecto.a
	@if command -v shellcheck >/dev/null; then shellcheck $$(git ls-files '*.sh' scripts .ci weights/fetch); fi

fuzz:
	@scripts/setup test
	@scripts/fuzz $(SECONDS)

reference: tests
	@weights/fetch all-minilm-l6-v2
	@cmake --build build
	@scripts/reference

install: build
	@DESTDIR='$(DESTDIR)' cmake --install build --prefix '$(PREFIX)'

clean:
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name 'venv-*' -exec rm -rf {} +

# ---- what the targets above stand on ----

base:
	@scripts/setup base

build/build.ninja:
	@cmake --preset release --log-level=NOTICE -DRECTO_BUILD_TESTS=OFF

# CUDA's kernels are compiled in every test run, and what the compiler made of them is looked at.
toolkit:
	@scripts/setup test
	@scripts/cuda_toolkit compiler > /dev/null
	@scripts/cuda_toolkit disassembler > /dev/null

# Whoever tests wants no warning; whoever only builds, perhaps with another compiler, is not stopped by one.
tests:
	@scripts/setup test
	@cmake --preset release --log-level=NOTICE -DRECTO_BUILD_TESTS=ON -DCMAKE_COMPILE_WARNING_AS_ERROR=ON
