# What people and CI type.  Each goal first sees to the packages, then runs the rest in a make of its
# own, which lists the files and reads the dependencies when everything is there.
GOALS = all check check-long unit lint tidy fuzz bench sim raftsim streamsim demo install
.PHONY: $(GOALS) clean programs unit-bins fuzz-bins bench-bins sim-bin objects

# Goals given together run one after the other: they share a build directory.
ifneq ($(filter $(GOALS),$(or $(MAKECMDGOALS),all)),)
.NOTPARALLEL:
endif

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
BENCH ?=
SIM ?=
SIM_NODES ?=
DESTDIR ?=
PREFIX ?= /usr
SUBMAKE = +@$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))
needs = $(if $(filter no,$(DEPS)),,@tools/deps $(1))

all:
	$(call needs,build)
	$(SUBMAKE) programs

unit:
	$(call needs,build)
	$(SUBMAKE) unit-bins
	@tests/run-unit $(UNIT_BINS)

lint:
	$(call needs,build test)
	$(SUBMAKE) objects
	@tools/lint/run $(BUILD)
	@$(TIDY)

TIDY = JOBS=$(JOBS) tools/lint/tidy $(SRC_all) -- $(CPPFLAGS_ALL) -std=c11
tidy:
	$(call needs,build test)
	$(SUBMAKE) $(GEN_H)
	@$(TIDY)

fuzz:
	$(call needs,build test)
	@tests/run-fuzz $(FUZZ_SECONDS)

bench:
	$(call needs,build run test)
	$(SUBMAKE) programs bench-bins
	@tests/run-bench $(BENCH)

sim:
	$(call needs,build)
	$(SUBMAKE) sim-bin
	@$(SIM_BIN) $(if $(SIM_NODES),-m -n $(SIM_NODES)) $(SIM)

raftsim:
	$(call needs,build)
	$(SUBMAKE) sim-bin
	@$(RAFTSIM_BIN) $(SIM)

streamsim:
	$(call needs,build)
	$(SUBMAKE) sim-bin
	@$(STREAMSIM_BIN) $(SIM)

demo:
	$(call needs,build run)
	$(SUBMAKE) programs
	@tools/demo

check:
	$(call needs,build run test)
	@tests/run-check

check-long:
	$(call needs,build run test)
	@tests/run-check long

clean:
	rm -rf build

# --- what the goals above build ---
programs: $(PROGRAM_BINS) $(TOOL_BINS)
unit-bins: $(UNIT_BINS)
fuzz-bins: $(FUZZ_BINS)
bench-bins: $(BENCH_BINS)
sim-bin: $(SIM_BIN) $(RAFTSIM_BIN) $(STREAMSIM_BIN) $(RAFTSCENE_BIN)
objects: $(PROGRAM_BINS) $(TOOL_BINS) $(STAND_INS) $(call obj,$(SRC_all))

# --- install: programs, manuals, and what etc/ has for the system ---
BINDIR = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share/mesh
LIBDIR = $(PREFIX)/lib
install_files = $(if $(strip $(1)),install -d $(DESTDIR)$(2) && install -m $(3) $(1) $(DESTDIR)$(2))

install: all
	@$(call install_files,$(patsubst %,$(BUILD)/bin/%,$(DAEMONS)),$(SBINDIR),755)
	@$(call install_files,$(BUILD)/bin/meshctl,$(BINDIR),755)
	@$(foreach s,1 5 7 8,$(if $(wildcard man/*.$(s)),$(call install_files,$(wildcard man/*.$(s)),$(MANDIR)/man$(s),644) &&)) true
	@$(call install_files,$(wildcard etc/sql/*.sql),$(DATADIR)/sql,644)
	@$(call install_files,etc/mesh.conf,$(DATADIR),644)
	@$(call install_files,proto/mesh.proto,$(DATADIR)/proto,644)
	@$(call install_files,$(wildcard etc/systemd/*),$(LIBDIR)/systemd/system,644)
	@install -d $(DESTDIR)$(LIBDIR)/sysusers.d $(DESTDIR)$(LIBDIR)/tmpfiles.d
	@install -m 644 etc/sysusers.conf $(DESTDIR)$(LIBDIR)/sysusers.d/mesh.conf
	@install -m 644 etc/tmpfiles.conf $(DESTDIR)$(LIBDIR)/tmpfiles.d/mesh.conf
	@$(if $(wildcard etc/meshctl.bash),install -D -m 644 etc/meshctl.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/meshctl)
	@echo "installed under $(DESTDIR)$(PREFIX)"
