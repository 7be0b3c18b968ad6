#include "line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <pthread.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <iostream>
#include <string_view>

namespace mlxmill::cli {
namespace {

constexpr int kKeptLines = 1000;
constexpr std::string_view kQuotes = R"(""")";

pthread_t reading_thread;

/// A signal to the process goes to any thread that does not block it, such as a worker's: it is
/// handed on to the one that reads, for which it then waits.
extern "C" void interrupt_read(int signal) {
  if (pthread_equal(pthread_self(), reading_thread) == 0) pthread_kill(reading_thread, signal);
}

/// While it lives Ctrl-C waits until next_character() waits for input, and ends that.
class ReadInterrupt {
 public:
  ReadInterrupt() {
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &previous_mask_);
    reading_thread = pthread_self();
    struct sigaction action {};
    action.sa_handler = interrupt_read;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &previous_);
  }
  ~ReadInterrupt() {
    sigaction(SIGINT, &previous_, nullptr);
    pthread_sigmask(SIG_SETMASK, &previous_mask_, nullptr);
  }
  ReadInterrupt(const ReadInterrupt&) = delete;
  ReadInterrupt& operator=(const ReadInterrupt&) = delete;

 private:
  struct sigaction previous_ {};
  sigset_t previous_mask_{};
};

/// The terminal of stdin once more, to read from without waiting: stdin itself would not wait for
/// the shell either. stdin where it cannot be opened.
int open_terminal() {
  const char* name = ttyname(STDIN_FILENO);
  const int opened = name ? ::open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
  return opened >= 0 ? opened : STDIN_FILENO;
}

/// libedit takes bytes for characters as the locale says; everything here is UTF-8.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX > 1) return;
  for (const char* name : {"C.UTF-8", "en_US.UTF-8", "UTF-8"}) {
    if (std::setlocale(LC_CTYPE, name)) return;
  }
}

}  // namespace

struct LineEditor::Terminal {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::filesystem::path file;
  std::string prompt;
  int keys = STDIN_FILENO;

  static Terminal& of(EditLine* line) {
    Terminal* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return *self;
  }

  static char* prompt_of(EditLine* line) { return of(line).prompt.data(); }

  /// What libedit reads with: 1, 0 at the end of the input, -1 on an error; EINTR after Ctrl-C,
  /// however short before the call it came.
  static int next_character(EditLine* line, wchar_t* character) {
    const int keys = of(line).keys;
    std::mbstate_t state{};
    while (true) {
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      sigdelset(&mask, SIGINT);
      fd_set input;
      FD_ZERO(&input);
      FD_SET(keys, &input);
      if (pselect(keys + 1, &input, nullptr, nullptr, nullptr, &mask) < 0) return -1;
      char byte = 0;
      const ssize_t n = ::read(keys, &byte, 1);
      // Ctrl-C has emptied the queue since.
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) continue;
      if (n <= 0) return static_cast<int>(n);
      const std::size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == static_cast<std::size_t>(-2)) continue;
      if (used == static_cast<std::size_t>(-1)) {
        // No character: what does not fit is left out.
        state = {};
        continue;
      }
      return 1;
    }
  }
};

LineEditor::LineEditor(std::filesystem::path history) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) return;
  use_utf8();
  terminal_ = std::make_unique<Terminal>();
  Terminal& terminal = *terminal_;
  // The line is drawn on stderr: stdout carries answers alone.
  terminal.line = el_init("mlxmill", stdin, stderr, stderr);
  terminal.history = history_init();
  terminal.file = std::move(history);
  terminal.keys = open_terminal();
  el_set(terminal.line, EL_CLIENTDATA, terminal_.get());
  el_set(terminal.line, EL_PROMPT, &Terminal::prompt_of);
  el_wset(terminal.line, EL_GETCFN, &Terminal::next_character);
  el_set(terminal.line, EL_EDITOR, "emacs");
  el_set(terminal.line, EL_HIST, ::history, terminal.history);
  el_set(terminal.line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  ::history(terminal.history, &terminal.event, H_SETSIZE, kKeptLines);
  ::history(terminal.history, &terminal.event, H_SETUNIQUE, 1);
  if (!terminal.file.empty()) {
    ::history(terminal.history, &terminal.event, H_LOAD, terminal.file.c_str());
  }
}

LineEditor::~LineEditor() {
  if (!terminal_) return;
  if (!terminal_->file.empty()) {
    const mode_t others = umask(S_IRWXG | S_IRWXO);
    ::history(terminal_->history, &terminal_->event, H_SAVE, terminal_->file.c_str());
    umask(others);
  }
  history_end(terminal_->history);
  el_end(terminal_->line);
  if (terminal_->keys != STDIN_FILENO) close(terminal_->keys);
}

LineEditor::Line LineEditor::read(const std::string& prompt) {
  if (!terminal_) {
    std::string text;
    if (!std::getline(std::cin, text)) return {End::kInput, {}};
    return {End::kLine, std::move(text)};
  }
  const ReadInterrupt interrupt;
  terminal_->prompt = prompt;
  int length = 0;
  errno = 0;
  const char* typed = el_gets(terminal_->line, &length);
  if (!typed || length <= 0) {
    const bool interrupted = errno == EINTR;
    std::fputs("\n", stderr);
    if (interrupted) el_reset(terminal_->line);
    return {interrupted ? End::kInterrupted : End::kInput, {}};
  }
  std::string text(typed, static_cast<std::size_t>(length));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.find_first_not_of(" \t") != std::string::npos) {
    ::history(terminal_->history, &terminal_->event, H_ENTER, text.c_str());
  }
  return {End::kLine, std::move(text)};
}

LineEditor::Line read_message(LineEditor& editor, const std::string& prompt,
                              const std::string& continuation) {
  LineEditor::Line message = editor.read(prompt);
  if (message.end != LineEditor::End::kLine) return message;
  const bool quoted = message.text.rfind(kQuotes, 0) == 0;
  if (quoted) message.text.erase(0, kQuotes.size());
  while (true) {
    if (quoted) {
      const std::size_t end = message.text.find(kQuotes);
      if (end != std::string::npos) {
        message.text.erase(end);
        return message;
      }
      message.text += '\n';
    } else if (!message.text.empty() && message.text.back() == '\\') {
      message.text.back() = '\n';
    } else {
      return message;
    }
    const LineEditor::Line more = editor.read(continuation);
    if (more.end == LineEditor::End::kInterrupted) return more;
    // The end of the input ends an unfinished message, too.
    if (more.end == LineEditor::End::kInput) return message;
    message.text += more.text;
  }
}

std::filesystem::path history_file(const std::string& name) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder;
  if (state && *state == '/') {
    folder = state;
  } else if (home && *home == '/') {
    folder = std::filesystem::path(home) / ".local" / "state";
  } else {
    return {};
  }
  folder /= "mlxmill";
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  return failed ? std::filesystem::path() : folder / name;
}

}  // namespace mlxmill::cli
