# make            builds the plugins, the settings module (Dovecot 2.4), the tool and its man pages
# make install    installs them; DESTDIR is honoured
# make uninstall  removes what make install has installed
# make try        shows it at work in a private Dovecot; MAIL=file.eml takes a message of yours
# make test       runs all tests
# make fuzz       looks for input that breaks it; TIME=seconds for each target, TARGETS="header encrypt"
# make bench      measures deliveries, and writes doc/dev/benchmark.md (cargo bench: the core alone)
# make memcheck   runs the tests with Dovecot under valgrind; ONLY=name for some of them
# make miri       runs the border to C in Miri; needs `rustup +nightly component add miri rust-src`
# make soak       delivers many messages at once, N=2000 or as many as you say, and looks at each
# make keyrings   compares, for Debian's keyrings, what it does with what GnuPG and sq do (doc/dev/keyrings.md)
# make test-hosts runs the tests on other Debian releases, in chroots (as root)
# make deb        makes a Debian package for the Dovecot of this machine (doc/admin/debian.md)
# make test-install installs on a new Debian 12 and 13, in chroots, from source and from the package (as root)
# make deny       checks the crates that this is made of: licences, versions, where they come from (deny.toml)
# make advisories checks them for known faults, with the database on github.com

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET)/release
FEATURES = plugin,tool
# Both plugins at once: built one after the other, they would have what they are made of compiled twice.
BOTH = --package perot-encrypt --package perot-encrypt-mail-plugin
COMMA = ,
TEST_FEATURES = $(FEATURES),inject-panic
# Postfix runs as root only, and so do the tests with it and those with several users of the system.
NOT_ROOT = $(filter-out 0,$(shell id -u))
HOSTS ?= trixie
INSTALL_HOSTS ?= bookworm trixie
# It is in no Debian. Not optimised: then it compiles in less than half of the time, and takes two seconds all the same.
DENY_VERSION = 0.20.2
DENY_ROOT = $(TARGET)/tools/cargo-deny-$(DENY_VERSION)
DENY = $(DENY_ROOT)/bin/cargo-deny --locked check -D warnings
N ?= 2000

DOVECOT_CONFIG ?= $(firstword $(wildcard /usr/lib/dovecot/dovecot-config /usr/lib64/dovecot/dovecot-config \
	/usr/local/lib/dovecot/dovecot-config))
PREFIX ?= /usr/local
MODULEDIR ?= $(shell . $(DOVECOT_CONFIG) && echo $$dovecot_moduledir)
PLUGIN = lib90_sieve_perot_encrypt_plugin.so
MAIL_PLUGIN = lib00_perot_encrypt_plugin.so
SETTINGS = libsieve_perot_encrypt_settings.so

.PHONY: all rust deps test-deps openpgpjs try before-test test test-library test-dovecot test-hosts test-install deb fuzz soak keyrings memcheck miri bench \
	post-quantum-keys install lint deny advisories clean uninstall

# Files of Debian's packages are as old as the packages, so that cargo does not notice a Dovecot that has been upgraded.
HEADERS = $(shell . $(DOVECOT_CONFIG) && cd $$dovecot_pkgincludedir && cat config.h sieve/pigeonhole-config.h | cksum)

all: rust
	@mkdir -p $(TARGET)
	@echo "$(HEADERS)" | cmp -s - $(TARGET)/headers || { touch build.rs; echo "$(HEADERS)" >$(TARGET)/headers; }
	$(CARGO) build --locked --release $(BOTH) --features perot-encrypt/$(subst $(COMMA),$(COMMA)perot-encrypt/,$(FEATURES)),perot-encrypt/man
	$(RELEASE)/perot-encrypt-man $(RELEASE)/man

rust:
	@tests/need-rust

deps: rust
	@tests/install-missing tests/packages

test-deps: rust openpgpjs
	@tests/install-missing tests/packages tests/packages.tests
	@tests/unpack-missing $(TARGET)/mta postfix exim4-daemon-light apparmor apparmor-profiles

# The certificates with post-quantum keys that are in the tree. It takes OpenSSL 3.5 or later, and is needed only for new kinds.
post-quantum-keys: deps
	$(CARGO) run --locked --features plugin --example post-quantum-keys

