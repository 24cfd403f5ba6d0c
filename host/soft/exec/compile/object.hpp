// A kernel's object file brought into this process.
#pragma once

#include <memory>
#include <string_view>

namespace soft {

/// Code in memory, ready to run.
struct LoadedObject {
    void *entry = nullptr;        // of the function asked for
    std::shared_ptr<void> memory; // keeps it there
};

/// Loads an ELF object of x86-64 that refers to nothing but itself. All of its sections lie in one piece of
/// memory, so that code reaches constants by short relative addresses wherever that is. Throws
/// std::runtime_error, saying why, when it is no such object.
LoadedObject load_object(std::string_view object, std::string_view function);

} // namespace soft
