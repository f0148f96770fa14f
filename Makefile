# Each target first installs what it needs into .venv: torch and this package, and for tests and lint also `[dev]`.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN = $(abspath $(VENV))/bin
INSTALLED = $(VENV)/installed
READY = $(VENV)/ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1
AUDIOCRAFT = $(abspath build/audiocraft)
SCANNERS = $(abspath build/scanners)
AUDIOCRAFT_SRC ?= $(AUDIOCRAFT)/audiocraft-1.3.0

.PHONY: help demo test test-system test-scanners test-audiocraft test-slurm torture bench docs screenshots lint wheel clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED)  ## Train a small model, export it, load the release, show the next commands.
	@rm -rf build/demo
	@$(BIN)/python -m audiocraft_export.demo build/demo

test: $(READY)  ## Run the tests of the package (about 5 minutes).
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-system: $(READY)  ## Run the system tests: the demo, all commands in the docs, hostile files, attacks.
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/demo tests/system tests/torture

test-scanners: $(READY) $(SCANNERS)/ready  ## Scan releases with picklescan, modelscan and fickling.
	PATH=$(SCANNERS)/bin:$$PATH PYTHONPATH=$(SCANNERS):$(CURDIR) $(BIN)/python -m pytest tests/scanners

# Not the files with most tests first: those of the longest tests, the pages, would be last, and one core idle.
test-audiocraft: $(AUDIOCRAFT)/ready  ## Train, export and load with real AudioCraft (1.3.0, or AUDIOCRAFT_SRC).
	AUDIOCRAFT_SRC=$(AUDIOCRAFT_SRC) PYTHONPATH=$(AUDIOCRAFT_SRC):$(CURDIR) \
	    $(AUDIOCRAFT)/venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --disable-warnings \
	    tests/audiocraft

test-slurm: $(READY) $(AUDIOCRAFT)/ready  ## Train and export on Slurm: the installed one, or a temporary node.
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs tests/slurm
	AUDIOCRAFT_SRC=$(AUDIOCRAFT_SRC) PYTHONPATH=$(AUDIOCRAFT_SRC):$(CURDIR) \
	    $(AUDIOCRAFT)/venv/bin/python -m pytest -rs --disable-warnings tests/slurm/test_audiocraft.py

torture: $(READY)  ## Attack, damage and kill exports, for docs/guarantees.md; complete only as root, with strace.
	mkdir -p build && cd tests && $(BIN)/python -m torture --out $(CURDIR)/build/torture.md

bench: $(READY)  ## Benchmark against cp, AudioCraft and safetensors (25 minutes, 20 GB): benchmarks/RESULTS.md.
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks

docs: $(INSTALLED)  ## Build the documentation site into build/site; a broken link or a missing anchor fails it.
	$(BIN)/pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: $(INSTALLED)  ## Draw docs/list.svg and docs/inspect.svg from trainings of the demo.
	rm -rf build/screenshots
	$(BIN)/python docs/screenshots.py build/screenshots

lint: $(READY)  ## Check style, and types on Linux, macOS and Windows.
	$(BIN)/ruff check .
	@for system in linux darwin win32; do echo "mypy --platform $$system"; \
	    $(BIN)/mypy --platform $$system --cache-dir .mypy_cache/$$system || exit 1; done

wheel: $(READY)  ## Build the wheel, and run the demo from it in a separate environment and folder.
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet $(TORCH)
	build/wheel/venv/bin/pip install --quiet build/wheel/*.whl
	cd build/wheel/empty && ../venv/bin/python -m audiocraft_export.demo .
	cd build/wheel/empty && ../venv/bin/dora -P audiocraft_export.demo run export=only exporter=float16
	cd build/wheel/empty && ../venv/bin/audiocraft-export run $$(ls outputs/xps) --json
	cd build/wheel/empty && ../venv/bin/python -c "import audiocraft_export, glob, torch; \
	    assert 'site-packages' in audiocraft_export.__file__; \
	    assert torch.load(glob.glob('outputs/xps/*/export/state_dict.bin')[0])['exported']"

clean:  ## Remove the virtual environment and all that was built.
	rm -rf $(VENV) build dist outputs .mypy_cache .pytest_cache .ruff_cache

$(AUDIOCRAFT)/ready: tests/audiocraft/setup.sh tests/audiocraft/requirements.txt tests/audiocraft/torch-2.13.txt
	tests/audiocraft/setup.sh $(AUDIOCRAFT) $(PYTHON) torch-2.13.txt
	touch $@

$(SCANNERS)/ready: tests/scanners/requirements.txt $(INSTALLED)
	rm -rf $(SCANNERS)
	$(BIN)/pip install --quiet --target $(SCANNERS) --requirement tests/scanners/requirements.txt
	touch $@

$(INSTALLED): pyproject.toml
	@echo "Installing $(TORCH) and this package into $(VENV), once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq $(TORCH)
	@$(BIN)/pip install -qq -e .
	@touch $@

$(READY): $(INSTALLED)
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
