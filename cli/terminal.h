// Writing to the two streams of the program: results to stdout, everything else to stderr.
#pragma once

#include <string>
#include <string_view>

#include "mlxmill/error.h"

namespace mlxmill::cli {

/// True when stderr is a terminal that understands cursor control.
bool stderr_is_live_terminal();

/// Columns of the terminal behind stderr; 80 where unknown.
int stderr_width();

/// `text` with control characters made visible (\x1b), so that a name inside a model file cannot
/// drive the terminal. Other bytes pass unchanged.
std::string printable(std::string_view text);

/// The same for an answer of a model that goes to stdout: line ends and tabs stay, and where stdout
/// is no terminal all of it.
std::string printable_answer(std::string_view text);

/// `text` as one word of a POSIX shell, quoted only where it must be.
std::string shell_quote(std::string_view text);

/// Prints to stdout; failures are reported by close_stdout.
void print_out(std::string_view text);

/// Prints "warning: ...", "note: ..." or "interrupted: ..." to stderr.
void print_message(std::string_view kind, std::string_view text);

/// Prints "error: ..." and, on a line of its own, "hint: ..." to stderr; returns the exit status.
int print_error(const Error& error);

/// The same, or "interrupted: ..." for a call that was asked to stop and can be resumed.
int print_error_or_interrupted(const Error& error);

/// Flushes stdout. False, after an error message, when something printed did not arrive.
bool close_stdout();

}  // namespace mlxmill::cli
