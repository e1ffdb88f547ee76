# make demo    environment, install, then the three commands (DCGAN, pix2pix) on the built-in phantom set
#              -> out/demo/report/report.html, and the two for labelled images (DCGAN, VGG16) on the built-in X-rays
#              -> out/demo_xray/report/report.html
# make test    environment, install, the whole test suite (PYTEST_FLAGS="-m 'not slow'" for the quick part)
# make clean   removes the environment and what the demo made; data and other output stay
#
# PYTHON=/path/to/python3.11 names the Python to use.

VENV := .venv
DEMO := out/demo
DEMO_SIZE := 64
DEMO_STAGE1_STEPS := 1200
DEMO_STAGE2_STEPS := 1000
DEMO_UNET_STEPS := 250
DEMO_REPEATS := 1
DEMO_SAMPLES := 50
DEMO_XRAY := out/demo_xray
DEMO_XRAY_STEPS := 1500
DEMO_VGG_STEPS := 50
PYTEST_FLAGS :=

BIN := $(VENV)/bin
# One file for Python 3.10 and 3.11 (TensorFlow 2.15), one for 3.12 and 3.13 (the current TensorFlow)
CONSTRAINTS = $$($(BIN)/python -c "import sys; print('constraints.txt' if sys.version_info < (3, 12) else 'constraints-py312.txt')")
PIP = $(BIN)/python -m pip install --disable-pip-version-check --constraint $(CONSTRAINTS)
REQUIREMENTS := setup.py pyproject.toml constraints.txt constraints-py312.txt
IS_SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHONS := $(or $(PYTHON),python3.11 python3.10 python3.12 python3.13 python3 python)
FIND_PYTHON := for python in $(PYTHONS); do \
	"$$python" -c "$(IS_SUPPORTED)" 2>/dev/null && echo "$$python" && break; done

.PHONY: demo test clean
.NOTPARALLEL:

demo: $(VENV)/.installed
	$(BIN)/python train_stage1.py --data=phantom --out_dir=$(DEMO) --image_size=$(DEMO_SIZE) --steps=$(DEMO_STAGE1_STEPS) \
		--num_samples=$(DEMO_SAMPLES)
	$(BIN)/python train_stage2.py --data=phantom --out_dir=$(DEMO) --steps=$(DEMO_STAGE2_STEPS)
	$(BIN)/python evaluate.py --synthetic_dir=$(DEMO) --unet_steps=$(DEMO_UNET_STEPS) --repeats=$(DEMO_REPEATS)
	$(BIN)/python train_stage1.py --data=phantom_xray --labels=18-68 --target=image --out_dir=$(DEMO_XRAY) \
		--image_size=$(DEMO_SIZE) --steps=$(DEMO_XRAY_STEPS)
	$(BIN)/python evaluate.py --synthetic_dir=$(DEMO_XRAY) --models=vgg16 --vgg_steps=$(DEMO_VGG_STEPS) --repeats=$(DEMO_REPEATS)

# TensorFlow uses all cores by itself; a second process fills them where a test does not.
test: $(VENV)/.installed-for-tests
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

clean:
	rm -rf $(VENV) $(DEMO) $(DEMO_XRAY) build synthmed_tf.egg-info .pytest_cache .ruff_cache

$(VENV)/.installed: $(REQUIREMENTS)
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "no Python 3.10 to 3.13 with venv among $(PYTHONS): get one by 'apt install python3.11-venv', 'brew\
 install python@3.11' or 'pyenv install 3.11', or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	echo "Environment $(VENV) with $$("$$python" --version); installing (TensorFlow is some 500 MB) ..."; \
	"$$python" -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(PIP) --editable .[test,tfds,notebooks,dicom,wsi]
	touch $@
