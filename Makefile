# make            builds everything            make check       all tests that CI runs
# make demo       shows a mesh at work         make check-long  and the long ones
# make lint       layers, symbols, style       make fuzz        fuzz targets for FUZZ_SECONDS each
# make unit       unit tests                   make bench       benchmarks (BENCH=NAME one)
# make sim        simulated networks           make install     DESTDIR= PREFIX=/usr
# make raftsim    simulated Raft groups        make tidy        clang-tidy
# make streamsim  simulated streams
#
# Each of them works as the first command on a bare Debian 12: it installs the packages it needs (as
# root; otherwise it names them and stops).  DEPS=no leaves the packages to you.  CC=clang and
# SAN=address,undefined choose another compiler or sanitizers; JOBS=N how much runs in parallel.
include mk/libs.mk
include mk/flags.mk
include mk/sources.mk

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
# A pattern rule's prerequisites are expanded again when its target is known ($$@, $$*).
.SECONDEXPANSION:

comma = ,
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
GEN_C = $(patsubst proto/%.proto,$(BUILD)/gen/proto/%.pb.c,$(PROTOS))
GEN_H = $(GEN_C:.c=.h)
GEN_O = $(GEN_C:.c=.o)

LIB_base_a  = $(BUILD)/libbase.a
LIB_os_a    = $(BUILD)/libos.a
LIB_proto_a = $(BUILD)/libproto.a

# --- generated protobuf code (nanopb) ---
$(BUILD)/gen/proto/%.pb.c $(BUILD)/gen/proto/%.pb.h: proto/%.proto $$(wildcard proto/$$*.options)
	@mkdir -p $(BUILD)/gen
	@echo "  PROTO  $<"
	@protoc -I. -I/usr/lib/python3/dist-packages/proto --plugin=protoc-gen-nanopb=/usr/bin/protoc-gen-nanopb \
	    --nanopb_out="-I. -q:$(BUILD)/gen" $<

$(BUILD)/gen/%.pb.o: $(BUILD)/gen/%.pb.c | $(GEN_H)
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# --- objects: the pure tiers use no generated header and wait for none ---
pure = $(filter common/base/%,$(1))$(findstring /core/,$(1))
$(BUILD)/%.o: %.c mk/flags.mk | $$(if $$(call pure,$$*),,$(GEN_H))
	@mkdir -p $(@D)
	@echo "  CC     $<"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define archive
$(1): $(2)
	@rm -f $$@; ar rcs $$@ $$^
endef
$(eval $(call archive,$(LIB_base_a),$(call obj,$(SRC_base))))
$(eval $(call archive,$(LIB_os_a),$(call obj,$(SRC_os))))
$(eval $(call archive,$(LIB_proto_a),$(call obj,$(SRC_proto)) $(GEN_O)))
$(foreach p,$(PROGRAMS),$(eval $(call archive,$(BUILD)/lib$(p).a,$(call obj,$(SRC_$(p)) $(SRC_$(p)core)))))

LIBS_a = $(LIB_os_a) $(LIB_proto_a) $(LIB_base_a)

# --- programs ---
define program
$(BUILD)/bin/$(1): $(BUILD)/$(1)/main.o $(BUILD)/lib$(1).a $(LIBS_a)
	@mkdir -p $$(@D)
	@echo "  LINK   $(1)"
	@$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(LIB_os_a) $(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))
PROGRAM_BINS = $(foreach p,$(PROGRAMS),$(if $(wildcard $(p)/main.c),$(BUILD)/bin/$(p)))

