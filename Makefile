# SPDX-License-Identifier: Apache-2.0
#
# Weir's build. `make help` lists the targets. Sources are found, not listed: a new file in
# src/<floor>/ is built, and a new src/<floor>/NAME_test.c is one more unit test.

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
WERROR  ?= -Werror
VERSION := 0.1.0
# SAN names sanitizers (address,undefined or thread); `make asan` and `make tsan` set it.
SAN     ?=

# The floors, lowest first. A unit test links its own floor (UPTO_http = base net http).
FLOORS := base net http upstream proxy features control app
# Those that a request passes.
HOT_FLOORS := base net http upstream proxy features
$(foreach f,$(FLOORS),$(eval SOFAR += $(f))$(eval UPTO_$(f) := $(SOFAR)))

# ---- what there is --------------------------------------------------------------------------

SOURCES := $(sort $(wildcard $(FLOORS:%=src/%/*.c)))
TESTS   := $(filter %_test.c,$(SOURCES))
PARTS   := $(filter-out $(TESTS) src/app/main.c,$(SOURCES))
FUZZERS := $(sort $(wildcard tests/fuzz/*_fuzz.c))
EXAMPLES := $(sort $(wildcard examples/*.c))

object   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
archive  = $(patsubst %,$(BUILD)/lib/%.a,$(1))
group    = -Wl,--start-group $(call archive,$(1)) -Wl,--end-group
HAS_MAIN := $(wildcard src/app/main.c)
EMBED    := $(filter src/app/embed%,$(PARTS))
MAP      := $(wildcard src/app/libweir.map)

# ---- flags ----------------------------------------------------------------------------------

# Libraries are asked for only when a source includes them.
USED := $(shell grep -shoE '^\# *include <[a-z0-9_/]+\.h>' $(SOURCES) \
          $(wildcard $(FLOORS:%=src/%/*.h)) | grep -oE '<[a-z0-9_]+' | sort -u)
uses  = $(if $(filter <$(1),$(USED)),$(2))
PKGS := $(call uses,ares,libcares) $(call uses,yaml,yaml-0.1) $(call uses,pcre2,libpcre2-8) \
        $(call uses,jansson,jansson) $(call uses,openssl,openssl) \
        $(call uses,nghttp2,libnghttp2) $(call uses,zlib,zlib)
PKGS := $(strip $(PKGS))
ifneq ($(PKGS),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
PKG_LIBS   := $(shell pkg-config --libs $(PKGS))
endif

WARN := -Wall -Wextra -Wshadow -Wconversion $(WERROR)
# One set of objects serves the binary and the library, so all code is position-independent.
# On x86-64 the linker turns what is left of that into the code that -fPIE would have given.
SHAPE := -fPIC -fvisibility=hidden -ftls-model=initial-exec -pthread
ifeq ($(SAN),)
OPT := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
else
OPT := -O1 -g -fno-omit-frame-pointer -DWEIR_DEBUG=1 \
       -fsanitize=$(SAN) -fno-sanitize-recover=all
SANLINK := -fsanitize=$(SAN)
endif
# The program in build/ is optimised as a whole: a tenth fewer instructions a request, for twice the
# time to build. Other build directories are for work. Objects hold plain code too, from which all
# else is linked. gcc only: what clang writes would need another linker.
ifeq ($(BUILD)$(SAN),build)
LTO ?= $(findstring gcc,$(notdir $(CC)))
endif
ifneq ($(LTO),)
OPT   := $(OPT) $(if $(filter generate,$(PROFILE)),,-flto -ffat-lto-objects)
# What is cleared is some hundred bytes at a time, for which `rep stos` takes longest to start.
ifeq ($(shell uname -m),x86_64)
OPT   := $(OPT) -mmemset-strategy=unrolled_loop:128:noalign,libcall:-1:noalign
endif
# A request passes some 200 small functions, each called from few places: on the floors that it
# passes, more of them are joined than gcc would by itself. What counts is what an object was
# compiled with, not how all are linked.
HOT   := -O3 --param max-inline-insns-auto=150 --param max-inline-insns-single=400 \
         --param inline-unit-growth=300 --param large-function-growth=1000 \
         --param large-function-insns=10000 --param early-inlining-insns=30
WHOLE := -O3 -flto=auto
PLAIN := -fno-lto
endif
# PROFILE is set by `make release` alone. `generate`: the program counts what it does, into a file
# beside each object of the floors that a request passes; `use`: these are built by the counts. What
# never happened is built as if nothing were known of it, not for the least size. Loops are left as
# they are: most run a few times.
ifeq ($(PROFILE),generate)
HOT   := $(HOT) -fprofile-generate -fprofile-update=prefer-atomic
WHOLE := -fprofile-generate
endif
ifeq ($(PROFILE),use)
HOT   := $(HOT) -fprofile-use -fprofile-partial-training -fprofile-correction \
         -fno-tree-vectorize -fno-unroll-loops -fno-peel-loops -Wno-missing-profile
endif
CFLAGS  ?=
LDFLAGS ?=
COMPILE := -std=gnu11 $(WARN) $(SHAPE) $(OPT) -D_GNU_SOURCE -DPCRE2_CODE_UNIT_WIDTH=8 \
           -DWEIR_VERSION='"$(VERSION)"' -Isrc -Iinclude $(PKG_CFLAGS) $(CFLAGS)
LINK    := -pthread -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANLINK) $(LDFLAGS)
LIBS     = $(PKG_LIBS) -lm

# ---- the products ---------------------------------------------------------------------------

PRODUCTS := $(call archive,$(FLOORS)) $(if $(HAS_MAIN),$(BUILD)/weir) \
            $(if $(EMBED),$(BUILD)/libweir.a $(BUILD)/libweir.so $(BUILD)/weir.pc)

.PHONY: all release demo unit test check asan tsan fuzz bench docs install clean help FORCE
.PHONY: $(FLOORS:%=unit-%) unit-build scenario examples fuzz-build soak
.SECONDARY:
all: $(PRODUCTS)

$(BUILD)/weir: $(call object,src/app/main.c) $(call archive,$(FLOORS))
	$(CC) $(LINK) $(WHOLE) -o $@ $< $(call group,$(FLOORS)) $(LIBS)

# The release build is made twice: as a program that counts what it does, which bench/train puts to
# work, and then by these counts. Whatever changes, what was counted is void. Warnings are errors in
# the plain build only: here gcc also gives some of paths that it only now thinks likely.
RELEASE := $(BUILD)/release
TRAINERS := python3 openssl h2load nghttpd
release: $(RELEASE)/trained
	$(MAKE) BUILD=$(RELEASE) LTO=gcc PROFILE=use WERROR= all
$(RELEASE)/trained: Makefile $(wildcard bench/train bench/*.py bench/*.[ch] bench/weir.yaml) \
        $(filter-out $(TESTS),$(SOURCES)) $(wildcard $(FLOORS:%=src/%/*.h))
	@[ -n '$(findstring gcc,$(notdir $(CC)))' ] || \
	    { echo 'make release: only gcc makes the release build; CC is $(CC)' >&2; exit 1; }
	@for tool in $(TRAINERS); do command -v $$tool >/dev/null || { echo >&2 \
	    "make release: there is no $$tool; scripts/deps bench installs it"; exit 1; }; done
	rm -rf $(RELEASE)
	$(MAKE) BUILD=$(RELEASE) LTO=gcc PROFILE=generate $(RELEASE)/weir
	bench/train --weir $(RELEASE)/weir
	touch $@

# What is installed and measured: the release build where one was made.
CHOSEN := $(if $(wildcard $(RELEASE)/trained),release,all)
FROM   := $(if $(wildcard $(RELEASE)/trained),$(RELEASE),$(BUILD))

# The library is one object in which only the names that weir.h exports are visible.
$(BUILD)/libweir.o: $(call object,$(EMBED)) $(call archive,$(FLOORS))
	$(LD) -r -o $@ $(call object,$(EMBED)) \
	    --start-group $(call archive,$(FLOORS)) --end-group
	objcopy --localize-hidden -w -R '.gnu.lto_*' -R '.gnu.debuglto_*' $@
$(BUILD)/libweir.a: $(BUILD)/libweir.o
	rm -f $@ && $(AR) rcs $@ $<
$(BUILD)/libweir.so: $(BUILD)/libweir.o $(MAP)
	$(CC) -shared $(filter-out -pie,$(LINK)) $(PLAIN) -Wl,-soname,libweir.so.0 -Wl,-Bsymbolic \
	    $(MAP:%=-Wl,--version-script=%) -o $@.0 $(BUILD)/libweir.o $(LIBS)
	ln -sf libweir.so.0 $@
$(BUILD)/weir.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' \
	    'includedir=$${prefix}/include' '' 'Name: weir' \
	    'Description: HTTP reverse proxy library' 'Version: $(VERSION)' \
	    'Requires.private: $(PKGS)' 'Libs: -L$${libdir} -lweir' \
	    'Libs.private: -pthread -lm' 'Cflags: -I$${includedir}' > $@

# An object depends on the flags it was built with, an archive on the list of its members.
keep = mkdir -p $(@D); printf '%s\n' $(1) > $@.new; \
       if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/flags: FORCE
	@$(call keep,'$(CC) $(subst ',,$(COMPILE)) $(HOT)')
$(BUILD)/lib/%.list: FORCE
	@$(call keep,'$(filter src/$*/%,$(PARTS))')

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(COMPILE) $(FLOOR_OPT) $(TOP_ASM) -MMD -MP -c -o $@ $<

$(foreach f,$(HOT_FLOORS),$(BUILD)/obj/src/$(f)/%.o): FLOOR_OPT := $(HOT)

# The demo's page is included as it is, by assembler text that only plain code may hold.
$(BUILD)/obj/src/app/demo_page.o: TOP_ASM := $(PLAIN)
$(BUILD)/obj/src/app/demo_page.o: src/app/demo.html

define floor_rules
$(BUILD)/lib/$(1).a: $(BUILD)/lib/$(1).list $(call object,$(filter src/$(1)/%,$(PARTS)))
	@rm -f $$@
	$(AR) rcs $$@ $$(filter %.o,$$^)
$(BUILD)/unit/$(1)/%_test: $(BUILD)/obj/src/$(1)/%_test.o $(call archive,$(UPTO_$(1)))
	@mkdir -p $$(@D)
	$(CC) $(LINK) $(PLAIN) -o $$@ $$< $(call group,$(UPTO_$(1))) $(LIBS) -lcmocka
unit-$(1): $(patsubst src/%.c,$(BUILD)/unit/%,$(filter src/$(1)/%,$(TESTS)))
	scripts/run-units $$^
endef
$(foreach f,$(FLOORS),$(eval $(call floor_rules,$(f))))

$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(BUILD)/libweir.a
	@mkdir -p $(@D)
	$(CC) $(LINK) $(PLAIN) -o $@ $< $(BUILD)/libweir.a $(LIBS)

-include $(patsubst %.o,%.d,$(call object,$(SOURCES) $(FUZZERS) $(EXAMPLES)))

# ---- running and proving --------------------------------------------------------------------

UNITS := $(TESTS:src/%.c=$(BUILD)/unit/%)
unit-build: $(UNITS)
unit: unit-build
	scripts/run-units $(UNITS)

scenario: all
	scripts/run-scenarios $(BUILD)/weir $(VARIANT)

examples: $(patsubst examples/%.c,$(BUILD)/examples/%,$(EXAMPLES))

demo: all
	$(BUILD)/weir demo

test:
	./test

# The rules ask of a program only what any build has: without one, the quickest to make will do.
CHECKED := $(if $(wildcard $(BUILD)/weir),$(BUILD),$(BUILD)/plain)
check:
	$(MAKE) BUILD=$(CHECKED) all
	scripts/check --build $(CHECKED)

asan:
	$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined unit scenario
tsan:
	$(MAKE) BUILD=$(BUILD)/tsan SAN=thread unit scenario

# Each target runs for FUZZ_SECONDS on a scratch copy of its corpus; FUZZ_TARGET=url runs one.
FUZZ_SECONDS ?= 10
FUZZ_TARGET  ?=
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang SAN=fuzzer-no-link,address,undefined fuzz-build
	scripts/run-fuzz $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGET)
fuzz-build: $(FUZZERS:tests/fuzz/%.c=$(BUILD)/%)
$(BUILD)/%_fuzz: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(call archive,$(FLOORS))
	$(CC) $(LINK) -fsanitize=fuzzer -o $@ $< $(call group,$(FLOORS)) $(LIBS)

# Random faults for SECONDS by a schedule that SEED makes; without SEED another one each time.
SECONDS ?= 120
SEED    ?=
soak: all
	tests/soak/run --weir $(BUILD)/weir --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: $(CHOSEN)
	bench/run --weir $(FROM)/weir $(BENCH_ARGS)

docs: all
	scripts/docs $(BUILD)/weir .

# ---- the rest -------------------------------------------------------------------------------

install: $(CHOSEN)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	    $(DESTDIR)$(PREFIX)/include/weir
	install -m 755 $(FROM)/weir $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(FROM)/libweir.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(FROM)/libweir.so.0 $(DESTDIR)$(PREFIX)/lib/
	ln -sf libweir.so.0 $(DESTDIR)$(PREFIX)/lib/libweir.so
	install -m 644 $(FROM)/weir.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/
	install -m 644 include/weir.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/weir/*.h $(DESTDIR)$(PREFIX)/include/weir/
	install -D -m 644 packaging/weir.bash-completion \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weir
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d
	sed 's|/usr/local/bin|$(PREFIX)/bin|' packaging/weir.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	install -m 644 packaging/weir.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.socket
	install -m 644 packaging/weir.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/weir.conf
	for page in docs/man/*.[1-8]; do [ ! -e "$$page" ] || install -D -m 644 "$$page" \
	    "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}"; done

clean:
	rm -rf $(BUILD)

help:
	@printf '%s\n' \
	'make              build $(BUILD)/weir and the library (BUILD=dir, CC=gcc|clang)' \
	'make release      $(BUILD)/release: optimised by what bench/train makes it do' \
	'make demo         start the demo: three origins behind Weir' \
	'make unit         unit tests; make unit-http for one floor' \
	'make scenario     scenario tests (VARIANT=onebyte and others)' \
	'make examples     the programs in examples/' \
	'make check        floors, budgets, banned functions, format, docs in sync' \
	'make test         everything that ./test runs' \
	'make asan, tsan   unit and scenario tests under sanitizers' \
	'make fuzz         each fuzz target for FUZZ_SECONDS=10 (FUZZ_TARGET=name for one)' \
	'make soak         random faults under load, SECONDS=120 of them (SEED=n repeats a run)' \
	'make bench        measure against relay floors, other proxies; the release build if made' \
	'make docs         write the generated pages in docs/ anew' \
	'make install      DESTDIR and PREFIX=$(PREFIX); the release build if made' \
	'make clean        remove $(BUILD)'
