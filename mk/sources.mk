# What is built from what.  A folder's .c files make one archive; the tiers are those of README.md.
DAEMONS  = transportd routerd consensusd gatewayd
PROGRAMS = $(DAEMONS) meshctl

SRC_base  = $(wildcard common/base/*.c)
SRC_os    = $(wildcard common/os/*.c)
SRC_proto = $(wildcard proto/*.c)
PROTOS    = $(wildcard proto/*.proto)
$(foreach p,$(PROGRAMS),$(eval SRC_$(p) = $(filter-out $(p)/main.c,$(wildcard $(p)/*.c))))
$(foreach p,$(DAEMONS),$(eval SRC_$(p)core = $(wildcard $(p)/core/*.c)))
SRC_all   = $(SRC_base) $(SRC_os) $(SRC_proto) $(foreach p,$(PROGRAMS),$(SRC_$(p)) $(SRC_$(p)core))

TEST_UNIT    = $(wildcard tests/unit/*/test_*.c)
FUZZ_TARGETS = $(wildcard tests/fuzz/fuzz_*.c)
TOOLS        = $(wildcard tools/*.c)
BENCHES      = $(wildcard tests/bench/*.c)
SIMULATOR    = $(wildcard tests/sim/*.c)
RAFT_SIMULATOR = $(wildcard tests/raftsim/*.c) tests/sim/queue.c tests/simkit/simkit.c
# In it the simulated network, without what measures it.
STREAM_SIMULATOR = $(wildcard tests/streamsim/*.c) tests/raftsim/disk.c tests/simkit/simkit.c \
    $(filter-out $(addprefix tests/sim/,main.c measure.c report.c warm.c),$(SIMULATOR))
RAFT_SCENES  = $(wildcard tests/raftscene/*.c) tests/raftsim/disk.c tests/sim/queue.c
