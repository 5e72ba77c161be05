// Turns what would end the process into an exception's words: an integer divided by zero
// (SIGFPE) and recursion without an end (SIGSEGV at the end of the stack).
//
// The handlers act only on a thread that is inside the program and only for these two faults;
// whatever else arrives goes to the handler that was there before. Jumping out of a handler
// skips destructors, so a little memory of the program is lost at every such fault.
#ifndef HARNESS_BRIDGE_FAULTS_HPP
#define HARNESS_BRIDGE_FAULTS_HPP

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace faults {

constexpr std::size_t kOwnStack = 1 << 16;
constexpr std::uintptr_t kBelow = 1 << 20;  // how far below the stack's end a fault may lie
constexpr std::uintptr_t kAbove = 1 << 16;

// A handler cannot run on a stack that is full: every thread needs another for it.
struct Thread {
  Thread() {
#if defined(__linux__)
    pthread_attr_t attributes;
    void* low = nullptr;
    std::size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      if (pthread_attr_getstack(&attributes, &low, &size) == 0)
        stack_end = reinterpret_cast<std::uintptr_t>(low);
      pthread_attr_destroy(&attributes);
    }
    stack_t present;
    if (sigaltstack(nullptr, &present) == 0 && (present.ss_flags & SS_DISABLE) != 0) {
      own.reset(new char[kOwnStack]);
      stack_t other;
      std::memset(&other, 0, sizeof other);
      other.ss_sp = own.get();
      other.ss_size = kOwnStack;
      if (sigaltstack(&other, nullptr) != 0) own.reset();
    }
#endif
  }

  ~Thread() {
    stack_t present;
    if (own == nullptr || sigaltstack(nullptr, &present) != 0) return;
    if (present.ss_sp != own.get()) return;
    std::memset(&present, 0, sizeof present);
    present.ss_flags = SS_DISABLE;
    sigaltstack(&present, nullptr);
  }

  std::unique_ptr<char[]> own;
  std::uintptr_t stack_end = 0;  // 0 where it is not known: then SIGSEGV is left alone
  sigjmp_buf* landing = nullptr;  // set while the thread is inside the program
};

inline Thread& thread() {
  static thread_local Thread one;
  return one;
}

struct Before {
  struct sigaction fpe, segv;
};

inline Before& before() {
  static Before handlers;
  return handlers;
}

inline bool ours(const Thread& here, int number, const siginfo_t* info) {
  if (here.landing == nullptr) return false;
  if (number == SIGFPE) return info->si_code == FPE_INTDIV || info->si_code == FPE_INTOVF;
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  return here.stack_end != 0 && at < here.stack_end + kAbove && at + kBelow >= here.stack_end;
}

inline void handle(int number, siginfo_t* info, void* context) {
  Thread& here = thread();
  if (ours(here, number, info)) siglongjmp(*here.landing, number);
  const struct sigaction& old = number == SIGFPE ? before().fpe : before().segv;
  if ((old.sa_flags & SA_SIGINFO) != 0) {
    old.sa_sigaction(number, info, context);
  } else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) {
    old.sa_handler(number);
  } else {
    signal(number, SIG_DFL);  // the instruction is run again and ends the process, as it would
  }
}

// Put the handlers in place, once per library.
inline void install() {
  static const bool done = [] {
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    // SA_NODEFER: a jump out of the handler does not give the signal mask back.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGFPE, &action, &before().fpe);
    sigaction(SIGSEGV, &action, &before().segv);
    return true;
  }();
  (void)done;
}

// Run `body`; throw if a fault ended it. No object of this frame lives across the jump.
template <typename Body>
void caught(Body& body) {
  Thread& here = thread();
  sigjmp_buf place;
  const int number = sigsetjmp(place, 0);
  if (number == 0) {
    struct Landing {
      Thread& at;
      ~Landing() { at.landing = nullptr; }
    } reset{here};
    here.landing = &place;
    body();
    return;
  }
  Thread& again = thread();
  again.landing = nullptr;
  if (number == SIGFPE)
    throw std::domain_error("integer division by zero, or an integer too large");
  throw std::runtime_error("the stack is full: a function that calls itself without an end?");
}

}  // namespace faults
#endif
