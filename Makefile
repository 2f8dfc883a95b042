# What people do with this tree. `make` alone lists it.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=

BINDIR   = $(PREFIX)/bin
DATADIR  = $(PREFIX)/share
UNITDIR  = $(PREFIX)/lib/systemd/system
CONFDIR  = $(SYSCONFDIR)/pipelined
TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE  = $(TARGET)/release/pipelined

.DEFAULT_GOAL := help
.PHONY: help demo deps test fuzz bench lint build install

help: ## list the targets
	@echo "pipelined keeps container images built. Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST)
	@echo "Variables: PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) DESTDIR=$(DESTDIR)"

demo: ## show it at work on a sample repository; leaves nothing behind
	@scripts/demo.sh

deps: ## install the Debian packages that the tests use and that are missing
	@scripts/deps.sh test

# Doc tests first, so that the output ends with the closing lines of the runner of all others.
test: deps ## run every test
	cargo test --locked --quiet --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
	  set -x; cargo nextest run --locked --all-targets; \
	else \
	  set -x; cargo test --locked --all-targets; \
	fi

# On any toolchain: without a sanitizer the fuzzer needs no nightly, and there is no unsafe code here to sanitize.
FUZZ_SECONDS ?= 60
fuzz: ## fuzz what parses bytes from the wire or a checkout, FUZZ_SECONDS (60) for each target
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
	cargo build --locked --quiet
	@set -e; for target in $$(cargo fuzz list); do \
	  set -x; PIPELINED=$(abspath $(TARGET))/debug/pipelined \
	    cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=20; \
	  { set +x; } 2>/dev/null; \
	done

# Parts only: cargo bench --locked --bench performance -- http ssh
bench: deps ## measure what it costs, and write the figures to docs/performance.md (a quarter of an hour)
	cargo bench --locked --bench performance

lint: ## check format, lints, documentation and scripts
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
	@if command -v shellcheck >/dev/null; then \
	  set -x; shellcheck .ci/run scripts/*.sh; \
	else \
	  set -x; for f in .ci/run scripts/*.sh; do bash -n "$$f" || exit 1; done; \
	fi

build: ## build the release binary
	cargo build --locked --release

# As root there is often no cargo: then what `make build` left is installed.
install: ## install binary, units, man pages, completions and the example config
	@if command -v cargo >/dev/null; then cargo build --locked --release; \
	elif [ ! -x $(RELEASE) ]; then echo "there is no $(RELEASE): run \`make build\` first" >&2; exit 1; fi
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(BINDIR)/pipelined
	install -d $(DESTDIR)$(DATADIR)/man/man1 $(DESTDIR)$(DATADIR)/bash-completion/completions \
	  $(DESTDIR)$(DATADIR)/zsh/site-functions $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	$(RELEASE) man $(DESTDIR)$(DATADIR)/man/man1
	$(RELEASE) completions bash >$(DESTDIR)$(DATADIR)/bash-completion/completions/pipelined
	$(RELEASE) completions zsh >$(DESTDIR)$(DATADIR)/zsh/site-functions/_pipelined
	$(RELEASE) completions fish >$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/pipelined.fish
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DATADIR)/doc/pipelined
	sed 's|/usr/bin/pipelined|$(BINDIR)/pipelined|; s|/etc/pipelined|$(CONFDIR)|' systemd/pipelined.service \
	  >$(DESTDIR)$(UNITDIR)/pipelined.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/pipelined.service
	install -m 0644 systemd/strict.conf $(DESTDIR)$(DATADIR)/doc/pipelined/strict.conf
	install -D -m 0644 pipelined.toml.example $(DESTDIR)$(CONFDIR)/pipelined.toml.example
	@echo "Next: cp $(CONFDIR)/pipelined.toml.example $(CONFDIR)/pipelined.toml, edit it,"
	@echo "      pipelined check --config $(CONFDIR)/pipelined.toml && systemctl enable --now pipelined"
