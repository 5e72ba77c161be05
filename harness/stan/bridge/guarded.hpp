// Runs a program's code so that nothing it throws, and no fault of it, gets out.
#ifndef HARNESS_BRIDGE_GUARDED_HPP
#define HARNESS_BRIDGE_GUARDED_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include <stan/math/rev/core.hpp>

#include "faults.hpp"

namespace {

enum Status : int32_t { kOk = 0, kReject = 1, kFailed = 2, kNotFinite = 3 };

std::string words_of(const std::exception& error) {
  const std::string said = error.what();
  return said.empty() ? "an exception without words" : said;
}

// With STAN_THREADS the tape belongs to a thread, and only the main thread's is made by Stan.
void own_tape() {
#ifdef STAN_THREADS
  static thread_local stan::math::ChainableStack tape;
  (void)tape;
#endif
}

// Nested tapes that a fault's jump left open; what is thrown closes its own.
std::size_t open_tapes() {
  return stan::math::ChainableStack::instance_->nested_var_stack_sizes_.size();
}

// Run `body`; return its status, and the words of what it threw in `error`.
template <typename Body>
Status guarded(std::string& error, Body body) noexcept {
  try {
    own_tape();
    const std::size_t open = open_tapes();
    try {
      faults::caught(body);
      return kOk;
    } catch (const std::domain_error& e) {
      error = words_of(e);
      while (open_tapes() > open) stan::math::recover_memory_nested();
      return kReject;
    } catch (const std::bad_alloc&) {
      error = "there is not enough memory for what the program declares (std::bad_alloc)";
    } catch (const std::exception& e) {
      error = words_of(e);
    } catch (...) {
      error = "something that is no std::exception was thrown";
    }
    while (open_tapes() > open) stan::math::recover_memory_nested();
  } catch (...) {
    // Not even the words could be kept.
  }
  return kFailed;
}

}  // namespace
#endif