# A program that tests read mail with.
openpgpjs: build/openpgpjs
build/openpgpjs: tests/openpgpjs/sha512
	@tests/openpgpjs/unpack

# The old recipe is measured with GPGIT=/path/to/gpgit.pl (which wants libmail-gnupg-perl and libmime-tools-perl), or
# with a stand-in that runs gpg.
bench: deps
	$(CARGO) run --locked --release --features plugin --example bench

try: deps
	@echo "Compiling: the first time some minutes, ten on a slow machine; then it takes seconds."
	$(CARGO) build --locked --features $(TEST_FEATURES) --example try
	@$(CARGO) run --locked --quiet --features $(TEST_FEATURES) --example try -- $(MAIL)

# When make began.
BEGAN := $(shell date +%s)
before-test:
	@echo "Tests with a real Dovecot want Debian packages, and these are installed where they are missing: tests/packages,"
	@echo "tests/packages.tests. On a new Debian 12 they are 178, 220 MB to fetch and 1 GB on the disk. Postfix, Exim,"
	@echo "AppArmor and OpenPGP.js are only unpacked, below $(TARGET) and build. What is compiled there takes 1.5 GB, and the sources"
	@echo "of the crates 0.3 GB in cargo's folder. The first time takes about a quarter of an hour on two cores."

test: before-test test-deps lint test-library test-dovecot
	@took=$$(($$(date +%s) - $(BEGAN))); echo "make test took $$((took / 60)) min $$((took % 60)) s"

# Tests with the messages of other projects, where these are beside this one.
CORPUS = $(if $(wildcard ../shared/corpus),--include-ignored)

# Needs neither Dovecot nor its headers.
test-library: rust
	$(CARGO) test --locked -- $(CORPUS)

test-dovecot: test-deps
	$(CARGO) test --locked --features $(TEST_FEATURES) -- $(CORPUS) \
		$(if $(NOT_ROOT),--skip postfix --skip user_of_the_system)
	@test -z "$(NOT_ROOT)" || echo "Not run, because they need root: the tests with Postfix and with users of the system"

# Not under valgrind: tests that measure memory or CPU time or look for processes by their names, and one in which Pigeonhole
# ends the process.
MEMCHECK = $(abspath $(TARGET))/memcheck
memcheck: test-deps
	rm -rf $(MEMCHECK)
	PEROT_VALGRIND=$(MEMCHECK) $(CARGO) test --locked --features $(TEST_FEATURES) --test dovecot -- $(ONLY) \
		--skip streaming:: --skip load:: --skip a_hundred_thousand_files --skip a_hundred_megabytes --skip takes_too_much_time \
		--skip a_user_who_fills_a_home --skip the_largest_keyring --skip a_script_out_of_time --skip a_failure_behind_pipe
	@echo "$$(grep -rl lib90_sieve_perot_encrypt_plugin.so $(MEMCHECK) | wc -l) processes had the plugin loaded:" \
		"$(MEMCHECK)"

# OpenSSL cannot be called in Miri: this is the border, with a host made of Rust.
miri:
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked --features inject-panic --lib ffi::

# In memory: 100000 messages make a log of 60 MB, and else nothing is kept.
soak: test-deps
	SOAK=$(N) TMPDIR=$(or $(wildcard /dev/shm),/tmp) $(CARGO) test --locked --features $(TEST_FEATURES) --test dovecot -- \
		--nocapture load::

