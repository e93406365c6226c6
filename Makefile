# objrmap: the front door. `make help` says what there is. The module's own build is in Kbuild, which the kernel's
# build system reads in preference to this file, so `make -C KDIR M=$PWD` works as well.

KDIR ?= /lib/modules/$(shell uname -r)/build
SECONDS ?= 60
JOBS ?= $(shell nproc)
# Bash counts the time of a script in a variable of this name.
unexport SECONDS

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := all
.SUFFIXES:

.PHONY: help
help:
	@echo 'objrmap: object-based reverse mapping for a private memory pool, as a Linux module'
	@echo
	@echo 'Whatever a target lacks it installs first (apt, no questions). Output goes to build/.'
	@echo
	@sed -n 's/^## \([a-z-]*\): \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'Variables: KDIR=DIR (kernel build directory; default: of the running kernel), SECONDS=N, JOBS=N,'
	@echo '           INSTALL_MOD_PATH=DIR, OBJRMAP_CACHE=DIR (kernels; default ~/.cache/objrmap)'
	@echo
	@echo 'Any command in the guest:  qemu/vm [--kernel stock|debug|bench] -- COMMAND   (qemu/vm --help)'

## demo: the main job in one command: real processes on the pool, and who maps a page
.PHONY: demo
demo:
	@scripts/setup demo
	@scripts/demo

## test: all tests: hosted, KUnit in the guest, selftests in the guest
.PHONY: test
test:
	@scripts/setup test
	@scripts/test

## test-host: the fast loop: the core under ASan and UBSan on this machine
.PHONY: test-host
test-host:
	@scripts/setup test-host
	@scripts/test-host

## tsan: the same under the thread sanitizer
.PHONY: tsan
tsan:
	@scripts/setup tsan
	@scripts/test-host --variant tsan

## lint: formatting, static checks, shellcheck
.PHONY: lint
lint:
	@scripts/setup lint
	@scripts/lint

## coverage: which test proves which line of kunit/spec.md: build/spec-coverage.md
.PHONY: coverage
coverage:
	@scripts/spec-coverage

## vm: a shell in a guest with the module loaded, and the programs ADD="..."
.PHONY: vm
vm:
	@scripts/setup vm
	@qemu/vm $(addprefix --add ,$(ADD))

## stress: many processes at random for SECONDS (60) on the debug kernel
.PHONY: stress
stress:
	@scripts/setup test
	@scripts/stress --seconds $(SECONDS)

# A module for whatever kernel KDIR names. Its objects live in build/, see scripts/build-module.
.PHONY: kdir
kdir:
	@scripts/setup module
	@test -f $(KDIR)/Makefile || { \
		echo 'make: no kernel build directory $(KDIR).' >&2; \
		echo '  For the running kernel: apt-get install linux-headers-$(shell uname -r)' >&2; \
		echo '  For another one:        make KDIR=/usr/src/linux-headers-...' >&2; \
		echo '  For the stock cloud kernel that the guest runs: scripts/build-module stock' >&2; exit 1; }

## all: objrmap.ko for the running kernel or KDIR (the default)
.PHONY: all modules
all modules: kdir
	@scripts/build-module --jobs $(JOBS) dir:$(KDIR)

# Only who has the kernel's own key can sign; without it the attempt would only print errors.
unsigned = $(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=)

## install: install that module under /lib/modules and run depmod
.PHONY: install modules_install
install modules_install: kdir
	@module=$$(scripts/build-module --jobs $(JOBS) dir:$(KDIR)) && \
		$(MAKE) -C $(KDIR) M="$$(dirname "$$module")" $(unsigned) modules_install && \
		release=$$(modinfo -F vermagic "$$module") && \
		depmod $(if $(INSTALL_MOD_PATH),-b $(INSTALL_MOD_PATH)) -a "$${release%% *}"

## setup: install what all targets need, now
.PHONY: setup
setup:
	@scripts/setup all

## clean: remove build/ (cached kernels stay, see OBJRMAP_CACHE)
.PHONY: clean
clean:
	rm -rf build
