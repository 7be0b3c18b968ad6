// A line of text from a person, with editing and history where stdin is a terminal.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace mlxmill::cli {

/// Reads lines. On a terminal libedit edits them (arrow keys, Ctrl-A, Ctrl-R, ...); elsewhere they
/// come as they are and no prompt is shown.
class LineEditor {
 public:
  enum class End {
    kLine,         ///< A line, without its newline.
    kInterrupted,  ///< Ctrl-C while it was typed: what was typed is gone.
    kInput,        ///< Ctrl-D, or the end of the input.
  };
  struct Line {
    End end;
    std::string text;
  };

  /// `history`: file that earlier lines come from and new ones are kept in, for its owner alone;
  /// empty: none.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// `prompt` stands before the line.
  Line read(const std::string& prompt);

  /// True where a person types.
  bool is_terminal() const { return terminal_ != nullptr; }

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;
};

/// A message of one or more lines. A line that ends in a backslash goes on in the next; one that
/// begins with three quotes goes on to the next three.
LineEditor::Line read_message(LineEditor& editor, const std::string& prompt,
                              const std::string& continuation);

/// Where the history of `mlxmill chat` is kept: $XDG_STATE_HOME/mlxmill or ~/.local/state/mlxmill,
/// made if need be. Empty where there is no home.
std::filesystem::path history_file(const std::string& name);

}  // namespace mlxmill::cli
