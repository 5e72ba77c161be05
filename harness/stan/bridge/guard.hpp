// Included before everything: Eigen's assertions throw instead of ending the process.
#ifndef HARNESS_BRIDGE_GUARD_HPP
#define HARNESS_BRIDGE_GUARD_HPP
#include <stdexcept>
#define eigen_assert(condition)                                            \
  do {                                                                     \
    if (!(condition)) throw std::logic_error("Eigen: not true: " #condition); \
  } while (false)
#endif
