#include "interrupt.h"

#include <atomic>
#include <csignal>

namespace mlxmill::cli {
namespace {

// Set in the handler and read by worker threads: both are defined only for a lock-free atomic.
std::atomic<bool> signal_seen = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void remember_signal(int) { signal_seen = true; }

constexpr int kSignals[] = {SIGINT, SIGTERM};

void catch_with(int flags) {
  for (const int signal : kSignals) {
    struct sigaction previous {};
    // A shell that starts a job in the background may have it ignore SIGINT; that stays so.
    if (sigaction(signal, nullptr, &previous) == 0 && previous.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = remember_signal;
    // SA_RESTART: reads and writes in flight go on.
    action.sa_flags = flags | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

// SA_RESETHAND: the second signal meets the default action.
void catch_interrupts() { catch_with(static_cast<int>(SA_RESETHAND)); }

void catch_interrupts_patiently() { catch_with(0); }

void forget_interrupts() {
  for (const int signal : kSignals) {
    struct sigaction previous {};
    if (sigaction(signal, nullptr, &previous) == 0 && previous.sa_handler == SIG_IGN) continue;
    std::signal(signal, SIG_DFL);
  }
  signal_seen = false;
}

bool interrupted() { return signal_seen; }

}  // namespace mlxmill::cli
