// Whether PTX text can be read, as a compiler would say it.
#pragma once

#include <string>

namespace shimbench::soft {

// The first thing in the text that is no PTX, with its line; empty when all of it can be read. What is PTX
// but not performed here is no complaint: a kernel with it says so when it is launched.
std::string ptx_complaint(std::string text);

} // namespace shimbench::soft