# What it prints has names and addresses of people: it is for the screen, not for the tree. The homes of GnuPG are in memory.
keyrings: rust
	@tests/install-missing tests/packages tests/packages.keyrings
	@tests/unpack-missing $(TARGET)/keyrings debian-keyring
	$(CARGO) build --locked --features tool
	@TMPDIR=$(or $(wildcard /dev/shm),/tmp) python3 tests/keyrings.py $(TARGET)/debug/perot-encrypt \
		$(TARGET)/keyrings/debian-keyring/usr/share/keyrings/*.gpg

# OpenPGP.js is unpacked once, here.
test-hosts: rust openpgpjs
	tests/hosts 'make test-dovecot' $(HOSTS)

test-install: rust
	tests/hosts --clean 'tests/new-debian source' $(INSTALL_HOSTS)
	tests/hosts --clean 'tests/new-debian package' $(INSTALL_HOSTS)
	lintian --fail-on error $(INSTALL_HOSTS:%=build/target-%/deb/*.deb)

fuzz: rust
	@tests/install-missing tests/packages tests/packages.fuzz
	TIME="$(TIME)" SEED="$(SEED)" TARGETS="$(TARGETS)" CARGO="$(CARGO)" fuzz/run

lint: rust
	@tests/links
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features $(TEST_FEATURES) -- -D warnings
	$(CARGO) clippy --locked --package perot-encrypt-mail-plugin -- -D warnings

deny: rust $(DENY_ROOT)/bin/cargo-deny
	$(DENY) licenses bans sources
	@echo "Not checked here: known faults (make advisories, on a machine that can reach github.com)"

advisories: rust $(DENY_ROOT)/bin/cargo-deny
	$(DENY) advisories

$(DENY_ROOT)/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --debug --root $(DENY_ROOT)

install:
	@test -e $(RELEASE)/libperot_encrypt.so || { echo "Build it first: make" >&2; exit 1; }
	@test -n "$(MODULEDIR)" || { echo "Where are Dovecot's modules? apt install dovecot-dev, or say MODULEDIR=..." >&2; exit 1; }
	install -D -m 0644 $(RELEASE)/libperot_encrypt.so $(DESTDIR)$(MODULEDIR)/sieve/$(PLUGIN)
	install -D -m 0644 $(RELEASE)/libperot_encrypt_mail_plugin.so $(DESTDIR)$(MODULEDIR)/$(MAIL_PLUGIN)
	if test -e $(RELEASE)/$(SETTINGS); then \
		install -D -m 0644 $(RELEASE)/$(SETTINGS) $(DESTDIR)$(MODULEDIR)/settings/$(SETTINGS); fi
	install -D -m 0755 $(RELEASE)/perot-encrypt $(DESTDIR)$(PREFIX)/bin/perot-encrypt
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 $(RELEASE)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	@test -n "$(DESTDIR)" || echo "Installed. Restart Dovecot: a reload is not enough, and 2.4 goes on with its old configuration after one"

# The package has its plugins in the same place, and its tool in another one.
PACKAGED = $(shell dpkg -S $(DESTDIR)$(MODULEDIR)/$(MAIL_PLUGIN) 2>/dev/null)
uninstall:
	@test -n "$(MODULEDIR)" || { echo "Where are Dovecot's modules? Say MODULEDIR=..." >&2; exit 1; }
	rm -f $(DESTDIR)$(PREFIX)/bin/perot-encrypt $(DESTDIR)$(PREFIX)/share/man/man1/perot-encrypt*.1
	$(if $(PACKAGED),,rm -f $(addprefix $(DESTDIR)$(MODULEDIR)/,sieve/$(PLUGIN) $(MAIL_PLUGIN) settings/$(SETTINGS)))
	@test -n "$(DESTDIR)" || echo "$(if $(PACKAGED),The plugins here are those of a package$(COMMA) and stay,Removed. \
		Take its settings out of the configuration$(COMMA) too$(COMMA) and restart Dovecot: until then it defers mail)"

# The package takes what `make` builds. Compiled in the copy, with the flags of debhelper, nearly all would be compiled again.
# In a copy: debhelper looks for files to change and to remove everywhere below, so also in `build`.
DEB = $(abspath $(TARGET))/deb
deb: rust
	@tests/install-missing tests/packages.deb
	$(MAKE) all
	rm -rf $(DEB)
	mkdir -p $(DEB)/source
	tar -c --exclude=./target --exclude=./build --exclude=./fuzz --exclude=./.git . | tar -x -C $(DEB)/source
	cd $(DEB)/source && CARGO_TARGET_DIR=$(abspath $(TARGET)) debian/rules binary OUT=$(DEB) BUILT=yes
	rm -r $(DEB)/source

clean:
	$(CARGO) clean