# --- programs for development and tests, not installed: tools/x.c, and tools/x/*.c if it has more ---
TOOL_BINS = $(patsubst tools/%.c,$(BUILD)/bin/%,$(TOOLS))
$(TOOL_BINS): $(BUILD)/bin/%: $(BUILD)/tools/%.o $$(call obj,$$(wildcard tools/$$*/*.c)) $(LIBS_a)
	@mkdir -p $(@D)
	@echo "  LINK   $*"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIB_os_a) $(LIBS_common)

# --- unit tests: tests/unit/<what>/test_x.c links the libraries of <what> ---
UNIT_BINS = $(patsubst %.c,$(BUILD)/%,$(TEST_UNIT))
define unitdir
$(BUILD)/tests/unit/$(1)/test_%: $(BUILD)/tests/unit/$(1)/test_%.o $(2)
	@$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(filter $(LIB_os_a),$(2)) $(LIBS_$(if $(filter $(1),$(PROGRAMS)),$(1),common)) $(LIB_TEST) -lm
endef
$(eval $(call unitdir,base,$(LIB_base_a)))
$(eval $(call unitdir,proto,$(LIB_proto_a) $(LIB_base_a)))
$(eval $(call unitdir,os,$(LIBS_a)))
$(foreach p,$(PROGRAMS),$(eval $(call unitdir,$(p),$(BUILD)/lib$(p).a $(LIBS_a))))
# These run the daemon itself, and the tool that makes lines slow.
$(filter $(BUILD)/tests/unit/transportd/%,$(UNIT_BINS)): | $(BUILD)/bin/transportd $(BUILD)/bin/meshproxy

# --- fuzz targets: each links the programs whose headers it includes.  With libFuzzer if SAN has it,
# else with a driver that runs the files it is given. ---
FUZZ_BINS = $(patsubst %.c,$(BUILD)/%,$(FUZZ_TARGETS))
fuzz_programs = $(filter $(PROGRAMS),$(sort $(shell sed -n 's/^.include "\([a-z]*\)\/.*/\1/p' $(1))))
fuzz_main = $(if $(findstring fuzzer,$(SAN)),,$(BUILD)/tests/fuzz/driver.o)
define fuzztarget
$(BUILD)/$(1): $(BUILD)/$(1).o $(fuzz_main) $(foreach p,$(2),$(BUILD)/lib$(p).a) $(LIBS_a)
	@$(CC) $(subst fuzzer-no-link,fuzzer,$(LDFLAGS_ALL)) -o $$@ $$^ $(LIB_os_a) $(sort $(foreach p,$(2),$(LIBS_$(p))) $(LIBS_common)) -lm
endef
$(foreach f,$(FUZZ_TARGETS:.c=),$(eval $(call fuzztarget,$(f),$(call fuzz_programs,$(f).c))))

# --- benchmarks that are one C file: tests/bench/x.c links the programs whose headers it includes ---
BENCH_BINS = $(patsubst %.c,$(BUILD)/%,$(BENCHES))
define benchprogram
$(BUILD)/$(1): $(BUILD)/$(1).o $(foreach p,$(2),$(BUILD)/lib$(p).a) $(LIBS_a)
	@$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(LIB_os_a) $(sort $(foreach p,$(2),$(LIBS_$(p))) $(LIBS_common)) $(LIB_TLS) $(LIB_PG) $$(LIB_BENCH) -lm
endef
# Its nodes are those of the unit tests.
$(BUILD)/tests/bench/bench_groups: LIB_BENCH = $(LIB_TEST)
$(foreach f,$(BENCHES:.c=),$(eval $(call benchprogram,$(f),$(call fuzz_programs,$(f).c))))

# transportd that makes and takes a benchmark's frames itself: tests/bench/ends/ends.h.
ENDS_BIN = $(BUILD)/tests/bench/ends/transportd
ENDS_WRAP = $(patsubst %,-Wl$(comma)--wrap=%,consensus_deliver consensus_hold relay_originate)
$(ENDS_BIN): $(BUILD)/transportd/main.o $(BUILD)/tests/bench/ends/ends.o $(BUILD)/libtransportd.a $(LIBS_a)
	@$(CC) $(LDFLAGS_ALL) $(ENDS_WRAP) -o $@ $^ $(LIB_os_a) $(LIBS_transportd)
$(BUILD)/tests/bench/bench_relay: | $(ENDS_BIN)

# consensusd that dies where a test says: tests/crash/crash.c, which names the functions that it stands before.
CRASH_BIN = $(BUILD)/tests/crash/consensusd
CRASH_WRAP = $(shell sed -n 's/^WRAP[A-Z_]*.\([a-z_0-9]*\),.*/-Wl,--wrap=\1/p; \
    s/^__wrap_\([a-z_0-9]*\).*/-Wl,--wrap=\1/p' tests/crash/crash.c)
$(CRASH_BIN): $(BUILD)/consensusd/main.o $(BUILD)/tests/crash/crash.o $(BUILD)/libconsensusd.a $(LIBS_a)
	@$(CC) $(LDFLAGS_ALL) $(CRASH_WRAP) -o $@ $^ $(LIB_os_a) $(LIBS_consensusd)

# --- the simulator: the cores of routerd as they are in the daemon, but see tests/sim/reach.c ---
SIM_BIN = $(BUILD)/tests/sim/sim
SIM_WRAP = -Wl,--wrap=routes_rebuild,--wrap=routes_update
$(SIM_BIN): $(call obj,$(SIMULATOR)) $(BUILD)/librouterd.a $(LIB_base_a)
	@echo "  LINK   sim"
	@$(CC) $(LDFLAGS_ALL) $(SIM_WRAP) -o $@ $^

# sessions of clients are written with codec
RAFT_CORE = $(wildcard consensusd/core/raft*.c) consensusd/core/codec.c
RAFTSIM_BIN = $(BUILD)/tests/raftsim/raftsim
$(RAFTSIM_BIN): $(call obj,$(RAFT_SIMULATOR) $(RAFT_CORE)) $(LIB_base_a)
	@echo "  LINK   raftsim"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^

STREAM_CORE = $(wildcard consensusd/core/*.c) $(wildcard routerd/core/*.c)
STREAMSIM_BIN = $(BUILD)/tests/streamsim/streamsim
$(STREAMSIM_BIN): $(call obj,$(STREAM_SIMULATOR) $(STREAM_CORE)) $(LIB_base_a)
	@echo "  LINK   streamsim"
	@$(CC) $(LDFLAGS_ALL) $(SIM_WRAP) -o $@ $^

RAFTSCENE_BIN = $(BUILD)/tests/raftscene/raftscene
$(RAFTSCENE_BIN): $(call obj,$(RAFT_SCENES) $(RAFT_CORE)) $(LIB_base_a)
	@echo "  LINK   raftscene"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^

# --- stand-ins for daemons that system tests run against: tests/system/grpc/x.c ---
STAND_INS = $(BUILD)/tests/system/grpc/fake_consensusd
$(STAND_INS): $(addprefix $(BUILD)/tests/system/grpc/,fake_group.o fake_stream.o)
$(BUILD)/tests/system/%: $(BUILD)/tests/system/%.o $(LIBS_a)
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIB_os_a) $(LIBS_common) -lm

include mk/descriptors.mk
include mk/targets.mk
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
