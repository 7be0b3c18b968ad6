#include "terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "exit_code.h"

namespace mlxmill::cli {
namespace {

// Where a terminal does not say how wide it is.
constexpr int kDefaultWidth = 80;

const char* environment(const char* name) {
  // Unsafe only beside setenv, which nothing here calls. NOLINTNEXTLINE(concurrency-mt-unsafe)
  return std::getenv(name);
}

bool use_color() {
  // https://no-color.org: any non-empty value turns colour off.
  const char* no_color = environment("NO_COLOR");
  return stderr_is_live_terminal() && (no_color == nullptr || *no_color == '\0');
}

std::string_view color_of(std::string_view kind) {
  if (kind == "error") return "\x1b[1;31m";
  if (kind == "warning") return "\x1b[1;33m";
  return "\x1b[1m";
}

}  // namespace

bool stderr_is_live_terminal() {
  if (isatty(STDERR_FILENO) == 0) return false;
  const char* term = environment("TERM");
  return term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

int stderr_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultWidth;
  return size.ws_col;
}

namespace {

std::string escaped(std::string_view text, std::string_view spared) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, the control characters that terminals also take in UTF-8, are C2 80 to C2
    // 9F.
    const bool c1_control = byte == 0xC2 && i + 1 < text.size() &&
                            static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                            static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1_control) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else if ((byte < 0x20 || byte == 0x7F) && spared.find(text[i]) == std::string_view::npos) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text) { return escaped(text, ""); }

std::string printable_answer(std::string_view text) {
  return isatty(STDOUT_FILENO) == 0 ? std::string(text) : escaped(text, "\n\t");
}

std::string shell_quote(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

void print_out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_message(std::string_view kind, std::string_view text) {
  const std::string line =
      use_color() ? fmt::format("{}{}:\x1b[0m {}\n", color_of(kind), kind, printable(text))
                  : fmt::format("{}: {}\n", kind, printable(text));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int print_error(const Error& error) {
  const std::string& where = error.where();
  print_message("error", where.empty() ? error.what() : where + ": " + error.what());
  if (!error.hint().empty()) print_message("hint", error.hint());
  return exit_code(error.code());
}

int print_error_or_interrupted(const Error& error) {
  if (error.code() != Code::kCancelled) return print_error(error);
  print_message("interrupted", "run the same command again to resume where this run stopped");
  return exit_code(error.code());
}

bool close_stdout() {
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return true;
  print_message("error", fmt::format("stdout: cannot write the result: {}",
                                     std::generic_category().message(errno)));
  return false;
}

}  // namespace mlxmill::cli
