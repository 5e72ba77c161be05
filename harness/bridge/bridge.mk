# Builds the bridge with CmdStan's own flags: make -C $CMDSTAN -f bridge.mk …
# TARGET is the library, CODE what stanc made of the program, SHIM the bridge's object.
include makefile

BRIDGE_FLAGS := -fPIC -fvisibility=hidden -fvisibility-inlines-hidden
ifeq ($(CXX_TYPE),gcc)
# Otherwise the tape of the automatic differentiation is shared by all libraries of a process.
BRIDGE_FLAGS += -fno-gnu-unique
endif
SUNDIALS_ARCHIVES := $(LIBSUNDIALS) $(SUNDIALS_TARGETS)

.PHONY: bridge-shim bridge-library
bridge-shim:
	$(COMPILE.cpp) $(BRIDGE_FLAGS) -include $(GUARD) -o $(SHIM) $(SOURCE)

bridge-library: $(TBB_TARGETS)
	$(COMPILE.cpp) $(BRIDGE_FLAGS) -include $(GUARD) -x c++ -o $(TARGET).o $(CODE)
	$(LINK.cpp) -shared -o $(TARGET) $(TARGET).o $(SHIM) $(LDLIBS) $(TBB_TARGETS)
	$(RM) $(TARGET).o
