# SPDX-License-Identifier: GPL-3.0-or-later
# The commands of a checkout. `make demo` and `make test` do their own set-up.

TARGET   := x86_64-unknown-linux-gnu
DIST     := target/dist
PREFIX   ?= /usr/local
DEMO     := target/demo
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PACKAGES := cpio curl e2fsprogs fdisk gcc git iproute2 libc6-dev libssl-dev libvirt-dev make mmdebstrap nftables \
            openssh-client openssl ovmf pkg-config python3 qemu-system-x86 strace uidmap xfsprogs

export DOMUS_BIN = $(abspath $(DIST)/bin/domus)

.PHONY: help setup setup-tests build install demo test lint soak bench bench-peer bench-start fuzz clean

help:
	@echo 'make demo      build a fleet from the template, its image and ISO, and boot it in QEMU'
	@echo 'make test      every check and test, real boots included (as root: loop devices)'
	@echo 'make soak      the same, all media and a mirror; 20,000 cases a property, 60 power cuts, 50 kills'
	@echo 'make bench     the benchmarks; results go to docs/benchmarks.md by hand'
	@echo 'make bench-peer  beside live-build: builds, and boots to the last domU (as root)'
	@echo 'make bench-start  starts of domUs beside xl and virsh, emulated (as root)'
	@echo 'make fuzz      each parser for $$FUZZ_SECONDS (60), with a nightly compiler and cargo-fuzz'
	@echo 'make build     the programs, in $(DIST)'
	@echo 'make install   the programs, in $$PREFIX ($(PREFIX))'

# Debian packages that are missing are installed; nothing is done if there are none.
setup:
	@missing=$$(for p in $(PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing: $$missing"; \
	    $(SUDO) apt-get update -q && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi

# An SSH server for tests: taken apart, not installed, so that none runs on this machine.
SSHD := target/sshd
# They compute little: to optimise them takes longer than they run. What is left out updates nextest.
TOOL := CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug
setup-tests: setup
	@[ -x $(SSHD)/usr/sbin/sshd ] || { mkdir -p $(SSHD) && cd $(SSHD) && \
	    { apt-get -q download openssh-server libwrap0 || { $(SUDO) apt-get update -q && \
	      apt-get -q download openssh-server libwrap0; }; } && \
	    for deb in *.deb; do dpkg -x $$deb . || exit 1; done; }
	@cargo nextest --version >/dev/null 2>&1 || $(TOOL) --no-default-features cargo-nextest
	@cargo deny --version >/dev/null 2>&1 || $(TOOL) cargo-deny

# What runs before any library is there, or beside libxl in a hurry, is static. libvirt is not.
# `domus` fetches nothing: built together with the agent it would get libgit2 with TLS, which reads
# all certificates of this machine at each start (50 ms).
build: setup
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target $(TARGET) \
	    --target-dir target/static -p domus-boot -p domus-hotplug
	cargo build --release -p domus
	cargo build --release -p domus-dom0
	install -D -t $(DIST)/bin target/release/domus
	install -D -t $(DIST)/lib/domus target/release/domus-dom0 \
	    target/static/$(TARGET)/release/domus-boot target/static/$(TARGET)/release/domus-hotplug

install: build
	$(SUDO) install -D -t $(PREFIX)/bin $(DIST)/bin/domus
	$(SUDO) install -D -t $(PREFIX)/lib/domus $(DIST)/lib/domus/*

demo: build
	tests/demo.sh $(DEMO)

lint: setup-tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --locked check bans licenses sources

test: lint build
	cargo nextest run --workspace --locked

soak: build setup-tests
	cargo check --manifest-path fuzz/Cargo.toml
	PROPTEST_CASES=20000 DOMUS_CUTS=60 DOMUS_KILLS=50 cargo nextest run --profile soak --workspace --locked

bench: build setup-tests
	tests/bench/run.sh
	tests/bench/fleet.sh
	python3 tests/bench/reconcile.py $(DIST)/lib/domus/domus-dom0

# Another builder of live media, which it asks for if it is not there. An hour and more.
bench-peer: build
	tests/bench/peer.sh

# In one dom0, which it builds and boots. An hour and more.
bench-start: build
	python3 tests/bench/start.py $(DIST)/bin/domus target/start

FUZZ_SECONDS ?= 60
fuzz: setup
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@for target in documents layers words xl trust git-tree packs; do \
	    mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target && \
	    cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 || exit 1; \
	done

clean:
	cargo clean
