# Builds the bridge with CmdStan's own flags: make -C $CMDSTAN -f bridge.mk …
# TARGET is the library, CODE what stanc made of the program, SHIM the bridge's object; BUILT is
# the part of the bridge that is made, in the folder SCRATCH.
#
# Recipes go through COMPILE.cpp, LINK.cpp and LDLIBS, which are in CmdStan 2.27 to 2.38, so that
# make/local counts here as it does for CmdStan's own programs.
include makefile

BRIDGE_FLAGS := -fPIC -fvisibility=hidden -fvisibility-inlines-hidden
ifeq ($(CXX_TYPE),gcc)
# Otherwise the tape of the automatic differentiation is shared by all libraries of a process.
BRIDGE_FLAGS += -fno-gnu-unique
endif
ifdef STAN_THREADS
ifneq ($(OS),Windows_NT)
# The tape's place is then looked up at every step: this is the cheap way, for 10 to 50 %.
BRIDGE_FLAGS += -ftls-model=initial-exec
endif
endif

# A name that is missing is to be known now, not at the first call: that is how a program that
# needs SUNDIALS is told from one that does not. The linker of macOS does so unasked.
ifeq ($(OS),Linux)
BRIDGE_LINK := -Wl,-z,defs
endif

# CmdStan's archives of SUNDIALS (LIBSUNDIALS up to 2.31, SUNDIALS_TARGETS from 2.32) are made
# without -fPIC and cannot go into a library. Their lists of objects have the same names in all.
SUNDIALS_CODE := $(sort $(patsubst %.o,%.c,$(SUNDIALS_CVODES) $(SUNDIALS_IDAS) \
  $(SUNDIALS_KINSOL) $(SUNDIALS_NVECSERIAL)))
SUNDIALS_PRINTF := $(wildcard $(SUNDIALS)/include/stan_sundials_printf_override.hpp)

.PHONY: bridge-shim bridge-library bridge-sundials
bridge-shim:
	$(COMPILE.cpp) $(BRIDGE_FLAGS) -include $(GUARD) -o $(BUILT) $(SOURCE)

$(TARGET).o:
	$(COMPILE.cpp) $(BRIDGE_FLAGS) -include $(GUARD) -x c++ -o $@ $(CODE)

# SOLVERS is the archive of bridge-sundials, or nothing.
bridge-library: $(TARGET).o $(TBB_TARGETS) $(MPI_TARGETS)
	$(LINK.cpp) -shared $(BRIDGE_LINK) -o $(TARGET) $(TARGET).o $(SHIM) $(LDLIBS) $(SOLVERS) \
	  $(MPI_TARGETS) $(TBB_TARGETS)

# The flags are those of Stan's own rule, which belong to its objects only. -fexceptions, because
# the solvers call the program's right-hand side, and what it throws has to get through them.
bridge-sundials: CXXFLAGS = $(CXXFLAGS_SUNDIALS) $(CXXFLAGS_OS) $(CXXFLAGS_OPTIM_SUNDIALS) -O$(O) \
  $(INC_SUNDIALS)
bridge-sundials: CPPFLAGS = $(CPPFLAGS_SUNDIALS) $(CPPFLAGS_OS) $(CPPFLAGS_OPTIM_SUNDIALS) -O$(O)
bridge-sundials:
	$(if $(SUNDIALS_CODE),,$(error this CmdStan does not say where its SUNDIALS sources are))
	$(foreach code,$(SUNDIALS_CODE),$(COMPILE.cpp) -x c -fPIC -fexceptions \
	  -fvisibility=hidden $(addprefix -include ,$(SUNDIALS_PRINTF)) \
	  -o $(SCRATCH)/$(subst /,_,$(code)).o $(code) && ) true
	$(AR) rcs $(BUILT) $(SCRATCH)/*.c.o
