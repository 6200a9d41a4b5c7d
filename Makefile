# SPDX-License-Identifier: GPL-2.0-or-later
# nuncio: make, make check, make lint, make install; `make help` has them all.
# Nothing here installs packages: scripts/install-deps does.
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
BUILD ?= build
PYTEST ?= /usr/bin/python3 -m pytest
FUZZ_SECONDS ?= 30

VERSION := $(shell cat VERSION)
LINKED := libnftnl libmnl libuv libcjson libcares libcap-ng libseccomp
LOADED := libcurl libmicrohttpd
PKGS := $(LINKED) $(LOADED)
CFLAGS ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS ?= -Wl,-z,relro,-z,now
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough
BASE_CFLAGS := -std=gnu11 $(WARNINGS) -D_GNU_SOURCE
# -isystem: the headers of libraries are not ours to warn about.
ALL_CFLAGS := $(BASE_CFLAGS) -DNUNCIO_VERSION='"$(VERSION)"' -Iinclude \
	$(patsubst -I%,-isystem%,$(shell pkg-config --cflags $(PKGS) 2>/dev/null)) $(CFLAGS) $(SANITIZE)
LIBS := $(shell pkg-config --libs $(LINKED) 2>/dev/null) -ldl -lm

SRC := $(sort $(wildcard src/*/*.c src/*/*/*.c))
OBJ := $(SRC:src/%.c=$(BUILD)/%.o) $(BUILD)/exporter/page.o
# Everything but main(), for the unit tests.
LIB := $(filter-out $(BUILD)/cli/main.o,$(OBJ))
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
TESTS := tests/integration
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(sort $(wildcard tests/tools/*.c)))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/*.c)))
MANUALS := $(patsubst doc/%.in,$(BUILD)/doc/%,$(sort $(wildcard doc/*.[1-8].in)))
COMPLETIONS := $(BUILD)/doc/nuncio.bash $(BUILD)/doc/_nuncio
UNITS := $(patsubst systemd/%.in,$(BUILD)/systemd/%,$(sort $(wildcard systemd/*.service.in)))

all: $(BUILD)/nuncio $(BUILD)/loaded.so

help:
	@echo 'make             $(BUILD)/nuncio'
	@echo 'make check       unit and integration tests (the latter as root, in namespaces of their own)'
	@echo 'make unit        unit tests only'
	@echo 'make integration integration tests only'
	@echo 'make system      the Debian package and its units, in a machine of its own (systemd-nspawn)'
	@echo 'make sanitize    make check with AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan'
	@echo 'make valgrind    integration tests of what goes to the kernel, the daemon under valgrind'
	@echo 'make fuzz        each fuzzer for FUZZ_SECONDS=$(FUZZ_SECONDS) (needs clang)'
	@echo 'make bench       measures, beside what one would use instead (scripts/bench installs what it needs)'
	@echo 'make lint        format, include directions, clang-tidy, cppcheck, shellcheck, mandoc'
	@echo 'make format      apply clang-format'
	@echo 'make tools       test servers and clients, in $(BUILD)/tools'
	@echo 'make doc         manual pages and completion, in $(BUILD)/doc'
	@echo 'make install     into $$(DESTDIR)$$(PREFIX), PREFIX=$(PREFIX); make uninstall removes it again'
	@echo '                 (also SYSCONFDIR=$(SYSCONFDIR), UNITDIR, BASHDIR, ZSHDIR)'
	@echo 'make deb         Debian package, in $(BUILD)/deb'
	@echo 'make image       container image for docker load and podman load, $(BUILD)/nuncio-image.tar'

# Asked of every object, so that a machine without the libraries gets one sentence and not a page of compiler errors.
need:
	@pkg-config --print-errors --exists $(PKGS) || \
		{ echo 'The libraries above are missing; "./scripts/install-deps build" installs them.' >&2; exit 1; }

need-tests:
	@pkg-config --print-errors --exists cmocka && $(PYTEST) --version >/dev/null || \
		{ echo 'cmocka or pytest is missing; "./scripts/install-deps test" installs them.' >&2; exit 1; }

# Changes when the compiler or a flag does, and everything is built again.
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@printf '%s\n' $(CC) $(ALL_CFLAGS) $(LDFLAGS) | cmp -s - $@ || printf '%s\n' $(CC) $(ALL_CFLAGS) $(LDFLAGS) >$@

$(BUILD)/nuncio: $(OBJ)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# A library that only refers to what the program loads when it needs it: for those who ask what it is linked with and
# what it uses of that, as ldd and dpkg-shlibdeps do.
LOADED_FUNCTIONS = $(shell sed -n 's/^\tDO(\([a-z_]*\)).*/curl_\1/p' src/discovery/http.c) \
	$(shell sed -n 's/^\tDO(\([a-z_]*\)).*/MHD_\1/p' src/exporter/web.c)
$(BUILD)/loaded.so: src/discovery/http.c src/exporter/web.c $(BUILD)/flags | need
	$(CC) -shared -o $@ -Wl,--no-as-needed $(addprefix -u ,$(LOADED_FUNCTIONS)) $(shell pkg-config --libs $(LOADED))

$(BUILD)/%.o: src/%.c $(BUILD)/flags | need
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/exporter/page.c: src/exporter/page.html scripts/make-page
	@mkdir -p $(@D)
	scripts/make-page $< >$@

$(BUILD)/exporter/page.o: $(BUILD)/exporter/page.c $(BUILD)/flags | need
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/libnuncio.a: $(LIB)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libnuncio.a $(BUILD)/flags | need-tests
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libnuncio.a $(LIBS) $$(pkg-config --libs cmocka) -lm

# Plain programs without nuncio's code or libraries: what they measure must not share its mistakes.
$(BUILD)/tools/%: tests/tools/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -O2 -g -MMD -MP -o $@ $<

$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/libnuncio.a $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libnuncio.a $(LIBS)

tools: $(TOOLS)

$(BUILD)/bench/%.so: bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fPIC -shared -MMD -MP $(LDFLAGS) -o $@ $<

bench: all tools $(BUILD)/bench/allocations.so
	PYTHONPATH=tests/integration /usr/bin/python3 bench/main.py $(BENCH_ARGS)

# Manual pages and completion have the program's own options and keys.
$(BUILD)/tables: $(BUILD)/nuncio
	$< help tables >$@

$(BUILD)/doc/%: doc/%.in scripts/make-manual VERSION $(BUILD)/tables
	@mkdir -p $(@D)
	scripts/make-manual - $< <$(BUILD)/tables >$@ || { rm -f $@; exit 1; }

$(BUILD)/doc/nuncio.bash: shell = bash
$(BUILD)/doc/_nuncio: shell = zsh
$(COMPLETIONS): scripts/make-completion $(BUILD)/tables
	@mkdir -p $(@D)
	scripts/make-completion -v shell=$(shell) <$(BUILD)/tables >$@ || { rm -f $@; exit 1; }

doc: $(MANUALS) $(COMPLETIONS)

# Which programs they call depends on PREFIX, so they are made anew each time.
$(BUILD)/systemd/%: systemd/%.in scripts/make-unit force
	@mkdir -p $(@D)
	scripts/make-unit $(PREFIX)/bin $< >$@ || { rm -f $@; exit 1; }

# One after the other, also under -j: the integration tests have deadlines.
check:
	$(MAKE) unit
	$(MAKE) integration

# A test's own output is shown only where it fails.
unit: $(UNIT)
	@failed=0; for t in $^; do \
		if $$t >$$t.log 2>&1; then echo "ok    $$t, $$(grep -c '\[ *OK' $$t.log) tests"; \
		else cat $$t.log; echo "FAIL  $$t"; failed=1; fi; \
	done; exit $$failed

integration: all tools | need-tests
	NUNCIO=$(abspath $(BUILD)/nuncio) NUNCIO_TOOLS=$(abspath $(BUILD)/tools) \
		$(PYTEST) -q -rfEs --tb=short -p no:cacheprovider $(TESTS) $(PYTEST_ARGS)

sanitize:
	$(MAKE) BUILD=build-asan CFLAGS='-O1 -g' NUNCIO_TIMEOUT_SCALE=3 check \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer'

# The package and its units in a machine of its own; the first time, debootstrap fills one from Debian's mirror.
system: deb tools | need-tests
	NUNCIO_DEB=$$(ls $(abspath $(BUILD))/deb/nuncio_*.deb) NUNCIO_TOOLS=$(abspath $(BUILD)/tools) \
		$(PYTEST) -q -rfEs --tb=short -p no:cacheprovider tests/system $(PYTEST_ARGS)

valgrind: export NUNCIO_WRAPPER = valgrind -q --error-exitcode=99 --leak-check=full \
	--show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible
valgrind: export NUNCIO_TIMEOUT_SCALE = 10
valgrind: export PYTEST_ADDOPTS = -m 'not slow'
# What the sanitizers do not see is memory that nobody wrote: it matters in what goes to the kernel.
valgrind: TESTS = $(addprefix tests/integration/test_,addresses.py empty.py flows.py golden.py healing.py udp.py)
valgrind: integration

fuzz:
	$(MAKE) BUILD=build-fuzz CC=clang CFLAGS='-O1 -g' run-fuzz \
		SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined'

# The input that makes one fail is kept beside it.
run-fuzz: $(FUZZ)
	@for f in $^; do \
		$$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$$f- >$$f.log 2>&1 || { cat $$f.log; exit 1; }; \
		echo "ok    $$f, $$(sed -n 's/^Done //p' $$f.log)"; \
	done

lint: $(BUILD)/flags doc | need
	@scripts/lint $(BUILD)/flags $(MANUALS)

format:
	clang-format -i $$(find src include tests bench -name '*.[ch]')

# The configuration is written where there is none.
install: all doc $(UNITS)
	install -D -m 755 $(BUILD)/nuncio $(DESTDIR)$(PREFIX)/bin/nuncio
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/nuncio/README.md
	install -D -m 644 doc/nuncio.json $(DESTDIR)$(PREFIX)/share/doc/nuncio/examples/nuncio.json
	install -m 644 systemd/docker.conf doc/alerts.yml doc/grafana-dashboard.json $(DESTDIR)$(PREFIX)/share/doc/nuncio/examples/
	for m in $(MANUALS); do install -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/} || exit; done
	for u in $(UNITS); do install -D -m 644 $$u $(DESTDIR)$(UNITDIR)/$${u##*/} || exit; done
	install -D -m 644 systemd/nuncio.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/nuncio.conf
	install -D -m 644 $(BUILD)/doc/nuncio.bash $(DESTDIR)$(BASHDIR)/nuncio
	install -D -m 644 $(BUILD)/doc/_nuncio $(DESTDIR)$(ZSHDIR)/_nuncio
	install -d $(addprefix $(DESTDIR)$(SYSCONFDIR)/nuncio/,announce netns services.d)
	test -e $(DESTDIR)$(SYSCONFDIR)/nuncio/nuncio.json || \
		install -m 644 doc/nuncio.json $(DESTDIR)$(SYSCONFDIR)/nuncio/nuncio.json

# Files only: nuncio's rules in the kernel are removed by `nuncio cleanup`, before. What was configured stays.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/nuncio $(DESTDIR)$(PREFIX)/lib/sysusers.d/nuncio.conf
	rm -f $(DESTDIR)$(BASHDIR)/nuncio $(DESTDIR)$(ZSHDIR)/_nuncio
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/nuncio
	for m in $(MANUALS); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; done
	for u in $(UNITS); do rm -f $(DESTDIR)$(UNITDIR)/$${u##*/}; done
	! cmp -s doc/nuncio.json $(DESTDIR)$(SYSCONFDIR)/nuncio/nuncio.json || \
		rm $(DESTDIR)$(SYSCONFDIR)/nuncio/nuncio.json
	test ! -d $(DESTDIR)$(SYSCONFDIR)/nuncio || find $(DESTDIR)$(SYSCONFDIR)/nuncio -depth -type d -empty -delete

# The package of the version in VERSION, or of `make deb VERSION=...`, in $(BUILD)/deb. Made from a copy of the sources.
DEB_SOURCE := $(BUILD)/deb/nuncio-$(VERSION)
deb:
	@command -v dh >/dev/null || { echo 'debhelper is missing: ./scripts/install-deps package' >&2; exit 1; }
	rm -rf $(BUILD)/deb && mkdir -p $(DEB_SOURCE)
	tar -c --exclude='./build*' --exclude=./.git . | tar -x -C $(DEB_SOURCE)
	echo $(VERSION) >$(DEB_SOURCE)/VERSION
	printf 'nuncio (%s) unstable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n' $(VERSION) $(VERSION) \
		"$$(sed -n 's/^Maintainer: //p' debian/control)" "$$(date -R -r VERSION)" >$(DEB_SOURCE)/debian/changelog
	cd $(DEB_SOURCE) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS $(if $(findstring s,$(firstword -$(MAKEFLAGS))),DEB_BUILD_OPTIONS=terse) \
		dpkg-buildpackage -b -us -uc -j$$(nproc)
	rm -rf $(DEB_SOURCE)
	! command -v lintian >/dev/null || lintian --fail-on error,warning $(BUILD)/deb/*.changes

image: all
	scripts/make-image $(BUILD)/nuncio $(BUILD)/loaded.so $(VERSION) $(BUILD)/nuncio-image.tar

clean:
	rm -rf $(BUILD) build-asan build-clang build-fuzz

.PHONY: all bench help need need-tests force doc tools check unit integration system sanitize valgrind fuzz run-fuzz lint format \
	install uninstall deb image clean
.SECONDARY:
.DELETE_ON_ERROR:
-include $(OBJ:.o=.d) $(UNIT:=.d) $(TOOLS:=.d) $(FUZZ:=.d)
