# Each target sets up what it needs: a virtual environment in .venv, a torch without CUDA, this package.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(abspath $(VENV))/bin
READY = $(VENV)/ready
AUDIOCRAFT = $(abspath build/audiocraft)
AUDIOCRAFT_SRC ?= $(AUDIOCRAFT)/audiocraft-1.3.0

.PHONY: demo test test-system test-audiocraft test-slurm torture bench screenshots lint wheel clean

demo: $(READY)  ## Train the demo project, export it, export it again by its signature, load the release.
	rm -rf build/demo && mkdir -p build/demo
	cd build/demo && $(BIN)/dora -P audiocraft_export.demo run export=true
	cd build/demo && $(BIN)/audiocraft-export run $$(ls outputs/xps)
	cd build/demo && $(BIN)/python -c "import glob, torch; \
	    package = torch.load(glob.glob('outputs/xps/*/export/state_dict.bin')[0], weights_only=True); \
	    print('loaded:', list(package), len(package['best_state']), 'tensors')"

test: $(READY)  ## Run the tests of the package: some 5 minutes.
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-system: $(READY)  ## Run the tests of the whole: the demo, all commands of the pages, hostile files, attacks.
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/demo tests/system tests/torture

test-audiocraft: $(AUDIOCRAFT)/ready  ## Train, export and load with real AudioCraft: 1.3.0, or the checkout AUDIOCRAFT_SRC.
	AUDIOCRAFT_SRC=$(AUDIOCRAFT_SRC) PYTHONPATH=$(AUDIOCRAFT_SRC):$(CURDIR) OMP_NUM_THREADS=1 \
	    $(AUDIOCRAFT)/venv/bin/python -m pytest -n 2 --dist loadfile --disable-warnings tests/audiocraft

test-slurm: $(READY) $(AUDIOCRAFT)/ready  ## Train and export on Slurm: this machine's, or one node of our own.
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs tests/slurm
	AUDIOCRAFT_SRC=$(AUDIOCRAFT_SRC) PYTHONPATH=$(AUDIOCRAFT_SRC):$(CURDIR) \
	    $(AUDIOCRAFT)/venv/bin/python -m pytest -rs --disable-warnings tests/slurm/test_audiocraft.py

torture: $(READY)  ## Attack, damage and kill: the figures of docs/guarantees.md; for all of them as root, with strace.
	mkdir -p build && cd tests && $(BIN)/python -m torture --out $(CURDIR)/build/torture.md

bench: $(READY)  ## Measure against cp, AudioCraft and safetensors: some 10 minutes, 20 GB; writes benchmarks/RESULTS.md.
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks

screenshots: $(READY)  ## Draw `list` and `inspect` of some trainings of the demo: docs/list.svg, docs/inspect.svg.
	rm -rf build/screenshots
	$(BIN)/python docs/screenshots.py build/screenshots

lint: $(READY)  ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: $(READY)  ## Build the wheel and run the demo from it, in an environment and a folder of its own.
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet $(TORCH)
	build/wheel/venv/bin/pip install --quiet build/wheel/*.whl
	cd build/wheel/empty && ../venv/bin/dora -P audiocraft_export.demo run export=true exporter=float16
	cd build/wheel/empty && ../venv/bin/audiocraft-export run $$(ls outputs/xps) --json
	cd build/wheel/empty && ../venv/bin/python -c "import audiocraft_export, glob, torch; \
	    assert 'site-packages' in audiocraft_export.__file__; \
	    assert torch.load(glob.glob('outputs/xps/*/export/state_dict.bin')[0])['exported']"

clean:
	rm -rf $(VENV) build dist outputs .mypy_cache .pytest_cache .ruff_cache

$(AUDIOCRAFT)/ready: tests/audiocraft/setup.sh tests/audiocraft/requirements.txt tests/audiocraft/torch-2.13.txt
	tests/audiocraft/setup.sh $(AUDIOCRAFT) $(PYTHON) torch-2.13.txt
	touch $@

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
