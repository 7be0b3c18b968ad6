// Ctrl-C and termination as a flag that long calls poll.
#pragma once

namespace mlxmill::cli {

/// From now on the first SIGINT or SIGTERM only sets the flag; a second one ends the program at
/// once.
void catch_interrupts();

/// The same, but further signals change nothing: for what comes to an end soon, in a program that
/// should go on.
void catch_interrupts_patiently();

/// Signals act as they do by default again, and none was seen.
void forget_interrupts();

/// True once such a signal came.
bool interrupted();

}  // namespace mlxmill::cli
