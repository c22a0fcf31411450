# make            builds the plugin, the settings module (Dovecot 2.4), the tool and its man pages
# make install    installs them; DESTDIR is honoured
# make try        shows it at work in a private Dovecot; MAIL=file.eml takes a message of yours
# make test       runs all tests
# make fuzz       looks for input that breaks it; TIME=seconds for each target, TARGETS="header encrypt"
# make bench      measures deliveries, and writes doc/benchmark.md (cargo bench: the core alone)
# make test-hosts runs the tests on other Debian releases, in chroots (as root)

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET)/release
FEATURES = plugin,tool
TEST_FEATURES = $(FEATURES),inject-panic
# Postfix runs as root only, and so do the tests with it.
NOT_ROOT = $(filter-out 0,$(shell id -u))
HOSTS ?= trixie

DOVECOT_CONFIG ?= $(firstword $(wildcard /usr/lib/dovecot/dovecot-config /usr/lib64/dovecot/dovecot-config \
	/usr/local/lib/dovecot/dovecot-config))
PREFIX ?= /usr/local
MODULEDIR ?= $(shell . $(DOVECOT_CONFIG) && echo $$dovecot_moduledir)
PLUGIN = lib90_sieve_perot_encrypt_plugin.so
SETTINGS = libsieve_perot_encrypt_settings.so

.PHONY: all rust deps test-deps try test test-library test-dovecot test-hosts fuzz bench install lint clean

all: rust
	$(CARGO) build --locked --release --features $(FEATURES),man
	$(RELEASE)/perot-encrypt-man $(RELEASE)/man

rust:
	@tests/need-rust

deps: rust
	@tests/install-missing tests/packages

test-deps: rust
	@tests/install-missing tests/packages tests/packages.tests
	@tests/unpack-missing $(TARGET)/mta postfix exim4-daemon-light

# The old recipe is measured with GPGIT=/path/to/gpgit.pl (which wants libmail-gnupg-perl and libmime-tools-perl), or
# with a stand-in that runs gpg.
bench: deps
	$(CARGO) run --locked --release --features plugin --example bench

try: deps
	@$(CARGO) build --locked --quiet --features $(TEST_FEATURES)
	@$(CARGO) run --locked --quiet --features $(TEST_FEATURES) --example try -- $(MAIL)

test: test-deps lint test-library test-dovecot

# Needs neither Dovecot nor its headers.
test-library: rust
	$(CARGO) test --locked

test-dovecot: test-deps
	$(CARGO) test --locked --features $(TEST_FEATURES) $(if $(NOT_ROOT),-- --skip postfix)
	@test -z "$(NOT_ROOT)" || echo "Not run, because they need root: the tests with Postfix"

test-hosts: rust
	tests/hosts $(HOSTS)

fuzz: rust
	@tests/install-missing tests/packages tests/packages.fuzz
	TIME="$(TIME)" TARGETS="$(TARGETS)" CARGO="$(CARGO)" fuzz/run

lint: rust
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features $(TEST_FEATURES) -- -D warnings

install:
	@test -e $(RELEASE)/libperot_encrypt.so || { echo "Build it first: make" >&2; exit 1; }
	@test -n "$(MODULEDIR)" || { echo "Where are Dovecot's modules? apt install dovecot-dev, or say MODULEDIR=..." >&2; exit 1; }
	install -D -m 0644 $(RELEASE)/libperot_encrypt.so $(DESTDIR)$(MODULEDIR)/sieve/$(PLUGIN)
	if test -e $(RELEASE)/$(SETTINGS); then \
		install -D -m 0644 $(RELEASE)/$(SETTINGS) $(DESTDIR)$(MODULEDIR)/settings/$(SETTINGS); fi
	install -D -m 0755 $(RELEASE)/perot-encrypt $(DESTDIR)$(PREFIX)/bin/perot-encrypt
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(RELEASE)/man/*.1

clean:
	$(CARGO) clean
