// README.md of a converted model.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlxmill::formats {

/// What the card says. Every number in it was computed in this run.
struct CardFacts {
  std::string name;                       ///< Of the output folder.
  std::optional<std::string> base_model;  ///< "owner/name", or what the source calls itself.
  std::string base_model_revision;        ///< Its commit on the Hub; "": not known.
  std::string made_with;                  ///< "mlxmill 0.1.0".
  std::string command;                    ///< Reproduces the folder.
  std::vector<std::pair<std::string, std::string>>
      facts;  ///< Rows of the table: "bits per weight" to "4.501", ...
};

/// A card with YAML front matter: what the source's card (may be empty) said about licence,
/// language and so on is kept as it stands; library_name mlx, pipeline_tag text-generation,
/// base_model and the tag mlx are set. The body is new: how it was made, the facts, how to run it.
std::string make_model_card(const CardFacts& facts, std::string_view source_card);

/// The card with the section "## `heading`" holding `body`: in place of the one there is, else
/// before
/// "## Use", else at the end. The front matter and every other section stay as they are.
std::string with_card_section(std::string_view card, std::string_view heading,
                              std::string_view body);

/// The front matter's value for a scalar key, unquoted; empty when there is none.
std::optional<std::string> card_scalar(std::string_view card, std::string_view key);

}  // namespace mlxmill::formats
