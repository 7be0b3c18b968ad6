#include "base/decimal.h"

#include <stdlib.h>

#include <clocale>

#ifdef __APPLE__
#include <xlocale.h>
#else
#include <locale.h>
#endif

namespace mlxmill::base {

// Correctly rounded and, unlike strtod, blind to the decimal comma of the user's locale.
// std::from_chars cannot tell too large from too small, and libc++ has none for doubles.
double parse_decimal(const std::string& spelling) {
  static const locale_t kC = ::newlocale(LC_ALL_MASK, "C", locale_t{});
  return ::strtod_l(spelling.c_str(), nullptr, kC);
}

}  // namespace mlxmill::base
