// Ctrl-C and termination as a flag that long calls poll.
#pragma once

namespace mlxmill::cli {

/// From now on the first SIGINT or SIGTERM only sets the flag; a second one ends the program at
/// once.
void catch_interrupts();

/// True once such a signal came.
bool interrupted();

}  // namespace mlxmill::cli
